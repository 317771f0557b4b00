//! `/druid/coordinator/v1/datasources`: tables and their segments, all of which are always loaded: queries read deep
//! storage (Druid: api-reference/data-management-api.md, legacy-metadata-api.md).

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reading::{
    Usage, data_segment, datasource_in_full, datasources_in_full, each_interval, each_segment,
    find_datasource, find_segment, list_datasources, list_segments,
};
use super::rules::Rules;
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response, raw_json};
use crate::interval;
use crate::service::App;
use crate::stream::{json_list, json_stream};

/// `?simple` and `?full`, which count whatever they are.
#[derive(Debug, Default, Deserialize)]
pub struct Form {
    pub simple: Option<String>,
    pub full: Option<String>,
}

/// The tier that published segments are in, all of them, and the process that serves them.
pub const TIER: &str = "_default_tier";
pub const SERVER: &str = "deep-storage";

/// Druid's answer where a datasource has no used segments.
pub fn absent() -> Response {
    empty_json(StatusCode::NO_CONTENT)
}

pub async fn list(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let mut found = list_datasources(&app, None, false).await?;
    found.retain(|sums| identity.can_read_datasource(&sums.datasource));
    if form.full.is_some() {
        return datasources_in_full(app, found).await;
    }
    let simple = |sums: &v1::DatasourceSums| json!({ "name": sums.datasource, "properties": summary(sums) });
    let list: Vec<Value> = if form.simple.is_some() {
        found.iter().map(simple).collect()
    } else {
        found.iter().map(|sums| json!(sums.datasource)).collect()
    };
    Ok(json_response(StatusCode::OK, &Value::Array(list)))
}

/// Tiers and segments in short.
fn summary(sums: &v1::DatasourceSums) -> Value {
    let interval = sums.interval.unwrap_or_default();
    let text = interval::text(&interval);
    let (start, end) = text.split_once('/').unwrap_or_default();
    json!({
        "tiers": { TIER: { "size": sums.bytes, "replicatedSize": sums.bytes, "segmentCount": sums.segments } },
        "segments": {
            "maxTime": end, "size": sums.bytes, "minTime": start, "count": sums.segments,
            "replicatedSize": sums.bytes,
        },
    })
}

pub async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let Some(sums) = find_datasource(&app, &name).await? else {
        return Ok(absent());
    };
    if form.full.is_none() {
        return Ok(json_response(StatusCode::OK, &summary(&sums)));
    }
    datasource_in_full(app, sums).await
}

pub async fn intervals(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    of_intervals(app, name, form, None).await
}

pub async fn intervals_in(
    State(app): State<App>,
    Path((name, within)): Path<(String, String)>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let within = interval::parse(&within)?;
    of_intervals(app, name, form, Some(within)).await
}

/// Intervals; of those within another the segments' ids; `?simple` their sums, `?full` their segments.
async fn of_intervals(
    app: App,
    name: String,
    form: Form,
    within: Option<v1::Interval>,
) -> Result<Response, ApiError> {
    if find_datasource(&app, &name).await?.is_none() {
        return Ok(absent());
    }
    let is_within = move |inner: &v1::Interval| within.is_none_or(|outer| interval::contains(&outer, inner));
    if form.full.is_some() {
        return full_intervals(app, name, is_within).await;
    }
    if form.simple.is_none() && within.is_some() {
        return list_segments(app, name, form, is_within).await;
    }
    let simple = form.simple.is_some();
    json_stream(|mut out| async move {
        out.open(if simple { "{" } else { "[" }).await?;
        let mut intervals = each_interval(&app, &name);
        while let Some(sums) = intervals.next().await? {
            let interval = sums.interval.unwrap_or_default();
            if !is_within(&interval) {
                continue;
            }
            let text = interval::text(&interval);
            if simple {
                let value = json!({ "size": sums.bytes, "count": sums.segments });
                out.member(&text, &value).await?;
            } else {
                out.element(&json!(text)).await?;
            }
        }
        out.close(if simple { "}" } else { "]" }).await?;
        out.end().await
    })
    .await
}

