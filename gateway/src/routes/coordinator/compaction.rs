//! Compaction: its configuration is stored and given back; nothing is compacted by itself (Druid:
//! api-reference/automatic-compaction-api.md).

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::configs::{Part, author, history_json, put, stored};
use crate::auth::Identity;
use crate::error::{ApiError, json_response};
use crate::render::errors;
use crate::service::App;

/// Configurations of datasources, and Druid's name of their history.
const KIND: (&str, &str) = ("compaction", "coordinator.compaction.config");
/// What is about the cluster.
const CLUSTER: &str = "compaction.cluster";

pub fn router() -> Router<App> {
    let coordinator = |path: &str| format!("/druid/coordinator/v1{path}");
    let overlord = |path: &str| format!("/druid/indexer/v1/compaction{path}");
    Router::new()
        .route(&coordinator("/config/compaction"), get(all).post(set))
        .route(&coordinator("/config/compaction/taskslots"), post(task_slots))
        .route(
            &coordinator("/config/compaction/{datasource}"),
            get(one).delete(delete),
        )
        .route(
            &coordinator("/config/compaction/{datasource}/history"),
            get(history),
        )
        .route(&coordinator("/compaction/compact"), post(compact))
        .route(&coordinator("/compaction/status"), get(status))
        .route(&coordinator("/compaction/progress"), get(progress))
        .route(&overlord("/isSupervisorEnabled"), get(supervisors))
        .route(&overlord("/config/cluster"), get(cluster).post(set_cluster))
        .route(&overlord("/config/datasources"), get(configs))
        .route(
            &overlord("/config/datasources/{datasource}"),
            get(one).post(set_of).delete(delete),
        )
        .route(
            &overlord("/config/datasources/{datasource}/history"),
            get(entries),
        )
        .route(&overlord("/status/datasources"), get(status))
        .route(&overlord("/status/datasources/{datasource}"), get(status_of))
}

/// Druid's `ClusterCompactionConfig` where nobody has set it.
async fn of_cluster(app: &App) -> Result<Map<String, Value>, ApiError> {
    let mut config = Map::new();
    config.insert("compactionTaskSlotRatio".to_owned(), json!(0.1));
    config.insert("maxCompactionTaskSlots".to_owned(), json!(i32::MAX));
    config.insert("useSupervisors".to_owned(), json!(false));
    config.insert("engine".to_owned(), json!("native"));
    if let Some(Value::Object(set)) = stored(app, CLUSTER).await?.remove("") {
        config.extend(set);
    }
    Ok(config)
}

async fn all(State(app): State<App>) -> Result<Response, ApiError> {
    let configs: Vec<Value> = stored(&app, KIND.0)
        .await?
        .into_iter()
        .map(|(_, config)| config)
        .collect();
    let mut body = Map::new();
    body.insert("compactionConfigs".to_owned(), Value::Array(configs));
    body.extend(of_cluster(&app).await?);
    Ok(json_response(StatusCode::OK, &Value::Object(body)))
}

async fn configs(State(app): State<App>) -> Result<Response, ApiError> {
    let configs: Vec<Value> = stored(&app, KIND.0)
        .await?
        .into_iter()
        .map(|(_, config)| config)
        .collect();
    Ok(json_response(
        StatusCode::OK,
        &json!({ "compactionConfigs": configs }),
    ))
}

fn not_found(message: &str) -> Response {
    let body = errors::druid_exception("notFound", "USER", "NOT_FOUND", message);
    json_response(StatusCode::NOT_FOUND, &body)
}

async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    Ok(match stored(&app, KIND.0).await?.remove(&name) {
        Some(config) => json_response(StatusCode::OK, &config),
        None => not_found("datasource compaction config does not exist"),
    })
}

fn updated() -> Response {
    json_response(StatusCode::OK, &json!({ "success": true }))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::body(format!("Cannot read the configuration: {error}")))
}

