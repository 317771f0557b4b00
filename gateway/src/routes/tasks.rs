//! `/druid/indexer/v1/task…`: how tasks stand.

use std::collections::HashSet;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Access, Identity, Resource};
use crate::error::{ApiError, empty, json_response, text_response};
use crate::interval;
use crate::render::status::Part;
use crate::render::{report, status as render};
use crate::service::App;
use crate::stream::{Out, json_stream};

/// What an id names: a query's controller task, or one of its worker tasks.
#[derive(Debug, Clone)]
pub struct Found {
    task: v1::Task,
    /// Index among the query's worker tasks.
    worker: Option<usize>,
}

impl Found {
    fn worker(&self) -> Option<&v1::WorkerTask> {
        self.task.workers.get(self.worker?)
    }

    /// Druid's `TaskStatusPlus`.
    pub fn status(&self) -> Value {
        match self.worker() {
            Some(worker) => Part::Worker(&self.task, worker).status(),
            None => Part::Controller(&self.task).status(),
        }
    }
}

async fn get_task(app: &App, task_id: &str) -> Result<v1::Task, ApiError> {
    let request = v1::TaskRequest {
        task_id: task_id.to_owned(),
    };
    let found = app.overlord()?.get_task(request).await;
    Ok(found
        .map_err(|status| ApiError::of_status(&status, task_id))?
        .into_inner())
}

/// The query of a worker task, its number and its attempt.
fn worker_of(task_id: &str) -> Option<(&str, u32, u32)> {
    let (query, worker) = task_id.rsplit_once("-worker")?;
    let (number, attempt) = worker.split_once('_')?;
    Some((query, number.parse().ok()?, attempt.parse().ok()?))
}

/// The task, whoever asks.
///
/// # Errors
/// A 404 when there is none.
pub async fn lookup(app: &App, task_id: &str) -> Result<Found, ApiError> {
    let unknown = match get_task(app, task_id).await {
        Ok(task) => return Ok(Found { task, worker: None }),
        Err(unknown @ ApiError::UnknownTask { .. }) => unknown,
        Err(error) => return Err(error),
    };
    let Some((query, number, attempt)) = worker_of(task_id) else {
        return Err(unknown);
    };
    let task = match get_task(app, query).await {
        Ok(task) => task,
        Err(ApiError::UnknownTask { .. }) => return Err(unknown),
        Err(error) => return Err(error),
    };
    let is_it = |worker: &v1::WorkerTask| worker.worker == number && worker.attempt == attempt;
    match task.workers.iter().position(is_it) {
        Some(position) => Ok(Found {
            task,
            worker: Some(position),
        }),
        None => Err(unknown),
    }
}

/// The task, if it is one that may be looked at, or ended.
async fn find(app: &App, identity: &Identity, access: Access, task_id: &str) -> Result<Found, ApiError> {
    let found = lookup(app, task_id).await?;
    identity.may_task(&found.task, access)?;
    Ok(found)
}

pub async fn payload(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let found = find(&app, &identity, Access::Read, &task_id).await?;
    if let Some(worker) = found.worker() {
        let body = json!({ "task": task_id, "payload": worker_payload(&found.task, worker) });
        return Ok(json_response(StatusCode::OK, &body));
    }
    let payload = found.task.spec.map(|spec| spec.payload_json).unwrap_or_default();
    let payload: Value = serde_json::from_str(&payload).map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "task": task_id, "payload": payload }),
    ))
}

/// Druid's `MSQWorkerTask`.
fn worker_payload(task: &v1::Task, worker: &v1::WorkerTask) -> Value {
    let context = task.spec.as_ref().map_or("", |spec| &spec.context_json);
    json!({
        "type": "query_worker",
        "id": render::worker_id(task, worker),
        "groupId": task.task_id,
        "controllerTaskId": task.task_id,
        "dataSource": task.datasource,
        "workerNumber": worker.worker,
        "retryCount": worker.attempt,
        "resource": { "availabilityGroup": render::worker_id(task, worker), "requiredCapacity": 1 },
        "context": serde_json::from_str(context).unwrap_or_else(|_| json!({})),
    })
}

pub async fn status(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let found = find(&app, &identity, Access::Read, &task_id).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "task": task_id, "status": found.status() }),
    ))
}

/// A worker task tells its controller task what it has to report.
const NO_REPORTS: &str = "No task reports were found for this task. The task may not exist, or it may not have completed \
                          yet.";

pub async fn reports(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    // Whoever may not look at a task has no report of it, however it stands.
    let Found { task, worker } = find(&app, &identity, Access::Read, &task_id).await?;
    if worker.is_some() {
        return Ok(text_response(StatusCode::NOT_FOUND, NO_REPORTS.to_owned()));
    }
    let found = get_report(&app, &task_id).await?;
    let body = if found.report.is_some() {
        report::report(&task_id, &found)
    } else {
        // No controller tells: the task waits for one, has lost it, or has ended between two questions.
        let Found { task, .. } = find(&app, &identity, Access::Read, &task.task_id).await?;
        let now = get_report(&app, &task_id).await?;
        if now.report.is_some() {
            report::report(&task_id, &now)
        } else {
            report::of_task(&task)
        }
    };
    let body = body.map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    Ok(json_response(StatusCode::OK, &body))
}