/// `{interval: {id: {metadata, servers}}}`; segments come in the order of their intervals.
async fn full_intervals(
    app: App,
    name: String,
    is_within: impl Fn(&v1::Interval) -> bool + Send + Sync + 'static,
) -> Result<Response, ApiError> {
    json_stream(|mut out| async move {
        out.open("{").await?;
        let mut segments = each_segment(&app, &name, Usage::Used);
        let mut current = None;
        while let Some(segment) = segments.next().await? {
            let interval = segment.interval.unwrap_or_default();
            if !is_within(&interval) {
                continue;
            }
            if current != Some(interval) {
                if current.is_some() {
                    out.close("}").await?;
                }
                out.separate().await?;
                out.open(&format!("{}:{{", json!(interval::text(&interval))))
                    .await?;
                current = Some(interval);
            }
            out.member(&segment.id, &served(&segment)?).await?;
        }
        if current.is_some() {
            out.close("}").await?;
        }
        out.close("}").await?;
        out.end().await
    })
    .await
}

fn served(segment: &v1::SegmentInfo) -> Result<Value, ApiError> {
    Ok(json!({ "metadata": data_segment(segment)?, "servers": [SERVER] }))
}

pub async fn segments(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    if find_datasource(&app, &name).await?.is_none() {
        return Ok(absent());
    }
    list_segments(app, name, form, |_| true).await
}

pub async fn segment(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    match find_segment(&app, &name, &id).await? {
        Some((segment, true)) => Ok(json_response(StatusCode::OK, &served(&segment)?)),
        _ => Ok(absent()),
    }
}

pub async fn tiers(State(app): State<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let tiers = match find_datasource(&app, &name).await? {
        Some(_) => json!([TIER]),
        None => json!([]),
    };
    Ok(json_response(StatusCode::OK, &tiers))
}

pub async fn server_view(
    State(app): State<App>,
    Path((name, within)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let within = interval::parse(&within)?;
    let server = json!({
        "name": SERVER, "host": SERVER, "hostAndTlsPort": null, "maxSize": 0, "type": "historical", "tier": TIER,
        "priority": 0,
    });
    json_list(move |mut out| async move {
        let mut segments = each_segment(&app, &name, Usage::Used);
        while let Some(segment) = segments.next().await? {
            let own = segment.interval;
            if own.is_some_and(|own| interval::overlaps(&own, &within)) {
                let value = json!({ "segment": data_segment(&segment)?, "servers": [server] });
                out.element(&value).await?;
            }
        }
        Ok(out)
    })
    .await
}

/// What is published can be queried: nothing is ever handed off.
pub async fn handoff() -> Response {
    json_response(StatusCode::OK, &json!(true))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadStatus {
    force_metadata_refresh: Option<String>,
    interval: Option<String>,
    simple: Option<String>,
    full: Option<String>,
}

/// How far back the load status looks where no interval is given.
const TWO_WEEKS_MS: i64 = 14 * 86_400_000;

pub async fn load_status(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(given): Query<LoadStatus>,
) -> Result<Response, ApiError> {
    if given.force_metadata_refresh.is_none() {
        let message = "Invalid request. forceMetadataRefresh must be specified";
        return Ok(raw_json(StatusCode::BAD_REQUEST, message.to_owned()));
    }
    let now = chrono::Utc::now().timestamp_millis();
    let within = match &given.interval {
        Some(text) => interval::parse(text)?,
        None => v1::Interval {
            start_ms: now - TWO_WEEKS_MS,
            end_ms: now,
        },
    };
    if find_datasource(&app, &name).await?.is_none() {
        return Ok(absent());
    }
    let rules = Rules::of(&app).await?;
    let (mut found, mut missing) = (0_u64, Map::new());
    let mut intervals = each_interval(&app, &name);
    while let Some(sums) = intervals.next().await? {
        let interval = sums.interval.unwrap_or_default();
        if interval::overlaps(&interval, &within) {
            found += sums.segments;
            rules.count_missing(&name, &sums, now, &mut missing);
        }
    }
    if found == 0 {
        let message = "No used segment found for the given datasource and interval";
        return Ok(raw_json(StatusCode::OK, message.to_owned()));
    }
    let status = match (given.simple, given.full) {
        (Some(_), _) => json!({ name: 0 }),
        (None, Some(_)) => Value::Object(missing),
        (None, None) => json!({ name: 100.0 }),
    };
    Ok(json_response(StatusCode::OK, &status))
}
