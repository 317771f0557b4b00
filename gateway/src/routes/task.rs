//! `/druid/v2/sql/task`: statements as tasks.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use sarsen_proto::v1;
use serde_json::json;

use crate::auth::Identity;
use crate::error::{ApiError, json_response};
use crate::render::explain;
use crate::request::SqlRequest;
use crate::service::App;
use crate::submission::{Endpoint, prepare};

/// Answers once the task is kept: 202 with its id. EXPLAIN is answered at once.
pub async fn submit(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = SqlRequest::read(&headers, &body)?;
    let context = request.context.clone();
    let submission = prepare(&app, &identity, request, Endpoint::Task).await?;
    if let Some(found) = &submission.planned.explain {
        let row = explain::explain(&submission.planned, found, &context, &submission.query_id);
        return Ok(json_response(StatusCode::OK, &row));
    }
    let reply = submission.submit(&app, &identity).await?;
    // Druid says RUNNING of a task that waits, too.
    let state = match reply.state() {
        v1::TaskState::Success => "SUCCESS",
        v1::TaskState::Failed => "FAILED",
        _ => "RUNNING",
    };
    Ok(json_response(
        StatusCode::ACCEPTED,
        &json!({ "taskId": reply.task_id, "state": state }),
    ))
}

/// Clients ask whether there is a task endpoint.
pub async fn enabled() -> Response {
    json_response(StatusCode::OK, &json!({ "enabled": true }))
}