async fn store(
    app: &App,
    identity: &Identity,
    headers: &HeaderMap,
    body: &[u8],
    expected: Option<&str>,
) -> Result<Response, ApiError> {
    let invalid = |message: String| ApiError::Invalid { message };
    let config = object(body)?;
    let name = config
        .get("dataSource")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("A compaction configuration names its dataSource".to_owned()))?;
    if let Some(expected) = expected.filter(|expected| *expected != name) {
        return Err(invalid(format!(
            "DataSource in spec[{name}] does not match DataSource in path[{expected}]"
        )));
    }
    // Whoever may change configurations may change this one, for whatever datasource, as in Druid.
    let change = (name.to_owned(), Some(Value::Object(config.clone())));
    put(app, identity, author(headers), KIND.0, vec![change]).await?;
    Ok(updated())
}

async fn set(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    store(&app, &identity, &headers, &body, None).await
}

async fn set_of(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    store(&app, &identity, &headers, &body, Some(&name)).await
}

async fn delete(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !stored(&app, KIND.0).await?.contains_key(&name) {
        return Ok(not_found("datasource not found"));
    }
    put(&app, &identity, author(&headers), KIND.0, vec![(name, None)]).await?;
    Ok(updated())
}

async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, ApiError> {
    history_json(&app, KIND, Some(&name), &part).await
}

async fn entries(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, ApiError> {
    // The Overlord wraps what the Coordinator answers as a list.
    let list = history_json(&app, KIND, Some(&name), &part).await?;
    let bytes = axum::body::to_bytes(list.into_body(), usize::MAX).await;
    let bytes = bytes.map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    let list: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(json_response(StatusCode::OK, &json!({ "entries": list })))
}

#[derive(Debug, Deserialize)]
struct TaskSlots {
    ratio: Option<f64>,
    max: Option<u32>,
}

async fn task_slots(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(given): Query<TaskSlots>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut config = of_cluster(&app).await?;
    if let Some(ratio) = given.ratio {
        config.insert("compactionTaskSlotRatio".to_owned(), json!(ratio));
    }
    if let Some(max) = given.max {
        config.insert("maxCompactionTaskSlots".to_owned(), json!(max));
    }
    let change = (String::new(), Some(Value::Object(config)));
    put(&app, &identity, author(&headers), CLUSTER, vec![change]).await?;
    Ok(updated())
}

async fn cluster(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(json_response(
        StatusCode::OK,
        &Value::Object(of_cluster(&app).await?),
    ))
}

async fn set_cluster(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut config = of_cluster(&app).await?;
    config.extend(object(&body)?.into_iter().filter(|(_, value)| !value.is_null()));
    let change = (String::new(), Some(Value::Object(config)));
    put(&app, &identity, author(&headers), CLUSTER, vec![change]).await?;
    Ok(updated())
}

/// There are none that compact, whatever is stored.
async fn supervisors() -> Response {
    json_response(StatusCode::OK, &json!(false))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Of {
    data_source: Option<String>,
}

impl Of {
    fn name(&self) -> Option<&str> {
        self.data_source.as_deref().filter(|name| !name.is_empty())
    }
}

/// Nothing compacts: no datasource has a status.
async fn status(Query(given): Query<Of>) -> Response {
    match given.name() {
        Some(_) => not_found("Unknown DataSource"),
        None => json_response(StatusCode::OK, &json!({ "latestStatus": [] })),
    }
}

async fn status_of() -> Response {
    not_found("Unknown DataSource")
}

async fn progress(Query(given): Query<Of>) -> Result<Response, ApiError> {
    match given.name() {
        Some(_) => Ok(not_found("Unknown DataSource")),
        None => Err(ApiError::Invalid {
            message: "No DataSource specified".to_owned(),
        }),
    }
}

async fn compact() -> Response {
    let message = "Automatic compaction is not supported";
    let body = errors::druid_exception("general", "USER", "UNSUPPORTED", message);
    json_response(StatusCode::NOT_IMPLEMENTED, &body)
}
