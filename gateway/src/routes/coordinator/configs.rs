//! Dynamic configuration that is stored and given back (Druid: api-reference/dynamic-configuration-api.md). What it
//! steers in Druid, the Coordinator's duties, is not there.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::interval;
use crate::render::{iso, status::host_port};
use crate::service::App;

/// Stored configurations of a kind, by key.
///
/// # Errors
/// When the Overlord cannot be asked, or holds something else.
pub async fn stored(app: &App, kind: &str) -> Result<Map<String, Value>, ApiError> {
    let request = v1::ConfigsRequest {
        kind: kind.to_owned(),
    };
    let list = app
        .overlord()?
        .get_configs(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let read = |config: v1::Config| {
        let payload = serde_json::from_str(&config.payload_json).map_err(|error| ApiError::Internal {
            message: format!(
                "the stored configuration [{kind}/{}] is no JSON: {error}",
                config.key
            ),
        })?;
        Ok((config.key, payload))
    };
    list.into_inner().configs.into_iter().map(read).collect()
}

/// What a client says of a change.
#[derive(Debug, Clone)]
pub struct Author {
    name: String,
    comment: String,
}

/// From the headers that Druid's console sends.
pub fn author(headers: &HeaderMap) -> Author {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Author {
        name: header("X-Druid-Author"),
        comment: header("X-Druid-Comment"),
    }
}

/// Stores changes of a kind together; `None` deletes.
///
/// # Errors
/// When the Overlord cannot be asked.
pub async fn put(
    app: &App,
    identity: &Identity,
    author: Author,
    kind: &str,
    changes: Vec<(String, Option<Value>)>,
) -> Result<(), ApiError> {
    let change = |(key, value): (String, Option<Value>)| v1::ConfigChange {
        key,
        payload_json: value.map(|value| value.to_string()),
    };
    let request = v1::PutConfigsRequest {
        kind: kind.to_owned(),
        changes: changes.into_iter().map(change).collect(),
        author: author.name,
        comment: author.comment,
        caller: Some(identity.caller()),
    };
    app.overlord()?
        .put_configs(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    Ok(())
}

/// Which part of a history is wanted.
#[derive(Debug, Default, Deserialize)]
pub struct Part {
    interval: Option<String>,
    count: Option<String>,
}

/// Druid's audit entries, the latest first.
///
/// # Errors
/// A 400 for a bad interval or count.
pub async fn history_json(
    app: &App,
    (kind, druid_type): (&str, &str),
    key: Option<&str>,
    part: &Part,
) -> Result<Response, ApiError> {
    let during = part.interval.as_deref().map(interval::parse).transpose()?;
    let count = match part.count.as_deref().map(str::parse::<u32>) {
        None => 0,
        Some(Ok(count)) if count > 0 => count,
        Some(_) => {
            let body = json!({ "error": "Limit must be greater than zero!" });
            return Ok(json_response(StatusCode::BAD_REQUEST, &body));
        }
    };
    let request = v1::ConfigHistoryRequest {
        kind: kind.to_owned(),
        key: key.map(str::to_owned),
        interval: during,
        // Druid looks at the count only where there is no interval.
        count: if during.is_some() { 0 } else { count },
    };
    let reply = app
        .overlord()?
        .get_config_history(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let entry = |entry: &v1::ConfigEntry| {
        json!({
            "key": if entry.key.is_empty() { druid_type } else { &entry.key },
            "type": druid_type,
            "auditInfo": { "author": entry.author, "comment": entry.comment, "ip": entry.remote },
            "payload": entry.payload_json,
            "auditTime": iso(entry.changed_ms),
        })
    };
    let entries: Vec<Value> = reply.get_ref().entries.iter().map(entry).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(entries)))
}

/// Druid's `CoordinatorDynamicConfig` as it is where nobody has set it.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "millisToWaitBeforeDeleting": 900_000,
        "maxSegmentsToMove": 100,
        "replicantLifetime": 15,
        "replicationThrottleLimit": 500,
        "balancerComputeThreads": 1,
        "killDataSourceWhitelist": [],
        "killTaskSlotRatio": 0.1,
        "maxKillTaskSlots": i32::MAX,
        "killPendingSegmentsSkipList": [],
        "maxSegmentsInNodeLoadingQueue": 500,
        "decommissioningNodes": [],
        "pauseCoordination": false,
        "replicateAfterLoadTimeout": false,
        "useRoundRobinSegmentAssignment": true,
        "smartSegmentLoading": true,
        "debugDimensions": null,
        "turboLoadingNodes": [],
        "cloneServers": {},
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

/// The kind under which it is kept, and Druid's name of it.
const COORDINATOR: (&str, &str) = ("coordinator", "coordinator.config");

async fn current(app: &App) -> Result<Map<String, Value>, ApiError> {
    let mut config = defaults();
    if let Some(Value::Object(set)) = stored(app, COORDINATOR.0).await?.remove("") {
        config.extend(set);
    }
    Ok(config)
}

pub async fn coordinator(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(json_response(
        StatusCode::OK,
        &Value::Object(current(&app).await?),
    ))
}

/// What is not given stays as it is.
pub async fn set_coordinator(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::body(format!("Cannot read the configuration: {error}")))?;
    let mut config = current(&app).await?;
    for (name, value) in given {
        if value.is_null() {
            continue;
        }
        let value = checked(&config, &name, value)?;
        config.insert(name, value);
    }
    let change = (String::new(), Some(Value::Object(config)));
    put(&app, &identity, author(&headers), COORDINATOR.0, vec![change]).await?;
    Ok(empty_json(StatusCode::OK))
}