async fn get_report(app: &App, task_id: &str) -> Result<v1::Report, ApiError> {
    let request = v1::TaskRequest {
        task_id: task_id.to_owned(),
    };
    let found = app
        .overlord()?
        .get_report(request)
        .await
        .map_err(|status| ApiError::of_status(&status, task_id))?;
    Ok(found.into_inner())
}

#[derive(Debug, Deserialize)]
pub struct Offset {
    offset: Option<String>,
}

/// What the query's controller has logged of it; a worker task's log is its process' own.
pub async fn log(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
    Query(given): Query<Offset>,
) -> Result<Response, ApiError> {
    let offset = match given.offset.as_deref().map(str::parse::<i64>) {
        None => 0,
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Ok(empty(StatusCode::NOT_FOUND)),
    };
    let Found { task, worker } = find(&app, &identity, Access::Read, &task_id).await?;
    let request = v1::TaskLogRequest {
        task_id: task.task_id.clone(),
    };
    let log = app
        .overlord()?
        .get_task_log(request)
        .await
        .map_err(|status| ApiError::of_status(&status, &task_id))?
        .into_inner();
    let text = match (log.found, worker) {
        (true, None) => log.text,
        _ => state_lines(&task_id, &task),
    };
    Ok(text_response(
        StatusCode::OK,
        from_offset(&text, offset).to_owned(),
    ))
}

/// What there is to say of a task that has logged nothing: it waits, or another process has its log.
fn state_lines(task_id: &str, task: &v1::Task) -> String {
    let mut lines = format!(
        "task {task_id} on datasource {}: {}\n",
        task.datasource,
        render::state_name(task.state())
    );
    if !task.location.is_empty() {
        lines += &format!("controller: {}\n", task.location);
    }
    if !task.error_message.is_empty() {
        lines += &format!("{}\n", task.error_message);
    }
    lines
}

/// A text from a byte on; a negative offset counts from its end.
fn from_offset(text: &str, offset: i64) -> &str {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let from = if offset < 0 { length + offset } else { offset };
    let mut from = usize::try_from(from.clamp(0, length)).unwrap_or(0);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

pub async fn shutdown(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let Found { task, worker } = find(&app, &identity, Access::Write, &task_id).await?;
    let ended = matches!(task.state(), v1::TaskState::Success | v1::TaskState::Failed);
    if worker.is_some() && !ended {
        return Err(ApiError::Invalid {
            message: format!(
                "Worker task [{task_id}] ends with its query: shut down its controller task [{}]",
                task.task_id
            ),
        });
    }
    let request = v1::ShutdownTaskRequest {
        task_id: task.task_id,
        caller: Some(identity.caller()),
    };
    app.overlord()?
        .shutdown_task(request)
        .await
        .map_err(|status| ApiError::of_status(&status, &task_id))?;
    Ok(json_response(StatusCode::OK, &json!({ "task": task_id })))
}

/// Filters of the task list (Druid: api-reference/tasks-api.md#get-an-array-of-tasks).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filters {
    state: Option<String>,
    datasource: Option<String>,
    /// Druid takes its length alone: tasks that were created no longer ago.
    created_time_interval: Option<String>,
    max: Option<String>,
    /// What `completeTasks` calls `max`.
    n: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Which tasks a list has.
#[derive(Debug, Clone, Copy, Default)]
struct States {
    waiting: bool,
    running: bool,
    complete: bool,
}

pub async fn list(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    let none = States::default();
    let states = match filters.state.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => States {
            waiting: true,
            running: true,
            complete: true,
        },
        // No task is ever between the queue and a controller, which is what Druid calls so.
        Some("pending") => none,
        Some("waiting") => States {
            waiting: true,
            ..none
        },
        Some("running") => States {
            running: true,
            ..none
        },
        Some("complete") => States {
            complete: true,
            ..none
        },
        Some(_) => {
            let given = filters.state.unwrap_or_default();
            return Err(ApiError::Text {
                status: StatusCode::BAD_REQUEST,
                message: format!(
                    "Invalid task state[{given}]. Must be one of [pending, waiting, running, complete]."
                ),
            });
        }
    };
    answer(app, identity, states, filters).await
}

pub async fn pending() -> Response {
    json_response(StatusCode::OK, &json!([]))
}

pub async fn running(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    let states = States {
        running: true,
        ..States::default()
    };
    let filters = Filters {
        kind: filters.kind,
        ..Filters::default()
    };
    answer(app, identity, states, filters).await
}

