//! A statement on its way to the Overlord: planned for its errors, then a task spec.

use std::time::{SystemTime, UNIX_EPOCH};

use sarsen_planner::{
    PlanError, PlanPhase, PlanRequest, Planned, StatementKind, TableSchema, plan, referenced_tables,
};
use sarsen_proto::v1;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::error::ApiError;
use crate::render::payload;
use crate::request::SqlRequest;
use crate::scheduling;
use crate::service::App;

/// The endpoint that a statement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/druid/v2/sql/task`
    Task,
    /// `/druid/v2/sql`
    Sql,
}

/// A statement that can run.
#[derive(Debug)]
pub struct Submission {
    pub query_id: String,
    pub planned: Planned,
    pub spec: v1::TaskSpec,
}

/// Plans a request over the tables as they are now.
///
/// # Errors
/// A 400 in Druid's words when it cannot be planned, a 503 when the Overlord is away.
pub async fn prepare(app: &App, request: SqlRequest, endpoint: Endpoint) -> Result<Submission, ApiError> {
    let query_id = request
        .query_id()
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let span =
        tracing::info_span!(target: "sarsen_trace", "statement", query = query_id, endpoint = ?endpoint);
    sarsen_observe::continue_trace(&span, &request.trace_parent);
    let trace_parent = sarsen_observe::trace_parent(&span);
    let submission = planned(app, request, endpoint, query_id).instrument(span).await;
    submission.map(|mut submission| {
        submission.spec.trace_parent = trace_parent;
        submission
    })
}

async fn planned(
    app: &App,
    request: SqlRequest,
    endpoint: Endpoint,
    query_id: String,
) -> Result<Submission, ApiError> {
    let refused = |error: PlanError| ApiError::Plan {
        task: (endpoint == Endpoint::Task && error.phase == PlanPhase::Validating).then(|| query_id.clone()),
        error: Box::new(error),
    };
    let datasources = referenced_tables(&request.query).map_err(refused)?;
    let catalog = catalog(app, &datasources).await?;
    let statement_time_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let plan_request = PlanRequest {
        query_id: query_id.clone(),
        sql: request.query.clone(),
        context: request.context.clone(),
        parameters: request.parameters.clone(),
        statement_time_ms,
        tables: catalog.tables.iter().map(table).collect(),
        extern_allow: app.extern_allow.clone(),
    };
    let planned = plan(&plan_request).await.map_err(refused)?;
    if endpoint == Endpoint::Sql
        && let Some(operation) = written_by(planned.kind)
    {
        return Err(refused(PlanError::invalid(format!(
            "{operation} operations are not supported by requested SQL engine [native], consider using MSQ."
        ))));
    }
    let spec = v1::TaskSpec {
        query_id: query_id.clone(),
        payload_json: payload::payload(&request, &query_id, statement_time_ms, &planned).to_string(),
        sql: request.query,
        context_json: Value::Object(planned.context.clone()).to_string(),
        parameters_json: parameters_json(&request.parameters),
        identity: "allowAll".to_owned(),
        statement_time_ms,
        kind: kind(planned.kind).into(),
        datasource: payload::task_datasource(&planned).to_owned(),
        replace_intervals: intervals(&planned),
        catalog: Some(catalog),
        priority: scheduling::priority(&planned.context, endpoint).map_err(refused)?,
        lock_type: scheduling::lock_type(&planned.context, planned.kind)
            .map_err(refused)?
            .into(),
        queue_timeout_ms: scheduling::queue_timeout_ms(&planned.context, endpoint).map_err(refused)?,
        synchronous: endpoint == Endpoint::Sql,
        trace_parent: String::new(),
    };
    Ok(Submission {
        query_id,
        planned,
        spec,
    })
}

/// Tables as they are; only those that the statement names.
async fn catalog(app: &App, datasources: &[String]) -> Result<v1::Catalog, ApiError> {
    let mut overlord = app.overlord()?;
    // Unknown names are answered with the nearest known one, for which all names are needed.
    let known = overlord
        .get_catalog(v1::CatalogRequest {
            datasources: Vec::new(),
        })
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?
        .into_inner();
    if datasources
        .iter()
        .all(|name| known.tables.iter().any(|table| table.datasource == *name))
    {
        let tables = known
            .tables
            .into_iter()
            .filter(|table| datasources.contains(&table.datasource))
            .collect();
        return Ok(v1::Catalog {
            version: known.version,
            tables,
        });
    }
    Ok(known)
}

fn table(table: &v1::Table) -> TableSchema {
    TableSchema {
        name: table.datasource.clone(),
        columns: table
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.native_type.clone()))
            .collect(),
        rows: table.rows,
        bytes: table.bytes,
    }
}

fn written_by(kind: StatementKind) -> Option<&'static str> {
    match kind {
        StatementKind::Insert | StatementKind::Export => Some("INSERT"),
        StatementKind::Replace => Some("REPLACE"),
        StatementKind::Select | StatementKind::Explain => None,
    }
}

fn kind(kind: StatementKind) -> v1::StatementKind {
    match kind {
        StatementKind::Insert => v1::StatementKind::Insert,
        StatementKind::Replace => v1::StatementKind::Replace,
        // An export takes no locks.
        StatementKind::Select | StatementKind::Export | StatementKind::Explain => v1::StatementKind::Select,
    }
}

fn intervals(planned: &Planned) -> Vec<v1::Interval> {
    let intervals = planned.replace_intervals.iter().flatten();
    intervals
        .map(|(start_ms, end_ms)| v1::Interval {
            start_ms: *start_ms,
            end_ms: *end_ms,
        })
        .collect()
}

fn parameters_json(parameters: &[sarsen_planner::Parameter]) -> String {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|parameter| json!({ "type": parameter.sql_type, "value": parameter.value }))
        .collect();
    Value::Array(parameters).to_string()
}
