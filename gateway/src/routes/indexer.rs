//! `/druid/indexer/v1`: the Overlord beside its tasks: leader, workers, locks, supervisors, worker configuration (Druid:
//! api-reference/tasks-api.md, supervisor-api.md).

use std::collections::BTreeMap;

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::coordinator::{author, history_json, put, stored};
use super::tasks;
use crate::auth::Identity;
use crate::error::{ApiError, empty, empty_json, json_response, raw_json};
use crate::interval;
use crate::render::{iso, status};
use crate::service::App;

pub fn router() -> Router<App> {
    let at = |path: &str| format!("/druid/indexer/v1{path}");
    Router::new()
        .route(&at("/leader"), get(leader))
        .route(&at("/isLeader"), get(super::coordinator::is_leader))
        .route(&at("/workers"), get(workers))
        .route(&at("/totalWorkerCapacity"), get(capacity))
        .route(&at("/scaling"), get(scaling))
        .route(&at("/worker"), get(worker_config).post(set_worker_config))
        .route(&at("/worker/history"), get(worker_history))
        .route(&at("/taskStatus"), post(task_statuses))
        .route(&at("/lockedIntervals"), post(old_locks))
        .route(&at("/lockedIntervals/v2"), post(locked_intervals))
        .route(&at("/activeLocks"), post(active_locks))
        .route(
            &at("/datasources/{datasource}/shutdownAllTasks"),
            post(shutdown_all),
        )
        .merge(supervisors())
}

fn supervisors() -> Router<App> {
    let at = |path: &str| format!("/druid/indexer/v1/supervisor{path}");
    let mut router = Router::new()
        .route(&at(""), get(no_supervisors).post(no_new_supervisor))
        .route(&at("/history"), get(nothing))
        .route(&at("/suspendAll"), post(success))
        .route(&at("/resumeAll"), post(success))
        .route(&at("/terminateAll"), post(success))
        .route(&at("/{id}"), get(no_supervisor))
        .route(&at("/{id}/health"), get(no_health))
        .route(&at("/{id}/history"), get(no_history));
    for path in ["status", "stats", "parseErrors"] {
        router = router.route(&at(&format!("/{{id}}/{path}")), get(no_supervisor));
    }
    for path in [
        "suspend",
        "resume",
        "reset",
        "resetOffsets",
        "shutdown",
        "terminate",
        "taskGroups/handoff",
    ] {
        router = router.route(&at(&format!("/{{id}}/{path}")), post(no_supervisor));
    }
    router
}

/// Leader and workers.
///
/// # Errors
/// When there is no Overlord.
pub async fn cluster(app: &App) -> Result<v1::ClusterState, ApiError> {
    let cluster = app
        .overlord()?
        .get_cluster(v1::Empty {})
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    Ok(cluster.into_inner())
}

/// The leader as clients reach it: the Overlord speaks gRPC, and this gateway HTTP for it.
pub async fn leader(State(app): State<App>) -> Result<Response, ApiError> {
    cluster(&app).await?;
    Ok(raw_json(StatusCode::OK, app.url.to_string()))
}

async fn workers(State(app): State<App>) -> Result<Response, ApiError> {
    let worker = |state: &v1::WorkerState| {
        let node = state.node.clone().unwrap_or_default();
        let (scheme, host) = node.address.split_once("://").unwrap_or(("http", &node.address));
        let ip = host.rsplit_once(':').map_or(host, |(ip, _)| ip);
        json!({
            "worker": {
                "scheme": scheme, "host": host, "ip": ip, "capacity": node.slots, "version": node.version,
                "category": "_default_worker_category",
            },
            "currCapacityUsed": state.running.len(),
            "currParallelIndexCapacityUsed": 0,
            "availabilityGroups": state.running,
            "runningTasks": state.running,
            "lastCompletedTaskTime": iso(state.last_completed_ms),
        })
    };
    let workers: Vec<Value> = cluster(&app).await?.workers.iter().map(worker).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(workers)))
}

