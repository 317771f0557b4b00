//! `/druid/v2/sql/statements`: statements whose results are fetched page by page.

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::BoxStream;
use sarsen_kernel::query::{ColumnDescriptor, QueryKind};
use sarsen_kernel::report::{QueryReport, ResultPage};
use sarsen_planner::{PlanError, statement_settings};
use sarsen_proto::{from_kernel, v1};
use sarsen_storage::StorageError;
use sarsen_storage::results::page;
use sarsen_storage::segment::DeepStorage;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::{Access, Identity};
use crate::error::{ApiError, json_response};
use crate::render::statements::{Detail, RESULT_FORMAT, Reported, Submitted};
use crate::render::{errors, explain, report, results, statements};
use crate::request::{SqlRequest, result_format};
use crate::service::App;
use crate::submission::{Endpoint, prepare};

/// Parts of a body that are made ahead of the client.
const AHEAD: usize = 2;

fn refused(status: StatusCode, code: &str, persona: &str, category: &str, message: &str) -> ApiError {
    ApiError::Failed {
        status,
        body: errors::druid_exception(code, persona, category, message),
    }
}

fn invalid(message: &str) -> ApiError {
    refused(
        StatusCode::BAD_REQUEST,
        "general",
        "USER",
        "INVALID_INPUT",
        message,
    )
}

fn not_found(statement_id: &str) -> ApiError {
    let message = format!(
        "Query [{statement_id}] was not found. The query details are no longer present or might not be of the type \
         [query_controller]. Verify that the id is correct."
    );
    refused(StatusCode::NOT_FOUND, "notFound", "USER", "NOT_FOUND", &message)
}

/// Answers how the statement stands once it is kept. EXPLAIN is answered with its row.
pub async fn submit(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut request = SqlRequest::read(&headers, &body)?;
    if request.context.contains_key(RESULT_FORMAT) {
        let message = format!("Query context parameter [{RESULT_FORMAT}] is not allowed");
        return Err(ApiError::Invalid { message });
    }
    let plan_error = |error: PlanError| ApiError::Plan {
        error: Box::new(error),
        task: None,
    };
    let mut effective = request.context.clone();
    effective.extend(statement_settings(&request.query).map_err(plan_error)?);
    check(&app, &effective)?;
    let format = request.result_format.name();
    request.context.insert(RESULT_FORMAT.to_owned(), json!(format));
    let context = request.context.clone();
    let submission = prepare(&app, &identity, request, Endpoint::Statement).await?;
    if let Some(found) = &submission.planned.explain {
        let row = explain::explain(&submission.planned, found, &context, &submission.query_id);
        return Ok(json_response(StatusCode::OK, &row));
    }
    let reply = submission.submit(&app, &identity).await?;
    let task_id = reply.task_id.clone();
    if matches!(reply.state(), v1::TaskState::Success | v1::TaskState::Failed) {
        // The same statement was submitted before.
        let task = find(&app, &identity, Access::Read, &task_id).await?;
        return Ok(json_response(
            StatusCode::OK,
            &shown(&app, &task, Detail::Short).await?,
        ));
    }
    // As it was accepted, however far it has come since.
    let accepted = v1::Task {
        state: v1::TaskState::Pending.into(),
        location: String::new(),
        duration_ms: -1,
        ..find(&app, &identity, Access::Read, &task_id).await?
    };
    let body = statements::status(&accepted, &Reported::default(), Detail::Short);
    Ok(json_response(StatusCode::OK, &body))
}

/// What a statement's context must say.
fn check(app: &App, context: &Map<String, Value>) -> Result<(), ApiError> {
    let key = "executionMode";
    let wants = format!("Please set [{key}] to [ASYNC] in the query context");
    let mode = match context.get(key) {
        None | Some(Value::Null) => {
            let message = format!("Execution mode is not provided to the sql statement api. {wants}");
            return Err(ApiError::Invalid { message });
        }
        Some(Value::String(mode)) => mode.to_uppercase(),
        Some(other) => other.to_string(),
    };
    match mode.as_str() {
        "ASYNC" => {}
        "SYNC" => {
            let message = format!(
                "The sql statement api currently does not support the provided execution mode [SYNC]. {wants}"
            );
            return Err(ApiError::Invalid { message });
        }
        _ => {
            let given = context.get(key).cloned().unwrap_or_default();
            let given = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
            return Err(ApiError::Plan {
                task: None,
                error: Box::new(PlanError::bad_context(format!(
                    "Expected key [{key}] to be referring to one of the values [SYNC,ASYNC] of enum [ExecutionMode], but \
                     got [{given}]"
                ))),
            });
        }
    }
    let destination = context.get("selectDestination").and_then(Value::as_str);
    if destination.is_some_and(|name| name.eq_ignore_ascii_case("durableStorage")) {
        storage(app)?;
    }
    Ok(())
}

