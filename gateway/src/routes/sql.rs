//! `/druid/v2/sql`: a SELECT that is answered with its rows.

use std::time::Instant;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sarsen_kernel::report::QueryReport;
use sarsen_planner::references;
use sarsen_proto::{from_kernel, v1};

use crate::auth::{Access, Identity};
use crate::error::{ApiError, json_response};
use crate::metadata;
use crate::render::report::fault_of_task;
use crate::render::{errors, explain, results};
use crate::request::SqlRequest;
use crate::service::App;
use crate::submission::{Endpoint, prepare_named};

const QUERY_ID: HeaderName = HeaderName::from_static("x-druid-query-id");
const SQL_QUERY_ID: HeaderName = HeaderName::from_static("x-druid-sql-query-id");
const HEADER_INCLUDED: HeaderName = HeaderName::from_static("x-druid-sql-header-included");
const RESPONSE_CONTEXT: HeaderName = HeaderName::from_static("x-druid-response-context");

/// Longest wait of one call to the Overlord.
const POLL_MS: u32 = 30_000;

/// Cancels a query whose client went away before the answer.
struct CancelOnDrop {
    app: App,
    task_id: Option<String>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(task_id), Ok(mut overlord)) = (self.task_id.take(), self.app.overlord()) else {
            return;
        };
        tokio::spawn(async move {
            let request = v1::ShutdownTaskRequest {
                task_id,
                caller: None,
            };
            let _ = overlord.shutdown_task(request).await;
        });
    }
}

pub async fn query(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let answered = answered(app, &identity, &headers, &body).await;
    let success = if answered.is_ok() { "true" } else { "false" };
    metrics::histogram!("druid_sqlQuery_time", "success" => success).record(started.elapsed());
    let name = if answered.is_ok() {
        "druid_query_success_count"
    } else {
        "druid_query_failed_count"
    };
    metrics::counter!(name).increment(1);
    answered
}

async fn answered(
    app: App,
    identity: &Identity,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let request = SqlRequest::read(headers, body)?;
    let shape = results::Shape {
        format: request.result_format,
        header: request.header,
        types_header: request.types_header,
        sql_types_header: request.sql_types_header,
        style: results::Style::of_context(&request.context, results::Times::in_zone_of(&request.context)),
    };
    let context = request.context.clone();
    let named = references(&request.query).map_err(|error| ApiError::Plan {
        task: None,
        error: Box::new(error),
    })?;
    if !named.metadata.is_empty() {
        let answer = metadata::answer(&app, identity, &request, &named).await?;
        return answered_with(
            results::write(&answer.rows, &answer.signature, &shape),
            &shape,
            &answer.query_id,
        );
    }
    let submission = prepare_named(&app, identity, request, Endpoint::Sql, Some(named)).await?;
    if let Some(found) = &submission.planned.explain {
        let row = explain::explain(&submission.planned, found, &context, &submission.query_id);
        return Ok(json_response(StatusCode::OK, &row));
    }
    let query_id = submission.query_id.clone();
    let refused = |status: tonic::Status| ApiError::of_status(&status, &query_id);
    let task_id = submission.submit(&app, identity).await?.task_id;
    let mut overlord = app.overlord()?;
    let mut guard = CancelOnDrop {
        app: app.clone(),
        task_id: Some(task_id.clone()),
    };
    let task = loop {
        let wait = v1::WaitTaskRequest {
            task_id: task_id.clone(),
            timeout_ms: POLL_MS,
        };
        let task = overlord.wait_task(wait).await.map_err(refused)?.into_inner();
        if matches!(task.state(), v1::TaskState::Success | v1::TaskState::Failed) {
            break task;
        }
    };
    guard.task_id = None;
    let report = overlord
        .get_report(v1::TaskRequest { task_id })
        .await
        .map_err(refused)?
        .into_inner();
    if report.report.is_none() && task.state() == v1::TaskState::Failed {
        let (status, body) = errors::failed_query(&fault_of_task(&task));
        return Err(ApiError::Failed { status, body });
    }
    answer(&report, &shape, &query_id)
}

fn answer(report: &v1::Report, shape: &results::Shape, query_id: &str) -> Result<Response, ApiError> {
    let internal = |message: String| ApiError::Internal { message };
    let query: QueryReport = from_kernel(report.report.as_ref(), "Report", "report")
        .map_err(|error| internal(error.to_string()))?;
    if let Some(error) = &query.error {
        let (status, body) = errors::failed_query(error);
        return Err(ApiError::Failed { status, body });
    }
    let rows = results::read(&report.results).map_err(|error| internal(error.to_string()))?;
    answered_with(
        results::write(&rows, &query.result_signature, shape),
        shape,
        query_id,
    )
}

fn answered_with(body: Vec<u8>, shape: &results::Shape, query_id: &str) -> Result<Response, ApiError> {
    // Of csv as well: that is what Druid's router says of it.
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (StatusCode::OK, content_type, body).into_response();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(query_id) {
        headers.insert(QUERY_ID, id.clone());
        headers.insert(SQL_QUERY_ID, id);
    }
    if shape.header {
        headers.insert(HEADER_INCLUDED, HeaderValue::from_static("yes"));
    }
    headers.insert(RESPONSE_CONTEXT, HeaderValue::from_static("{}"));
    Ok(response)
}

/// `DELETE /druid/v2/sql/{id}`
pub async fn cancel(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(query_id): Path<String>,
) -> Result<Response, ApiError> {
    let task_id = format!("query-{query_id}");
    let mut overlord = app.overlord()?;
    let request = v1::TaskRequest {
        task_id: task_id.clone(),
    };
    match overlord.get_task(request).await {
        Ok(task) => identity.may_task(task.get_ref(), Access::Write)?,
        Err(status) if status.code() == tonic::Code::NotFound => {}
        Err(status) => return Err(ApiError::of_status(&status, &query_id)),
    }
    let request = v1::ShutdownTaskRequest {
        task_id,
        caller: Some(identity.caller()),
    };
    let status = match overlord.shutdown_task(request).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(status) if status.code() == tonic::Code::NotFound => StatusCode::NOT_FOUND,
        Err(status) => return Err(ApiError::of_status(&status, &query_id)),
    };
    Ok((status, [(header::CONTENT_TYPE, "application/json")]).into_response())
}
