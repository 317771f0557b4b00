//! `/druid/coordinator/v1/metadata`: what the metadata store says (Druid: api-reference/legacy-metadata-api.md).

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Value, json};

use super::datasources::Form;
use super::reading::{
    Usage, data_segment, datasource_in_full, datasources_in_full, each_segment, find_datasource,
    find_segment, list_datasources, list_segments,
};
use super::rules::Rules;
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::interval;
use crate::service::App;
use crate::stream::json_list;

/// Values of one parameter of a query, however often it is given.
fn values(query: Option<&str>, name: &str) -> Vec<String> {
    let query = query.unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded(query);
    pairs
        .into_iter()
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value)
        .collect()
}

/// `a=b&c` as pairs; a name without a value has an empty one.
fn serde_urlencoded(query: &str) -> Vec<(String, String)> {
    let uri = format!("/?{query}").parse::<axum::http::Uri>();
    let read = uri
        .ok()
        .and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    read.map(|Query(pairs)| pairs).unwrap_or_default()
}

pub async fn datasources(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let has = |name: &str| !values(query.as_deref(), name).is_empty();
    let include_unused = has("includeUnused") || has("includeDisabled");
    let mut found = list_datasources(&app, None, include_unused).await?;
    found.retain(|sums| identity.can_read_datasource(&sums.datasource));
    if has("full") && !include_unused {
        return datasources_in_full(app, found).await;
    }
    let names: Vec<Value> = found.iter().map(|sums| json!(sums.datasource)).collect();
    Ok(json_response(StatusCode::OK, &Value::Array(names)))
}

pub async fn datasource(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let Some(sums) = find_datasource(&app, &name).await? else {
        return Ok(empty_json(StatusCode::NOT_FOUND));
    };
    datasource_in_full(app, sums).await
}

pub async fn segments(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    if find_datasource(&app, &name).await?.is_none() {
        return Ok(empty_json(StatusCode::NOT_FOUND));
    }
    list_segments(app, name, form, |_| true).await
}

/// Those that overlap one of the intervals of the body.
pub async fn segments_in(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let texts: Vec<String> = serde_json::from_slice(&body)
        .map_err(|error| ApiError::body(format!("The body is a list of intervals: {error}")))?;
    let intervals: Result<Vec<v1::Interval>, ApiError> =
        texts.iter().map(|text| interval::parse(text)).collect();
    let intervals = intervals?;
    if intervals.is_empty() {
        return Ok(json_response(StatusCode::OK, &json!([])));
    }
    let is_wanted = move |own: &v1::Interval| intervals.iter().any(|wanted| interval::overlaps(wanted, own));
    list_segments(app, name, form, is_wanted).await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct One {
    include_unused: Option<String>,
}

pub async fn segment(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
    Query(given): Query<One>,
) -> Result<Response, ApiError> {
    let unused_too = given
        .include_unused
        .is_some_and(|given| given.eq_ignore_ascii_case("true"));
    match find_segment(&app, &name, &id).await? {
        Some((segment, used)) if used || unused_too => {
            Ok(json_response(StatusCode::OK, &data_segment(&segment)?))
        }
        _ => Ok(empty_json(StatusCode::NOT_FOUND)),
    }
}

/// Used segments of all datasources, or of those that are named.
pub async fn all_segments(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let given = |name: &str| values(query.as_deref(), name);
    let with_status = !given("includeOvershadowedStatus").is_empty();
    if !with_status && !given("includeRealtimeSegments").is_empty() {
        return Ok(empty_json(StatusCode::BAD_REQUEST));
    }
    let named = given("datasources");
    let mut found = list_datasources(&app, None, false).await?;
    found.retain(|sums| {
        (named.is_empty() || named.contains(&sums.datasource))
            && identity.can_read_datasource(&sums.datasource)
    });
    let rules = Rules::of(&app).await?;
    let now = chrono::Utc::now().timestamp_millis();
    json_list(move |mut out| async move {
        for sums in &found {
            let mut segments = each_segment(&app, &sums.datasource, Usage::Used);
            while let Some(segment) = segments.next().await? {
                let value = if with_status {
                    with_its_status(&segment, rules.replicas(&sums.datasource, segment.interval, now))?
                } else {
                    data_segment(&segment)?
                };
                out.element(&value).await?;
            }
        }
        Ok(out)
    })
    .await
}

/// A used segment is never overshadowed: what it hides becomes unused when it is published.
fn with_its_status(segment: &v1::SegmentInfo, replicas: u64) -> Result<Value, ApiError> {
    let mut status = json!({
        "overshadowed": false, "replicationFactor": replicas, "numRows": segment.rows, "realtime": false,
    });
    if let (Some(status), Value::Object(payload)) = (status.as_object_mut(), data_segment(segment)?) {
        status.extend(payload);
    }
    Ok(status)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unused {
    interval: Option<String>,
    limit: Option<String>,
    last_segment_id: Option<String>,
    sort_order: Option<String>,
}

pub async fn unused(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(given): Query<Unused>,
) -> Result<Response, ApiError> {
    let invalid = |message: String| ApiError::Invalid { message };
    let limit = match given.limit.as_deref().map(str::parse::<i64>) {
        None => u64::MAX,
        Some(Ok(limit)) => u64::try_from(limit)
            .map_err(|_| invalid(format!("Invalid limit[{limit}] specified. Limit must be > 0.")))?,
        Some(Err(_)) => return Ok(empty_json(StatusCode::NOT_FOUND)),
    };
    match given
        .sort_order
        .as_deref()
        .map(str::to_ascii_uppercase)
        .as_deref()
    {
        None | Some("ASC") => {}
        Some("DESC") => {
            return Err(invalid(
                "sortOrder[DESC] is not supported: unused segments are listed in ascending order".to_owned(),
            ));
        }
        Some(other) => {
            return Err(invalid(format!(
                "Unexpected value[{other}] for SortOrder. Possible values are: [ASC, DESC]"
            )));
        }
    }
    let within = given.interval.as_deref().map(interval::parse).transpose()?;
    let mut segments = each_segment(&app, &name, Usage::Unused);
    if let Some(id) = &given.last_segment_id {
        let last = find_segment(&app, &name, id).await?;
        let (last, _) = last.ok_or_else(|| invalid(format!("Invalid lastSegmentId[{id}] specified.")))?;
        segments = segments.after(last);
    }
    json_list(move |mut out| async move {
        let mut left = limit;
        while left > 0
            && let Some(segment) = segments.next().await?
        {
            let own = segment.interval.unwrap_or_default();
            if within.is_none_or(|within| interval::contains(&within, &own)) {
                left -= 1;
                out.element(&segment_plus(&segment)?).await?;
            }
        }
        Ok(out)
    })
    .await
}

/// Druid's `DataSegmentPlus`.
fn segment_plus(segment: &v1::SegmentInfo) -> Result<Value, ApiError> {
    let upgraded = (!segment.upgraded_from.is_empty()).then_some(&segment.upgraded_from);
    Ok(json!({
        "dataSegment": data_segment(segment)?,
        "createdDate": segment.created,
        "usedStatusLastUpdatedDate": segment.used_status_last_updated,
        "used": false,
        "schemaFingerprint": null,
        "numRows": segment.rows,
        "upgradedFromSegmentId": upgraded,
    }))
}