/// Where durable results are.
fn storage(app: &App) -> Result<&DeepStorage, ApiError> {
    app.deep_storage.as_ref().ok_or_else(|| {
        let message = "The sql statement api cannot read from the select destination [durableStorage] provided in the query \
                       context [selectDestination] since it is not configured on the broker. It is recommended to configure \
                       durable storage as it allows the user to fetch large result sets. Please contact your cluster admin to \
                       configure durable storage.";
        refused(StatusCode::BAD_REQUEST, "general", "OPERATOR", "INVALID_INPUT", message)
    })
}

/// The task of a statement, if it is one that may be looked at, or ended.
async fn find(app: &App, identity: &Identity, access: Access, id: &str) -> Result<v1::Task, ApiError> {
    let request = v1::TaskRequest {
        task_id: id.to_owned(),
    };
    let task = match app.overlord()?.get_task(request).await {
        Ok(task) => task.into_inner(),
        Err(status) if status.code() == tonic::Code::NotFound => return Err(not_found(id)),
        Err(status) => return Err(ApiError::of_status(&status, id)),
    };
    // What `/druid/v2/sql` answers is nobody's statement.
    if task.spec.as_ref().is_some_and(|spec| spec.synchronous) {
        return Err(not_found(id));
    }
    if identity.can_statement(&task, access) {
        return Ok(task);
    }
    tracing::info!(
        target: "sarsen::audit",
        identity = identity.name,
        statement = id,
        access = access.name(),
        "forbidden"
    );
    Err(refused(
        StatusCode::FORBIDDEN,
        "forbidden",
        "USER",
        "FORBIDDEN",
        "Unauthorized",
    ))
}

/// The report of a task, as far as there is one.
async fn reported(app: &App, task: &v1::Task) -> Result<(Reported, v1::Report), ApiError> {
    let request = v1::TaskRequest {
        task_id: task.task_id.clone(),
    };
    let found = match app.overlord()?.get_report(request).await {
        Ok(found) => found.into_inner(),
        Err(status) if status.code() == tonic::Code::NotFound => v1::Report::default(),
        Err(status) => return Err(ApiError::of_status(&status, &task.task_id)),
    };
    if found.report.is_none() {
        return Ok((Reported::default(), found));
    }
    let internal = |error: sarsen_proto::DecodeError| ApiError::Internal {
        message: error.to_string(),
    };
    let query: QueryReport = from_kernel(found.report.as_ref(), "Report", "report").map_err(internal)?;
    let reported = Reported {
        body: report::report(&task.task_id, &found).map_err(internal)?,
        query: Some(query),
    };
    Ok((reported, found))
}

async fn shown(app: &App, task: &v1::Task, detail: Detail) -> Result<Value, ApiError> {
    let runs = matches!(
        statements::State::of(task),
        statements::State::Accepted | statements::State::Running
    );
    let reported = match (runs, detail) {
        (true, Detail::Short) => Reported::default(),
        _ => reported(app, task).await?.0,
    };
    Ok(statements::status(task, &reported, detail))
}

/// Parameters of a status.
#[derive(Debug, Default, Deserialize)]
pub struct StatusParameters {
    detail: Option<String>,
}

/// `GET …/{id}`
pub async fn status(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(statement_id): Path<String>,
    Query(parameters): Query<StatusParameters>,
) -> Result<Response, ApiError> {
    let task = find(&app, &identity, Access::Read, &statement_id).await?;
    let wants_all = parameters
        .detail
        .is_some_and(|detail| detail.eq_ignore_ascii_case("true"));
    let detail = if wants_all { Detail::Full } else { Detail::Short };
    Ok(json_response(StatusCode::OK, &shown(&app, &task, detail).await?))
}