async fn capacity(State(app): State<App>) -> Result<Response, ApiError> {
    let workers = cluster(&app).await?.workers;
    let slots = |state: &v1::WorkerState| state.node.as_ref().map_or(0, |node| node.slots);
    let total: u32 = workers.iter().map(slots).sum();
    let used: usize = workers.iter().map(|state| state.running.len()).sum();
    let body = json!({
        "currentClusterCapacity": total, "maximumCapacityWithAutoScale": -1, "usedClusterCapacity": used,
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// Nothing scales by itself.
async fn scaling() -> Response {
    empty_json(StatusCode::OK)
}

/// The kind under which it is kept, and Druid's name of it.
const WORKER: (&str, &str) = ("worker", "worker.config");

/// Empty where nobody has set it, as in Druid.
async fn worker_config(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(match stored(&app, WORKER.0).await?.remove("") {
        Some(config) => json_response(StatusCode::OK, &config),
        None => empty_json(StatusCode::OK),
    })
}

async fn set_worker_config(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let config: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::body(format!("Cannot read the worker configuration: {error}")))?;
    if config.get("type").is_some_and(|kind| *kind != "default") {
        return Err(ApiError::Invalid {
            message: format!(
                "Could not resolve type id {} of a worker configuration",
                config.get("type").unwrap_or(&Value::Null)
            ),
        });
    }
    let unknown = config
        .keys()
        .find(|name| !["type", "selectStrategy", "autoScaler"].contains(&name.as_str()));
    if let Some(name) = unknown {
        return Err(ApiError::Invalid {
            message: format!("Unrecognized field \"{name}\" of the worker configuration"),
        });
    }
    let change = (String::new(), Some(Value::Object(config)));
    put(&app, &identity, author(&headers), WORKER.0, vec![change]).await?;
    Ok(empty(StatusCode::OK))
}

async fn worker_history(
    State(app): State<App>,
    Query(part): Query<super::coordinator::Part>,
) -> Result<Response, ApiError> {
    history_json(&app, WORKER, None, &part).await
}

/// Statuses of the tasks that are known, of those whose ids the body lists.
async fn task_statuses(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let ids: Option<Vec<String>> = if body.iter().all(u8::is_ascii_whitespace) {
        None
    } else {
        serde_json::from_slice(&body)
            .map_err(|error| ApiError::body(format!("The body is a list of task ids: {error}")))?
    };
    let ids = ids.unwrap_or_default();
    if ids.is_empty() {
        return Ok(raw_json(
            StatusCode::BAD_REQUEST,
            "No Task IDs provided.".to_owned(),
        ));
    }
    let mut found = Map::new();
    for id in ids {
        if found.contains_key(&id) {
            continue;
        }
        match tasks::lookup(&app, &id).await {
            Ok(task) => drop(found.insert(id, status::short(&task.status()))),
            Err(ApiError::UnknownTask { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(json_response(StatusCode::OK, &Value::Object(found)))
}

/// Ends all tasks of a datasource that have not ended.
async fn shutdown_all(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let request = v1::ListTasksRequest {
        states: vec![v1::TaskState::Pending.into(), v1::TaskState::Running.into()],
        datasource: name.clone(),
        ..Default::default()
    };
    let mut overlord = app.overlord()?;
    let tasks = overlord
        .list_tasks(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let tasks = tasks.into_inner().tasks;
    if tasks.is_empty() {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    for task in tasks {
        let request = v1::ShutdownTaskRequest {
            task_id: task.task_id.clone(),
            caller: Some(identity.caller()),
        };
        match overlord.shutdown_task(request).await {
            Ok(_) => {}
            // It has ended in between.
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => return Err(ApiError::of_status(&status, &task.task_id)),
        }
    }
    Ok(json_response(StatusCode::OK, &json!({ "dataSource": name })))
}

/// Druid has no such route any more.
async fn old_locks() -> Response {
    empty(StatusCode::NOT_FOUND)
}

/// Whose locks are asked for: those of at least this priority.
#[derive(Debug, Deserialize)]
struct LockFilter {
    datasource: String,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

impl LockFilter {
    /// What an ingestion with this context would ask for.
    fn lock_type(&self) -> Option<String> {
        let context = self.context.as_ref()?;
        let concurrent = context.get("useConcurrentLocks").is_some_and(|value| {
            value.as_bool() == Some(true)
                || value
                    .as_str()
                    .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        });
        if concurrent {
            return Some("APPEND".to_owned());
        }
        Some(context.get("taskLockType")?.as_str()?.to_ascii_uppercase())
    }

    fn asks_for(&self, lock: &v1::TaskLock) -> bool {
        if lock.datasource != self.datasource || lock.revoked || lock.priority < self.priority {
            return false;
        }
        // Locks that would let it through are not in its way.
        match self.lock_type().as_deref() {
            Some("APPEND") => !matches!(lock.r#type.as_str(), "APPEND" | "REPLACE"),
            Some("REPLACE") => lock.r#type != "APPEND",
            _ => true,
        }
    }
}

async fn locks(app: &App, body: &[u8]) -> Result<Option<(Vec<LockFilter>, Vec<v1::TaskLock>)>, ApiError> {
    let filters: Option<Vec<LockFilter>> = if body.iter().all(u8::is_ascii_whitespace) {
        None
    } else {
        serde_json::from_slice(body)
            .map_err(|error| ApiError::body(format!("The body is a list of filters: {error}")))?
    };
    let Some(filters) = filters.filter(|filters| !filters.is_empty()) else {
        return Ok(None);
    };
    let locks = app
        .overlord()?
        .list_locks(v1::Empty {})
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    Ok(Some((filters, locks.into_inner().locks)))
}

fn no_filter() -> Response {
    raw_json(StatusCode::BAD_REQUEST, "No filter provided".to_owned())
}

/// Intervals that are locked, by datasource; those that touch are one.
async fn locked_intervals(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let Some((filters, locks)) = locks(&app, &body).await? else {
        return Ok(no_filter());
    };
    let mut found: BTreeMap<&str, Vec<v1::Interval>> = BTreeMap::new();
    for lock in locks
        .iter()
        .filter(|lock| filters.iter().any(|filter| filter.asks_for(lock)))
    {
        found.entry(&lock.datasource).or_default().extend(&lock.intervals);
    }
    let merged = found.into_iter().map(|(name, intervals)| {
        let texts = condensed(intervals)
            .iter()
            .map(|interval| json!(interval::text(interval)))
            .collect();
        (name.to_owned(), Value::Array(texts))
    });
    Ok(json_response(StatusCode::OK, &Value::Object(merged.collect())))
}

fn condensed(mut intervals: Vec<v1::Interval>) -> Vec<v1::Interval> {
    intervals.sort_by_key(|interval| (interval.start_ms, interval.end_ms));
    let mut merged: Vec<v1::Interval> = Vec::new();
    for interval in intervals {
        match merged.last_mut().filter(|last| interval.start_ms <= last.end_ms) {
            Some(last) => last.end_ms = last.end_ms.max(interval.end_ms),
            None => merged.push(interval),
        }
    }
    merged
}

async fn active_locks(State(app): State<App>, body: Bytes) -> Result<Response, ApiError> {
    let Some((filters, locks)) = locks(&app, &body).await? else {
        return Ok(no_filter());
    };
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for lock in locks
        .iter()
        .filter(|lock| filters.iter().any(|filter| filter.asks_for(lock)))
    {
        let shown = lock.intervals.iter().map(|of| {
            json!({
                "granularity": "timeChunk", "type": lock.r#type, "groupId": lock.task_id,
                "dataSource": lock.datasource, "interval": interval::text(of), "version": null,
                "priority": lock.priority, "revoked": lock.revoked,
            })
        });
        found.entry(lock.datasource.clone()).or_default().extend(shown);
    }
    Ok(json_response(
        StatusCode::OK,
        &json!({ "datasourceToLocks": found }),
    ))
}

/// There are no supervisors: ingestion is by statements.
async fn no_supervisors() -> Response {
    json_response(StatusCode::OK, &json!([]))
}

async fn nothing() -> Response {
    json_response(StatusCode::OK, &json!({}))
}

async fn success() -> Response {
    json_response(StatusCode::OK, &json!({ "status": "success" }))
}

async fn no_new_supervisor() -> Response {
    let message = "Supervisors are not supported: data is ingested by SQL statements";
    json_response(StatusCode::BAD_REQUEST, &json!({ "error": message }))
}

fn absent(message: String) -> Response {
    json_response(StatusCode::NOT_FOUND, &json!({ "error": message }))
}

async fn no_supervisor(Path(id): Path<String>) -> Response {
    absent(format!("[{id}] does not exist"))
}

async fn no_health(Path(id): Path<String>) -> Response {
    absent(format!("[{id}] does not exist or health check not implemented"))
}

async fn no_history(Path(id): Path<String>) -> Response {
    absent(format!("No history for [{id}]."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(kind: &str, priority: i32) -> v1::TaskLock {
        v1::TaskLock {
            datasource: "wiki".to_owned(),
            r#type: kind.to_owned(),
            priority,
            ..Default::default()
        }
    }

    fn filter(priority: i32, context: Value) -> LockFilter {
        LockFilter {
            datasource: "wiki".to_owned(),
            priority,
            context: context.as_object().cloned(),
        }
    }

    #[test]
    fn locks_in_the_way_are_of_no_lower_priority_and_let_nobody_through() {
        let any = filter(50, Value::Null);
        assert!(any.asks_for(&lock("SHARED", 50)) && !any.asks_for(&lock("SHARED", 49)));
        let appends = filter(0, json!({ "useConcurrentLocks": true }));
        assert!(!appends.asks_for(&lock("APPEND", 50)) && !appends.asks_for(&lock("REPLACE", 50)));
        assert!(appends.asks_for(&lock("EXCLUSIVE", 50)));
        let replaces = filter(0, json!({ "taskLockType": "replace" }));
        assert!(!replaces.asks_for(&lock("APPEND", 50)) && replaces.asks_for(&lock("REPLACE", 50)));
    }

    #[test]
    fn intervals_that_touch_are_one() {
        let of = |start_ms, end_ms| v1::Interval { start_ms, end_ms };
        assert_eq!(
            condensed(vec![of(5, 7), of(0, 2), of(2, 3), of(6, 9)]),
            [of(0, 3), of(5, 9)]
        );
    }
}
