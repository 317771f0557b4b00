//! What Druid's Brokers and Routers answer beside queries (Druid: api-reference/legacy-metadata-api.md#broker).

use std::collections::BTreeSet;

use axum::Extension;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use sarsen_proto::v1;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::coordinator::{Usage, each_segment};
use crate::auth::Identity;
use crate::error::{ApiError, empty_json, json_response};
use crate::interval;
use crate::render::status::place;
use crate::service::App;

pub fn router() -> Router<App> {
    Router::new()
        .route("/druid/v2/datasources", get(datasources))
        .route("/druid/v2/datasources/{datasource}", get(datasource))
        .route("/druid/v2/datasources/{datasource}/dimensions", get(dimensions))
        .route("/druid/v2/datasources/{datasource}/metrics", get(metrics))
        .route("/druid/broker/v1/loadstatus", get(load_status))
        .route("/druid/broker/v1/readiness", get(readiness))
        .route("/druid/router/v1/brokers", get(brokers))
        .route("/proxy/enabled", get(proxy_enabled))
}

/// Engines that a synchronous statement may ask for.
pub async fn engines() -> Response {
    json_response(StatusCode::OK, &json!({ "engines": [{ "name": "native" }] }))
}

/// The gateway answers what a Router passes on to Coordinator and Overlord.
async fn proxy_enabled() -> Response {
    json_response(StatusCode::OK, &json!({ "enabled": true }))
}

async fn load_status() -> Response {
    json_response(StatusCode::OK, &json!({ "inventoryInitialized": true }))
}

async fn readiness() -> Response {
    empty_json(StatusCode::OK)
}

async fn brokers(State(app): State<App>) -> Result<Response, ApiError> {
    let nodes = app.nodes().await?;
    let gateways = nodes.iter().filter(|node| node.role() == v1::Role::Gateway);
    let hosts: Vec<Value> = gateways.map(|node| json!(place(&node.address))).collect();
    Ok(json_response(StatusCode::OK, &json!({ "druid/broker": hosts })))
}

/// Names of the datasources that may be read.
pub async fn datasources(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
) -> Result<Response, ApiError> {
    let catalog = app.catalog().await?;
    let names: Vec<Value> = identity
        .readable(catalog.tables)
        .map(|table| json!(table.datasource))
        .collect();
    Ok(json_response(StatusCode::OK, &Value::Array(names)))
}

#[derive(Debug, Deserialize)]
struct Within {
    interval: Option<String>,
    full: Option<String>,
}

/// How far back it is looked where no interval is given (Druid: `druid.query.segmentMetadata.defaultHistory`).
const WEEK_MS: i64 = 7 * 86_400_000;

impl Within {
    fn interval(&self) -> Result<v1::Interval, ApiError> {
        match self.interval.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => interval::parse(text),
            None => {
                let now = chrono::Utc::now().timestamp_millis();
                Ok(v1::Interval {
                    start_ms: now - WEEK_MS,
                    end_ms: now,
                })
            }
        }
    }
}

/// Columns of the segments over some time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Columns {
    dimensions: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

impl Columns {
    fn add(&mut self, segment: &v1::SegmentInfo) {
        let payload: Value = serde_json::from_str(&segment.payload_json).unwrap_or_default();
        for (name, into) in [
            ("dimensions", &mut self.dimensions),
            ("metrics", &mut self.metrics),
        ] {
            let names = payload.get(name).and_then(Value::as_str).unwrap_or_default();
            into.extend(
                names
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned),
            );
        }
    }

    fn json(&self) -> Value {
        json!({ "dimensions": self.dimensions, "metrics": self.metrics })
    }
}

/// Columns by interval, in order; neighbours with the same columns are one.
async fn columns(
    app: &App,
    name: &str,
    within: v1::Interval,
) -> Result<Vec<(v1::Interval, Columns)>, ApiError> {
    let mut found: Vec<(v1::Interval, Columns)> = Vec::new();
    let mut segments = each_segment(app, name, Usage::Used);
    while let Some(segment) = segments.next().await? {
        let own = segment.interval.unwrap_or_default();
        if !interval::overlaps(&own, &within) {
            continue;
        }
        if found.last().is_none_or(|(known, _)| *known != own) {
            merge_last(&mut found);
            found.push((own, Columns::default()));
        }
        if let Some((_, columns)) = found.last_mut() {
            columns.add(&segment);
        }
    }
    merge_last(&mut found);
    Ok(found)
}

/// Makes the last two one where they touch and have the same columns.
fn merge_last(found: &mut Vec<(v1::Interval, Columns)>) {
    if let [.., (before, columns), (last, others)] = found.as_mut_slice()
        && before.end_ms == last.start_ms
        && columns == others
    {
        before.end_ms = last.end_ms;
        found.pop();
    }
}

async fn datasource(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(given): Query<Within>,
) -> Result<Response, ApiError> {
    let found = columns(&app, &name, given.interval()?).await?;
    let body = if given.full.is_some() {
        let of = found
            .iter()
            .map(|(own, columns)| (interval::text(own), columns.json()));
        Value::Object(of.collect::<Map<String, Value>>())
    } else {
        union(&found).json()
    };
    Ok(json_response(StatusCode::OK, &body))
}

fn union(found: &[(v1::Interval, Columns)]) -> Columns {
    let mut all = Columns::default();
    for (_, columns) in found {
        all.dimensions.extend(columns.dimensions.iter().cloned());
        all.metrics.extend(columns.metrics.iter().cloned());
    }
    all
}

async fn dimensions(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(given): Query<Within>,
) -> Result<Response, ApiError> {
    let found = columns(&app, &name, given.interval()?).await?;
    Ok(json_response(StatusCode::OK, &json!(union(&found).dimensions)))
}

async fn metrics(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(given): Query<Within>,
) -> Result<Response, ApiError> {
    let found = columns(&app, &name, given.interval()?).await?;
    Ok(json_response(StatusCode::OK, &json!(union(&found).metrics)))
}