pub async fn waiting(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, ApiError> {
    let states = States {
        waiting: true,
        ..States::default()
    };
    answer(app, identity, states, Filters::default()).await
}

pub async fn complete(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    let states = States {
        complete: true,
        ..States::default()
    };
    let filters = Filters {
        max: filters.n,
        ..Filters::default()
    };
    answer(app, identity, states, filters).await
}

/// Ended tasks that are asked for at once.
const PAGE: u32 = 1_000;

/// Tasks of the datasources that may be read, worker tasks and all.
async fn answer(
    app: App,
    identity: Identity,
    states: States,
    filters: Filters,
) -> Result<Response, ApiError> {
    if let Some(datasource) = &filters.datasource {
        identity
            .may(&Resource::Datasource(datasource.clone()), Access::Read)
            .map_err(ApiError::in_words)?;
    }
    let most = match filters.max.as_deref().map(str::parse::<i32>) {
        None => u32::MAX,
        Some(Ok(most)) => u32::try_from(most).unwrap_or(0),
        // No number: in Druid no route has such a parameter.
        Some(Err(_)) => return Ok(empty(StatusCode::NOT_FOUND)),
    };
    let created = match filters.created_time_interval.as_deref() {
        None => None,
        Some(text) => {
            let given = interval::parse(text)?;
            let now = chrono::Utc::now().timestamp_millis();
            Some(v1::Interval {
                start_ms: now.saturating_sub(given.end_ms.saturating_sub(given.start_ms)),
                end_ms: i64::MAX,
            })
        }
    };
    let listing = Listing {
        app,
        identity,
        datasource: filters.datasource.unwrap_or_default(),
        kind: filters.kind,
    };
    json_stream(|mut out| async move {
        out.open("[").await?;
        let mut live = HashSet::new();
        if states.waiting || states.running {
            let states = [
                (states.waiting, v1::TaskState::Pending),
                (states.running, v1::TaskState::Running),
            ];
            let states = states.iter().filter(|(wanted, _)| *wanted);
            let states = states.map(|(_, state)| (*state).into()).collect();
            let tasks = listing.page(states, None, (0, 0)).await?;
            live.extend(tasks.iter().map(|task| task.task_id.clone()));
            listing.write(&mut out, &tasks, u32::MAX).await?;
        }
        let (mut left, mut before) = (if states.complete { most } else { 0 }, 0);
        while left > 0 {
            let ended = vec![v1::TaskState::Success.into(), v1::TaskState::Failed.into()];
            let size = left.min(PAGE);
            let mut tasks = listing.page(ended, created, (size, before)).await?;
            before = tasks.last().map_or(0, |last| last.seq);
            let is_last = tasks.len() < size as usize;
            // One that ended in between has been written.
            tasks.retain(|task| !live.contains(&task.task_id));
            left -= listing.write(&mut out, &tasks, left).await?;
            if is_last || before <= 1 {
                break;
            }
        }
        out.close("]").await?;
        out.end().await
    })
    .await
}

/// What all pages of a list have in common.
struct Listing {
    app: App,
    identity: Identity,
    datasource: String,
    kind: Option<String>,
}

impl Listing {
    async fn page(
        &self,
        states: Vec<i32>,
        created: Option<v1::Interval>,
        (max, before): (u32, u64),
    ) -> Result<Vec<v1::Task>, ApiError> {
        let request = v1::ListTasksRequest {
            states,
            datasource: self.datasource.clone(),
            created,
            max,
            before,
        };
        let tasks = self
            .app
            .overlord()?
            .list_tasks(request)
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        Ok(tasks.into_inner().tasks)
    }

    /// Writes those that are wanted, so many at the most; answers how many there were.
    async fn write(&self, out: &mut Out, tasks: &[v1::Task], most: u32) -> Result<u32, ApiError> {
        let mut written = 0;
        for task in tasks {
            if !self.identity.can_read_datasource(&task.datasource) {
                continue;
            }
            for part in render::parts(task) {
                let kind = match part {
                    Part::Controller(_) => "query_controller",
                    Part::Worker(..) => "query_worker",
                };
                if self.kind.as_deref().is_none_or(|wanted| wanted == kind) && written < most {
                    out.element(&part.status()).await?;
                    written += 1;
                }
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_tasks_id_names_its_query() {
        assert_eq!(worker_of("query-a-worker12_3"), Some(("query-a", 12, 3)));
        assert_eq!(
            worker_of("query-a-worker0_0-worker1_0"),
            Some(("query-a-worker0_0", 1, 0))
        );
        for id in [
            "query-a",
            "query-a-worker",
            "query-a-worker1",
            "query-a-workerx_0",
        ] {
            assert_eq!(worker_of(id), None, "{id}");
        }
    }

    #[test]
    fn a_log_is_read_from_an_offset_or_from_its_end() {
        let text = "ab\u{e4}c";
        for (offset, read) in [
            (0, text),
            (1, "b\u{e4}c"),
            (3, "c"),
            (-1, "c"),
            (-99, text),
            (99, ""),
        ] {
            assert_eq!(from_offset(text, offset), read, "{offset}");
        }
    }
}
