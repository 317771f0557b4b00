//! The Coordinator's view of the cluster: leader, load status, tiers, servers, intervals of all datasources.
//!
//! There are no Historicals: all published segments are in one tier, on one server, which stands for deep storage.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use serde_json::{Map, Value, json};

use super::datasources::{Form, SERVER, TIER};
use super::reading::{each_interval, list_datasources};
use super::rules::Rules;
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::interval;
use crate::routes::indexer;
use crate::service::App;
use crate::stream::json_stream;

/// What Druid says of the size of a tier that has no bounds.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Whoever answers a gateway leads.
pub async fn is_leader(State(app): State<App>) -> Result<Response, ApiError> {
    indexer::cluster(&app).await?;
    Ok(json_response(StatusCode::OK, &json!({ "leader": true })))
}

pub async fn load_status(State(app): State<App>, Query(form): Query<Form>) -> Result<Response, ApiError> {
    let datasources = list_datasources(&app, None, false).await?;
    if form.simple.is_none() && form.full.is_some() {
        let (rules, now) = (Rules::of(&app).await?, chrono::Utc::now().timestamp_millis());
        let mut missing = Map::new();
        for sums in &datasources {
            let mut intervals = each_interval(&app, &sums.datasource);
            while let Some(of_interval) = intervals.next().await? {
                rules.count_missing(&sums.datasource, &of_interval, now, &mut missing);
            }
        }
        return Ok(json_response(StatusCode::OK, &Value::Object(missing)));
    }
    let value = if form.simple.is_some() {
        json!(0)
    } else {
        json!(100.0)
    };
    let status: Map<String, Value> = datasources
        .into_iter()
        .map(|sums| (sums.datasource, value.clone()))
        .collect();
    Ok(json_response(StatusCode::OK, &Value::Object(status)))
}

/// Nothing is loaded or dropped.
pub async fn load_queue() -> Response {
    json_response(StatusCode::OK, &json!({}))
}

pub async fn duties() -> Response {
    json_response(StatusCode::OK, &json!({ "dutyGroups": [] }))
}

fn bytes(datasources: &[v1::DatasourceSums]) -> u64 {
    datasources.iter().map(|sums| sums.bytes).sum()
}

pub async fn tiers(State(app): State<App>, Query(form): Query<Form>) -> Result<Response, ApiError> {
    if form.simple.is_none() {
        return Ok(json_response(StatusCode::OK, &json!([TIER])));
    }
    let size = bytes(&list_datasources(&app, None, false).await?);
    let tiers = json!({ TIER: { "currSize": size, "maxSize": MAX_SIZE } });
    Ok(json_response(StatusCode::OK, &tiers))
}

pub async fn tier(
    State(app): State<App>,
    Path(tier): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let simple = form.simple.is_some();
    let mut found = list_datasources(&app, None, false).await?;
    if !tier.eq_ignore_ascii_case(TIER) {
        found.clear();
    }
    json_stream(|mut out| async move {
        out.open(if simple { "{" } else { "[" }).await?;
        for sums in &found {
            if !simple {
                out.element(&json!(sums.datasource)).await?;
                continue;
            }
            out.separate().await?;
            out.open(&format!("{}:{{", json!(sums.datasource))).await?;
            let mut intervals = each_interval(&app, &sums.datasource);
            while let Some(part) = intervals.next().await? {
                let text = interval::text(&part.interval.unwrap_or_default());
                let value = json!({ "size": part.bytes, "count": part.segments });
                out.member(&text, &value).await?;
            }
            out.close("}").await?;
        }
        out.close(if simple { "}" } else { "]" }).await?;
        out.end().await
    })
    .await
}

fn server_json(size: u64) -> Value {
    json!({
        "host": SERVER, "tier": TIER, "type": "historical", "priority": 0, "currSize": size, "maxSize": MAX_SIZE,
    })
}

pub async fn servers(State(app): State<App>, Query(form): Query<Form>) -> Result<Response, ApiError> {
    if form.simple.is_none() && form.full.is_none() {
        return Ok(json_response(StatusCode::OK, &json!([SERVER])));
    }
    let size = bytes(&list_datasources(&app, None, false).await?);
    Ok(json_response(StatusCode::OK, &json!([server_json(size)])))
}

pub async fn server(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    if name != SERVER {
        return Ok(empty_json(StatusCode::NOT_FOUND));
    }
    let size = bytes(&list_datasources(&app, None, false).await?);
    Ok(json_response(StatusCode::OK, &server_json(size)))
}

/// Druid's roles, and which of our processes play them.
const ROLES: [(&str, Option<v1::Role>); 7] = [
    ("coordinator", None),
    ("overlord", None),
    ("broker", Some(v1::Role::Gateway)),
    ("historical", None),
    ("middleManager", None),
    ("indexer", Some(v1::Role::Worker)),
    ("router", Some(v1::Role::Gateway)),
];

