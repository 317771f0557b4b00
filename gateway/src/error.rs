//! What a request can be refused with, in Druid's error bodies.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sarsen_planner::PlanError;
use serde_json::{Value, json};

use crate::render::errors;

/// A refused request.
#[derive(Debug)]
pub enum ApiError {
    /// The body is not a query.
    Body {
        status: StatusCode,
        message: String,
    },
    /// The statement cannot be planned; `task` is the id that it would have had, on the task endpoint.
    Plan {
        error: Box<PlanError>,
        task: Option<String>,
    },
    /// Any other mistake of the client's.
    Invalid {
        message: String,
    },
    UnknownTask {
        task_id: String,
    },
    /// Words without a body of Druid's.
    Text {
        status: StatusCode,
        message: String,
    },
    /// A query that ran failed; the body is rendered already.
    Failed {
        status: StatusCode,
        body: Value,
    },
    /// The client has too much in the queue.
    TooMany {
        message: String,
    },
    /// The request says nothing of who sent it.
    Unauthenticated,
    /// It does, and that is not so; answered at this path.
    WrongCredentials,
    WrongCredentialsAt(String),
    /// Who sent it may not do this; `ForbiddenWords` where Druid's answer is no JSON.
    Forbidden,
    ForbiddenWords,
    /// The Overlord is away.
    Unavailable {
        message: String,
    },
    Internal {
        message: String,
    },
}

impl ApiError {
    /// A body that cannot be read as a query.
    pub fn body(message: impl Into<String>) -> Self {
        ApiError::Body {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// The error as it is answered at a path.
    pub fn at(self, path: &str) -> Self {
        match self {
            ApiError::WrongCredentials => ApiError::WrongCredentialsAt(path.to_owned()),
            error => error,
        }
    }

    /// A refusal as Druid's filters of some routes write it.
    pub fn in_words(self) -> Self {
        match self {
            ApiError::Forbidden => ApiError::ForbiddenWords,
            error => error,
        }
    }

    /// The Overlord's refusal of a call about a task.
    pub fn of_status(status: &tonic::Status, task_id: &str) -> Self {
        match status.code() {
            tonic::Code::NotFound => ApiError::UnknownTask {
                task_id: task_id.to_owned(),
            },
            tonic::Code::AlreadyExists | tonic::Code::InvalidArgument => ApiError::Invalid {
                message: status.message().to_owned(),
            },
            tonic::Code::ResourceExhausted => ApiError::TooMany {
                message: status.message().to_owned(),
            },
            tonic::Code::Unavailable
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Unknown
            | tonic::Code::Cancelled => ApiError::Unavailable {
                message: format!(
                    "The Overlord cannot be reached yet; try again in a moment ({})",
                    status.message()
                ),
            },
            _ => ApiError::Internal {
                message: status.message().to_owned(),
            },
        }
    }
}

/// Druid has a status for each category of errors (DruidException.Category).
fn plan_status(error: &PlanError) -> StatusCode {
    match error.category {
        "UNSUPPORTED" => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            ApiError::Body { status, message } => json_response(status, &errors::unreadable_body(&message)),
            ApiError::Plan { error, task: None } => {
                json_response(plan_status(&error), &errors::plan_error(&error))
            }
            ApiError::Plan {
                error,
                task: Some(task_id),
            } => {
                let body =
                    json!({ "taskId": task_id, "state": "FAILED", "error": errors::plan_error(&error) });
                json_response(plan_status(&error), &body)
            }
            ApiError::Invalid { message } => json_response(
                StatusCode::BAD_REQUEST,
                &errors::druid_exception("invalidInput", "USER", "INVALID_INPUT", &message),
            ),
            ApiError::UnknownTask { task_id } => text_response(
                StatusCode::NOT_FOUND,
                format!("Cannot find any task with id: [{task_id}]"),
            ),
            ApiError::Text { status, message } => text_response(status, message),
            ApiError::Failed { status, body } => json_response(status, &body),
            ApiError::TooMany { message } => {
                let body = errors::druid_exception("capacityExceeded", "USER", "CAPACITY_EXCEEDED", &message);
                json_response(StatusCode::TOO_MANY_REQUESTS, &body)
            }
            ApiError::Unauthenticated => challenge(json_response(
                StatusCode::UNAUTHORIZED,
                &json!({
                    "error": "Unauthorized request", "errorMessage": null, "errorClass": null, "host": null
                }),
            )),
            ApiError::WrongCredentials => challenge(html_page(StatusCode::UNAUTHORIZED, "", "Unauthorized")),
            ApiError::WrongCredentialsAt(path) => challenge(html_page(
                StatusCode::UNAUTHORIZED,
                &path,
                "User authentication failed.",
            )),
            ApiError::Forbidden => json_response(
                StatusCode::FORBIDDEN,
                &json!({ "Access-Check-Result": UNAUTHORIZED }),
            ),
            ApiError::ForbiddenWords => text_response(
                StatusCode::FORBIDDEN,
                format!("Access-Check-Result: {UNAUTHORIZED}"),
            ),
            ApiError::Unavailable { message } => {
                let body = errors::druid_exception("unavailable", "OPERATOR", "CAPACITY_EXCEEDED", &message);
                json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
            ApiError::Internal { message } => {
                tracing::error!(message, "a request failed");
                let body = errors::druid_exception("general", "OPERATOR", "DEFENSIVE", &message);
                json_response(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
        }
    }
}

/// What Druid's authorizers say.
const UNAUTHORIZED: &str = "Unauthorized";

/// With the ways in which one may say who one is.
fn challenge(mut response: Response) -> Response {
    for scheme in ["Basic", "Bearer"] {
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

/// A page as Jetty makes them for errors without a body.
pub fn html_page(status: StatusCode, path: &str, message: &str) -> Response {
    let path = path.replace('&', "&amp;").replace('<', "&lt;");
    let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or_default());
    let message = if message.is_empty() {
        String::new()
    } else {
        format!("<tr><th>MESSAGE:</th><td>{message}</td></tr>\n")
    };
    let page = format!(
        "<html>\n<head><title>Error {code} {reason}</title></head>\n<body><h2>HTTP ERROR {code} {reason}</h2>\n\
         <table>\n<tr><th>URI:</th><td>{path}</td></tr>\n<tr><th>STATUS:</th><td>{code}</td></tr>\n\
         {message}</table>\n</body>\n</html>\n"
    );
    (
        status,
        [(header::CONTENT_TYPE, "text/html;charset=iso-8859-1")],
        page,
    )
        .into_response()
}

/// JSON with Druid's content type.
pub fn json_response(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// Words that Druid sends as they are, and calls JSON.
pub fn raw_json(status: StatusCode, message: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], message).into_response()
}

/// Nothing, with Druid's content type.
pub fn empty_json(status: StatusCode) -> Response {
    raw_json(status, String::new())
}

/// Nothing at all.
pub fn empty(status: StatusCode) -> Response {
    status.into_response()
}

/// Plain words.
pub fn text_response(status: StatusCode, message: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain")], message).into_response()
}
