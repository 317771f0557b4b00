//! Segments that become used or unused, for the next query on (Druid: api-reference/data-management-api.md).

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use sarsen_proto::v1::mark_segments_request::Scope;
use serde::Deserialize;
use serde_json::json;

use crate::auth::Identity;
use crate::error::{ApiError, json_response, raw_json};
use crate::interval;
use crate::render::errors;
use crate::service::App;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Become {
    Used,
    Unused,
}

async fn mark(
    app: &App,
    identity: &Identity,
    datasource: String,
    become_: Become,
    scope: Scope,
) -> Result<Response, ApiError> {
    let request = v1::MarkSegmentsRequest {
        datasource,
        used: become_ == Become::Used,
        scope: Some(scope),
        caller: Some(identity.caller()),
    };
    let reply = app.overlord()?.mark_segments(request).await.map_err(refusal)?;
    let changed = reply.into_inner().changed;
    let body = json!({ "numChangedSegments": changed, "segmentStateChanged": changed > 0 });
    Ok(json_response(StatusCode::OK, &body))
}

/// What contradicts the segments that there are, is the client's mistake.
fn refusal(status: tonic::Status) -> ApiError {
    match status.code() {
        tonic::Code::FailedPrecondition => ApiError::Invalid {
            message: status.message().to_owned(),
        },
        _ => ApiError::of_status(&status, ""),
    }
}

pub async fn use_all(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    mark(&app, &identity, name, Become::Used, Scope::All(v1::Empty {})).await
}

#[derive(Debug, Deserialize)]
pub struct Drop {
    kill: Option<String>,
}

pub async fn unuse_all(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    Query(given): Query<Drop>,
) -> Result<Response, ApiError> {
    if given.kill.is_some_and(|kill| kill.eq_ignore_ascii_case("true")) {
        return Ok(no_kill());
    }
    mark(&app, &identity, name, Become::Unused, Scope::All(v1::Empty {})).await
}

/// There are no tasks yet that remove the files of unused segments.
pub async fn kill(Path((_, within)): Path<(String, String)>) -> Result<Response, ApiError> {
    interval::parse(&within)?;
    Ok(no_kill())
}

fn no_kill() -> Response {
    let message = "Kill tasks are not supported: unused segments stay in deep storage";
    let body = errors::druid_exception("general", "USER", "UNSUPPORTED", message);
    json_response(StatusCode::NOT_IMPLEMENTED, &body)
}

pub async fn use_one(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    one(&app, &identity, name, id, Become::Used).await
}

pub async fn unuse_one(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    one(&app, &identity, name, id, Become::Unused).await
}

async fn one(
    app: &App,
    identity: &Identity,
    name: String,
    id: String,
    become_: Become,
) -> Result<Response, ApiError> {
    if !is_segment_id(&name, &id) {
        let escaped = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
        };
        let message = format!(
            "Could not parse Segment ID[{}] for DataSource[{}]",
            escaped(&id),
            escaped(&name)
        );
        return Ok(raw_json(StatusCode::BAD_REQUEST, message));
    }
    if become_ == Become::Used && super::reading::find_segment(app, &name, &id).await?.is_none() {
        let body = json!({ "numChangedSegments": 0, "segmentStateChanged": false });
        return Ok(json_response(StatusCode::OK, &body));
    }
    let ids = v1::SegmentIds { ids: vec![id] };
    mark(app, identity, name, become_, Scope::Ids(ids)).await
}

/// `datasource_start_end_version[_partition]`
fn is_segment_id(datasource: &str, id: &str) -> bool {
    let rest = id
        .strip_prefix(datasource)
        .and_then(|rest| rest.strip_prefix('_'));
    let mut parts = rest.unwrap_or_default().splitn(3, '_');
    let (Some(start), Some(end), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    interval::parse(&format!("{start}/{end}")).is_ok() && !version.is_empty()
}

/// Druid's `SegmentsToUpdateFilter`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    interval: Option<String>,
    segment_ids: Option<Vec<String>>,
    versions: Option<Vec<String>>,
}

const INVALID: &str = "Invalid request payload. Specify either 'interval' or 'segmentIds', but not both. Optionally, \
                       include 'versions' only when 'interval' is provided.";

pub async fn mark_used(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    filtered(&app, &identity, name, &body, Become::Used).await
}

pub async fn mark_unused(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    filtered(&app, &identity, name, &body, Become::Unused).await
}

async fn filtered(
    app: &App,
    identity: &Identity,
    name: String,
    body: &[u8],
    become_: Become,
) -> Result<Response, ApiError> {
    let filter: Option<Filter> = if body.iter().all(u8::is_ascii_whitespace) {
        None
    } else {
        serde_json::from_slice(body)
            .map_err(|error| ApiError::body(format!("Cannot read the filter: {error}")))?
    };
    let filter = filter.unwrap_or_default();
    let ids = filter.segment_ids.unwrap_or_default();
    let scope = match (&filter.interval, ids.is_empty()) {
        (Some(text), true) => Scope::Interval(v1::MarkInterval {
            interval: Some(interval::parse(text)?),
            by_version: filter.versions.is_some(),
            versions: filter.versions.unwrap_or_default(),
        }),
        (None, false) if filter.versions.unwrap_or_default().is_empty() => Scope::Ids(v1::SegmentIds { ids }),
        _ => return Ok(raw_json(StatusCode::BAD_REQUEST, INVALID.to_owned())),
    };
    mark(app, identity, name, become_, scope).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_segments_name_their_datasource_and_their_chunk() {
        let day = "2015-09-12T00:00:00.000Z_2015-09-13T00:00:00.000Z_2026-01-01T00:00:00.000Z";
        for (datasource, id, is) in [
            ("wiki", format!("wiki_{day}"), true),
            ("wi_ki", format!("wi_ki_{day}_7"), true),
            ("wiki", format!("other_{day}"), false),
            ("wiki", "wiki".to_owned(), false),
            ("wiki", "wiki_a_b_c".to_owned(), false),
            ("wiki", "wiki_2015_2016".to_owned(), false),
        ] {
            assert_eq!(is_segment_id(datasource, &id), is, "{id}");
        }
    }
}