async fn by_role(app: &App) -> Result<BTreeMap<&'static str, Vec<Value>>, ApiError> {
    let leader = indexer::cluster(app).await?.leader;
    let nodes = app.nodes().await?;
    let node = |address: &str, role: &str| {
        let (host, port) = crate::render::status::host_port(address);
        json!({
            "host": host, "service": format!("druid/{role}"), "plaintextPort": port,
            "tlsPort": -1,
        })
    };
    let mut found = BTreeMap::new();
    for (name, role) in ROLES {
        let of_role = nodes.iter().filter(|node| Some(node.role()) == role);
        let mut of_role: Vec<Value> = of_role.map(|found| node(&found.address, name)).collect();
        if matches!(name, "coordinator" | "overlord") {
            of_role.push(node(&leader, name));
        }
        found.insert(name, of_role);
    }
    Ok(found)
}

pub async fn nodes(State(app): State<App>) -> Result<Response, ApiError> {
    let found = by_role(&app).await?;
    let shown: Map<String, Value> = found
        .into_iter()
        .filter(|(role, nodes)| {
            !nodes.is_empty() || matches!(*role, "coordinator" | "overlord" | "broker" | "historical")
        })
        .map(|(role, nodes)| (role.to_owned(), Value::Array(nodes)))
        .collect();
    Ok(json_response(StatusCode::OK, &Value::Object(shown)))
}

pub async fn nodes_of_role(State(app): State<App>, Path(role): Path<String>) -> Result<Response, ApiError> {
    let found = by_role(&app).await?;
    let of_role = found
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&role));
    Ok(match of_role {
        Some((_, nodes)) => json_response(StatusCode::OK, &Value::Array(nodes)),
        None => empty_json(StatusCode::NOT_FOUND),
    })
}

/// Sums of the datasources that may be read, by interval and datasource.
type ByInterval = BTreeMap<(i64, i64), BTreeMap<String, (u64, u64)>>;

/// Intervals of all datasources at the most: they are put in one order.
const MOST_INTERVALS: usize = 200_000;

async fn by_interval(
    app: &App,
    identity: &Identity,
    within: Option<v1::Interval>,
) -> Result<ByInterval, ApiError> {
    let mut found = ByInterval::new();
    for sums in list_datasources(app, None, false).await? {
        if !identity.can_read_datasource(&sums.datasource) {
            continue;
        }
        let mut intervals = each_interval(app, &sums.datasource);
        while let Some(part) = intervals.next().await? {
            let own = part.interval.unwrap_or_default();
            if within.is_none_or(|within| interval::contains(&within, &own)) {
                let of_interval = found.entry((own.start_ms, own.end_ms)).or_default();
                of_interval.insert(sums.datasource.clone(), (part.bytes, part.segments));
            }
            if found.len() > MOST_INTERVALS {
                return Err(ApiError::Invalid {
                    message: format!(
                        "There are more than {MOST_INTERVALS} intervals: ask for those within a shorter interval, or \
                         for those of a datasource"
                    ),
                });
            }
        }
    }
    Ok(found)
}

fn intervals_json(found: &ByInterval) -> Value {
    let of = |(start_ms, end_ms): (i64, i64)| interval::text(&v1::Interval { start_ms, end_ms });
    let sums = |(size, count): &(u64, u64)| json!({ "size": size, "count": count });
    let datasources = |found: &BTreeMap<String, (u64, u64)>| -> Map<String, Value> {
        found
            .iter()
            .map(|(name, of_it)| (name.clone(), sums(of_it)))
            .collect()
    };
    let all: Map<String, Value> = found
        .iter()
        .rev()
        .map(|(key, found)| (of(*key), Value::Object(datasources(found))))
        .collect();
    Value::Object(all)
}

pub async fn intervals(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, ApiError> {
    let found = by_interval(&app, &identity, None).await?;
    Ok(json_response(StatusCode::OK, &intervals_json(&found)))
}

pub async fn intervals_in(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(within): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let within = interval::parse(&within)?;
    let found = by_interval(&app, &identity, Some(within)).await?;
    if form.full.is_some() {
        return Ok(json_response(StatusCode::OK, &intervals_json(&found)));
    }
    let total = |found: &BTreeMap<String, (u64, u64)>| {
        let add = |(size, count), (more, many): &(u64, u64)| (size + more, count + many);
        found.values().fold((0, 0), add)
    };
    let body = if form.simple.is_some() {
        let of = |(start_ms, end_ms): (i64, i64)| interval::text(&v1::Interval { start_ms, end_ms });
        let all = found.iter().rev().map(|(key, found)| {
            let (size, count) = total(found);
            (of(*key), json!({ "size": size, "count": count }))
        });
        Value::Object(all.collect())
    } else if found.is_empty() {
        json!({})
    } else {
        let totals = found.values().map(total);
        let (size, count) = totals.fold((0, 0), |(size, count), (more, many)| (size + more, count + many));
        json!({ "size": size, "count": count })
    };
    Ok(json_response(StatusCode::OK, &body))
}
