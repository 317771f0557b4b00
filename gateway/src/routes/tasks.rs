//! `/druid/indexer/v1/task…`: how tasks stand.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Access, Identity, Resource};
use crate::error::{ApiError, json_response, text_response};
use crate::render::{report, status as render};
use crate::service::App;

/// The task, if it is one that may be looked at, or ended.
async fn find(app: &App, identity: &Identity, access: Access, task_id: &str) -> Result<v1::Task, ApiError> {
    let request = v1::TaskRequest {
        task_id: task_id.to_owned(),
    };
    let task = app
        .overlord()?
        .get_task(request)
        .await
        .map_err(|status| ApiError::of_status(&status, task_id))?
        .into_inner();
    identity.may_task(&task, access)?;
    Ok(task)
}

pub async fn payload(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &identity, Access::Read, &task_id).await?;
    let payload = task.spec.map(|spec| spec.payload_json).unwrap_or_default();
    let payload: Value = serde_json::from_str(&payload).map_err(|error| ApiError::Internal {
        message: error.to_string(),
    })?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "task": task_id, "payload": payload }),
    ))
}

pub async fn status(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &identity, Access::Read, &task_id).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "task": task_id, "status": render::status(&task) }),
    ))
}

pub async fn reports(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    // Whoever may not look at a task has no report of it, however it stands.
    let task = find(&app, &identity, Access::Read, &task_id).await?;
    let found = get_report(&app, &task_id).await?;
    let body = if found.report.is_some() {
        report::report(&task_id, &found)
    } else {
        // No controller tells: the task waits for one, has lost it, or has ended between two questions.
        let task = find(&app, &identity, Access::Read, &task.task_id).await?;
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

/// The controller's log is its process' own; what a task has to say is in its report.
pub async fn log(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &identity, Access::Read, &task_id).await?;
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
    Ok(text_response(StatusCode::OK, lines))
}

pub async fn shutdown(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(task_id): Path<String>,
) -> Result<Response, ApiError> {
    find(&app, &identity, Access::Write, &task_id).await?;
    let request = v1::ShutdownTaskRequest {
        task_id: task_id.clone(),
        caller: Some(identity.caller()),
    };
    app.overlord()?
        .shutdown_task(request)
        .await
        .map_err(|status| ApiError::of_status(&status, &task_id))?;
    Ok(json_response(StatusCode::OK, &json!({ "task": task_id })))
}

/// Filters of the task list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filters {
    state: Option<String>,
    datasource: Option<String>,
    max: Option<u32>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub async fn list(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    let states = match filters.state.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Vec::new(),
        Some("pending") => vec![],
        Some("waiting") => vec![v1::TaskState::Pending],
        Some("running") => vec![v1::TaskState::Running],
        Some("complete") => vec![v1::TaskState::Success, v1::TaskState::Failed],
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
    // No task is ever between the queue and a controller, which Druid calls pending; and all are controller tasks.
    let none = filters
        .state
        .as_deref()
        .is_some_and(|state| state.eq_ignore_ascii_case("pending"))
        || filters
            .kind
            .as_deref()
            .is_some_and(|kind| kind != "query_controller");
    if none {
        return Ok(json_response(StatusCode::OK, &json!([])));
    }
    answer(&app, &identity, states, filters).await
}

pub async fn pending() -> Response {
    json_response(StatusCode::OK, &json!([]))
}

pub async fn running(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    answer(&app, &identity, vec![v1::TaskState::Running], filters).await
}

pub async fn waiting(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    answer(&app, &identity, vec![v1::TaskState::Pending], filters).await
}

pub async fn complete(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(filters): Query<Filters>,
) -> Result<Response, ApiError> {
    answer(
        &app,
        &identity,
        vec![v1::TaskState::Success, v1::TaskState::Failed],
        filters,
    )
    .await
}

/// Tasks of the datasources that may be read.
async fn answer(
    app: &App,
    identity: &Identity,
    states: Vec<v1::TaskState>,
    filters: Filters,
) -> Result<Response, ApiError> {
    if let Some(datasource) = &filters.datasource {
        identity
            .may(&Resource::Datasource(datasource.clone()), Access::Read)
            .map_err(ApiError::in_words)?;
    }
    let request = v1::ListTasksRequest {
        states: states.into_iter().map(i32::from).collect(),
        datasource: filters.datasource.unwrap_or_default(),
        created: None,
        max: filters.max.unwrap_or(0),
    };
    let tasks = app
        .overlord()?
        .list_tasks(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let tasks = tasks.into_inner().tasks;
    let readable = tasks
        .iter()
        .filter(|task| identity.can_read_datasource(&task.datasource));
    let tasks: Vec<Value> = readable.map(render::status).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(tasks)))
}