/// `DELETE …/{id}`: what has ended stays as it is.
pub async fn cancel(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(statement_id): Path<String>,
) -> Result<Response, ApiError> {
    let task = find(&app, &identity, Access::Write, &statement_id).await?;
    let status = match statements::State::of(&task) {
        statements::State::Success | statements::State::Failed => StatusCode::OK,
        statements::State::Accepted | statements::State::Running => {
            let request = v1::ShutdownTaskRequest {
                task_id: statement_id.clone(),
                caller: Some(identity.caller()),
            };
            app.overlord()?
                .shutdown_task(request)
                .await
                .map_err(|status| ApiError::of_status(&status, &statement_id))?;
            StatusCode::ACCEPTED
        }
    };
    Ok((status, [(header::CONTENT_TYPE, "application/json")]).into_response())
}

/// Parameters of a request for results.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultParameters {
    page: Option<String>,
    result_format: Option<String>,
    filename: Option<String>,
}

/// `GET …/{id}/results`: one page, or all of them.
pub async fn results(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(statement_id): Path<String>,
    Query(parameters): Query<ResultParameters>,
) -> Result<Response, ApiError> {
    let page = parameters.page.as_deref().map(page_number).transpose()?;
    let task = find(&app, &identity, Access::Read, &statement_id).await?;
    succeeded(&task)?;
    let disposition = parameters.filename.as_deref().map(disposition).transpose()?;
    let submitted = Submitted::of(&task);
    let format = match parameters.result_format.as_deref() {
        None => submitted.format,
        Some(name) => result_format(name).ok_or_else(|| {
            invalid(&format!(
                "Expected key [resultFormat] to be referring to one of the values [ARRAY,ARRAYLINES,CSV,OBJECT,OBJECTLINES] \
                 of enum [ResultFormat], but got [{name}]"
            ))
        })?,
    };
    let body = match submitted.schema {
        // Nothing goes back of what is stored.
        None => Body::empty(),
        Some(schema) => body(&app, &task, page, schema, format).await?,
    };
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(disposition) = disposition {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn page_number(given: &str) -> Result<usize, ApiError> {
    let number: i64 = given
        .parse()
        .map_err(|_| invalid(&format!("Page must be a number, got [{given}].")))?;
    usize::try_from(number).map_err(|_| invalid("Page cannot be negative. Please pass a positive number."))
}

fn succeeded(task: &v1::Task) -> Result<(), ApiError> {
    let id = &task.task_id;
    match statements::State::of(task) {
        statements::State::Success => Ok(()),
        statements::State::Failed => Err(invalid(&format!(
            "Query[{id}] failed. Check the status api for more details."
        ))),
        state => Err(invalid(&format!(
            "Query[{id}] is currently in [{}] state. Please wait for it to complete.",
            state.name()
        ))),
    }
}

/// The header that names a download; names are as Druid allows them.
fn disposition(filename: &str) -> Result<HeaderValue, ApiError> {
    let refuse = |message: &str| ApiError::Invalid {
        message: message.to_owned(),
    };
    if filename.is_empty() {
        return Err(refuse("Filename cannot be empty."));
    }
    if filename.encode_utf16().count() > 255 {
        return Err(refuse("Filename cannot be longer than 255 characters."));
    }
    let is_bad = |character: char| r#"/\:*?"<>|"#.contains(character) || character.is_control();
    if filename.chars().any(is_bad) {
        return Err(refuse(
            "Filename contains invalid characters. (/, \\, :, *, ?, \", <, >, |, \0, \n, or \r)",
        ));
    }
    HeaderValue::from_bytes(format!("attachment; filename=\"{filename}\"").as_bytes())
        .map_err(|_| refuse("Filename contains invalid characters."))
}

async fn body(
    app: &App,
    task: &v1::Task,
    wanted: Option<usize>,
    schema: Vec<ColumnDescriptor>,
    format: crate::request::ResultFormat,
) -> Result<Body, ApiError> {
    let (reported, report) = reported(app, task).await?;
    let shape = results::Shape {
        format,
        header: false,
        types_header: false,
        sql_types_header: false,
        style: results::Style {
            times: results::Times::Millis,
            stringify_arrays: true,
        },
    };
    let kind = reported.query.as_ref().and_then(|query| query.kind.as_ref());
    match kind {
        Some(QueryKind::DurableSelect(_)) => {
            let pages = reported.query.map(|query| query.pages).unwrap_or_default();
            if pages.is_empty() {
                return Ok(Body::empty());
            }
            let pages = match wanted {
                None => pages,
                Some(number) => {
                    let page = pages.into_iter().nth(number).ok_or_else(|| ApiError::Invalid {
                        message: format!("Invalid page id [{number}] passed."),
                    })?;
                    vec![page]
                }
            };
            let out = results::Writer::new(shape, schema);
            Pages::open(storage(app)?.clone(), task.task_id.clone(), pages, out).await
        }
        Some(QueryKind::Select) => {
            if let Some(number) = wanted.filter(|number| *number > 0) {
                let message = format!("Page number [{number}] is out of the range of results");
                return Err(ApiError::Invalid { message });
            }
            let rows = results::read(&report.results).map_err(|error| ApiError::Internal {
                message: error.to_string(),
            })?;
            Ok(Body::from(results::write(&rows, &schema, &shape)))
        }
        _ => Ok(Body::empty()),
    }
}

/// Pages that are sent while they are read.
struct Pages {
    deep_storage: DeepStorage,
    statement_id: String,
    /// Those that are not open yet.
    rest: std::vec::IntoIter<ResultPage>,
    out: results::Writer,
}

type Rows = BoxStream<'static, Result<arrow::array::RecordBatch, StorageError>>;

impl Pages {
    /// The body; what is wrong with the first page is an error of the request.
    async fn open(
        deep_storage: DeepStorage,
        statement_id: String,
        pages: Vec<ResultPage>,
        out: results::Writer,
    ) -> Result<Body, ApiError> {
        let mut pages = Pages {
            deep_storage,
            statement_id,
            rest: pages.into_iter(),
            out,
        };
        let first = pages.next().await.map_err(|error| match error {
            PageError::Gone(path) => {
                tracing::info!(path, "a page of results is not there");
                let message = format!(
                    "The results of query [{}] are no longer present. They are kept for a time only.",
                    pages.statement_id
                );
                refused(StatusCode::NOT_FOUND, "notFound", "USER", "NOT_FOUND", &message)
            }
            PageError::Storage(error) => ApiError::Internal {
                message: error.to_string(),
            },
        })?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            if let Err(error) = pages.send(first, &sender).await {
                tracing::warn!(statement = pages.statement_id, %error, "results cannot be sent to their end");
                let _ = sender.send(Err(std::io::Error::other(error.to_string()))).await;
            }
        });
        Ok(Body::from_stream(ReceiverStream::new(receiver)))
    }

    /// The rows of the next page.
    async fn next(&mut self) -> Result<Option<Rows>, PageError> {
        let Some(next) = self.rest.next() else {
            return Ok(None);
        };
        match page(&self.deep_storage, &next.path).await? {
            Some(rows) => Ok(Some(rows)),
            None => Err(PageError::Gone(next.path)),
        }
    }

    /// Sends until all is sent, or the client is gone.
    async fn send(
        &mut self,
        first: Option<Rows>,
        sender: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    ) -> Result<(), PageError> {
        let mut open = first;
        while let Some(mut rows) = open {
            while let Some(batch) = rows.next().await {
                self.out.batch(&batch?);
                if sender.send(Ok(self.out.take().into())).await.is_err() {
                    return Ok(());
                }
            }
            open = self.next().await?;
        }
        self.out.end();
        let _ = sender.send(Ok(self.out.take().into())).await;
        Ok(())
    }
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("[{0}] is not there")]
    Gone(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_of_downloads_are_names_of_files() {
        assert_eq!(
            disposition("a b.csv").unwrap(),
            "attachment; filename=\"a b.csv\""
        );
        assert!(disposition("ä.csv").is_ok());
        for name in ["", "a/b", "a\"b", "a\nb", "..\\x", &"x".repeat(256)] {
            assert!(disposition(name).is_err(), "{name}");
        }
    }

    #[test]
    fn pages_are_numbers_from_zero_on() {
        assert_eq!(page_number("3").unwrap(), 3);
        assert!(page_number("-1").is_err() && page_number("x").is_err());
    }
}