/// A value of the type that the field has; Druid's lists may be given as texts with commas.
fn checked(config: &Map<String, Value>, name: &str, value: Value) -> Result<Value, ApiError> {
    let invalid = |message: String| ApiError::Invalid { message };
    let known = match name {
        "historicalTierAliases" => Some(&Value::Null),
        name => config.get(name),
    };
    let known = known.ok_or_else(|| {
        invalid(format!(
            "Unrecognized field \"{name}\" of the coordinator's configuration"
        ))
    })?;
    let value = match (known, value) {
        (Value::Array(_), Value::String(text)) => text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect(),
        (_, value) => value,
    };
    let fits = match known {
        Value::Number(number) if number.is_f64() => {
            value.as_f64().is_some_and(|ratio| (0.0..=1.0).contains(&ratio))
        }
        Value::Number(_) => value.as_i64().is_some_and(|number| number >= 0),
        Value::Bool(_) => value.is_boolean(),
        Value::Array(_) => value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string)),
        _ => value.is_object(),
    };
    if fits {
        Ok(value)
    } else {
        Err(invalid(format!("Invalid value[{value}] of the field \"{name}\"")))
    }
}

pub async fn coordinator_history(
    State(app): State<App>,
    Query(part): Query<Part>,
) -> Result<Response, ApiError> {
    history_json(&app, COORDINATOR, None, &part).await
}

/// Gateways read what is stored when they are asked: none is ever behind.
pub async fn synced_brokers(State(app): State<App>) -> Result<Response, ApiError> {
    let nodes = app.nodes().await?;
    let brokers = nodes.iter().filter(|node| node.role() == v1::Role::Gateway);
    let broker = |node: &v1::Node| {
        let (host, port) = host_port(&node.address);
        json!({ "host": host, "port": port, "lastSyncTimestampMillis": 0 })
    };
    let brokers: Vec<Value> = brokers.map(broker).collect();
    Ok(json_response(
        StatusCode::OK,
        &json!({ "syncedBrokers": brokers }),
    ))
}

pub async fn clone_status() -> Response {
    json_response(StatusCode::OK, &json!({ "cloneStatus": [] }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_field_takes_values_of_its_type() {
        let config = defaults();
        for (name, value) in [
            ("maxSegmentsToMove", json!(7)),
            ("pauseCoordination", json!(true)),
            ("killTaskSlotRatio", json!(0.5)),
            ("decommissioningNodes", json!(["a"])),
            ("debugDimensions", json!({ "a": "b" })),
        ] {
            assert_eq!(checked(&config, name, value.clone()).unwrap(), value);
        }
        let listed = checked(&config, "killDataSourceWhitelist", json!("a, b,")).unwrap();
        assert_eq!(listed, json!(["a", "b"]));
        for (name, value) in [
            ("nope", json!(1)),
            ("maxSegmentsToMove", json!("7")),
            ("maxSegmentsToMove", json!(-1)),
            ("killTaskSlotRatio", json!(2)),
            ("pauseCoordination", json!("yes")),
            ("decommissioningNodes", json!([1])),
            ("cloneServers", json!([])),
        ] {
            assert!(checked(&config, name, value).is_err(), "{name}");
        }
    }
}
