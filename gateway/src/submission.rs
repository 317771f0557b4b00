//! A statement on its way to the Overlord: planned for its errors, then a task spec.

use std::time::{SystemTime, UNIX_EPOCH};

use sarsen_planner::{
    Action, Lookups, PlanError, PlanPhase, PlanRequest, Planned, References, ResourceKind, StatementKind,
    TableSchema, plan, references,
};
use sarsen_proto::v1;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::auth::{Access, Identity, Resource};
use crate::error::ApiError;
use crate::lookups;
use crate::options::HttpOptions;
use crate::render::payload;
use crate::request::SqlRequest;
use crate::scheduling;
use crate::service::App;

/// The endpoint that a statement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/druid/v2/sql/task`
    Task,
    /// `/druid/v2/sql/statements`
    Statement,
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

impl Submission {
    /// Gives it to the Overlord.
    ///
    /// # Errors
    /// When the Overlord refuses it or is away.
    pub async fn submit(self, app: &App, identity: &Identity) -> Result<v1::SubmitTaskReply, ApiError> {
        let request = v1::SubmitTaskRequest {
            spec: Some(self.spec),
            caller: Some(identity.caller()),
        };
        let reply = app.overlord()?.submit_task(request).await;
        Ok(reply
            .map_err(|status| ApiError::of_status(&status, &self.query_id))?
            .into_inner())
    }
}

/// Plans a request over the tables as they are now.
///
/// # Errors
/// A 400 in Druid's words when it cannot be planned, a 403 when it needs rights that its sender has not, a 503 when the
/// Overlord is away.
pub async fn prepare(
    app: &App,
    identity: &Identity,
    request: SqlRequest,
    endpoint: Endpoint,
) -> Result<Submission, ApiError> {
    prepare_named(app, identity, request, endpoint, None).await
}

/// As [`prepare`]; `named` is what the statement names, where that is known already.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_named(
    app: &App,
    identity: &Identity,
    request: SqlRequest,
    endpoint: Endpoint,
    named: Option<References>,
) -> Result<Submission, ApiError> {
    let query_id = request
        .query_id()
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    check_task_id(&format!("query-{query_id}"))?;
    let span =
        tracing::info_span!(target: "sarsen_trace", "statement", query = query_id, endpoint = ?endpoint);
    sarsen_observe::continue_trace(&span, &request.trace_parent);
    let trace_parent = sarsen_observe::trace_parent(&span);
    let submission = planned(app, identity, request, endpoint, named, query_id)
        .instrument(span)
        .await;
    submission.map(|mut submission| {
        submission.spec.trace_parent = trace_parent;
        submission
    })
}

async fn planned(
    app: &App,
    identity: &Identity,
    request: SqlRequest,
    endpoint: Endpoint,
    named: Option<References>,
    query_id: String,
) -> Result<Submission, ApiError> {
    let refused = |error: PlanError| ApiError::Plan {
        task: (endpoint == Endpoint::Task && error.phase == PlanPhase::Validating).then(|| query_id.clone()),
        error: Box::new(error),
    };
    let named = match named {
        Some(named) => named,
        None => references(&request.query).map_err(refused)?,
    };
    let catalog = catalog(app, identity, &named.datasources).await?;
    let plan_request = PlanRequest {
        lookups: lookups::named(app, &named.lookups).await?,
        synchronous: endpoint == Endpoint::Sql,
        ..plan_request(app, &request, &query_id, &catalog.tables)
    };
    let statement_time_ms = plan_request.statement_time_ms;
    let planned = plan(&plan_request).await.map_err(refused)?;
    authorise(&app.auth.options, identity, &planned)?;
    if endpoint == Endpoint::Sql
        && let Some(operation) = written_by(&planned)
    {
        return Err(refused(PlanError::invalid(format!(
            "{operation} operations are not supported by requested SQL engine [native], consider using MSQ."
        ))));
    }
    let spec = v1::TaskSpec {
        query_id: query_id.clone(),
        payload_json: payload::payload(&identity.name, &request, &query_id, statement_time_ms, &planned)
            .to_string(),
        sql: request.query,
        context_json: Value::Object(planned.context.clone()).to_string(),
        parameters_json: parameters_json(&request.parameters),
        identity: identity.name.clone(),
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
        worker_labels: scheduling::worker_labels(&planned.context).map_err(refused)?,
        lookups_json: lookups_json(&plan_request.lookups),
        synchronous: endpoint == Endpoint::Sql,
        trace_parent: String::new(),
    };
    Ok(Submission {
        query_id,
        planned,
        spec,
    })
}

/// What the planner is asked about a request at this moment, if it is answered with its rows.
pub fn plan_request(app: &App, request: &SqlRequest, query_id: &str, tables: &[v1::Table]) -> PlanRequest {
    let statement_time_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    PlanRequest {
        query_id: query_id.to_owned(),
        sql: request.query.clone(),
        context: request.context.clone(),
        parameters: request.parameters.clone(),
        statement_time_ms,
        tables: tables.iter().map(table).collect(),
        lookups: Lookups::new(),
        extern_allow: app.extern_allow.clone(),
        inferred: Vec::new(),
        synchronous: true,
    }
}

/// An id becomes the name of tasks, folders and files (Druid: IdUtils).
fn check_task_id(id: &str) -> Result<(), ApiError> {
    let illegal = |character: char| {
        matches!(character, '\u{1}'..='\u{1e}' | '\u{80}'..='\u{9e}' | '\u{fff1}'..) || character == '\0'
    };
    let reason = if id.contains('/') {
        "cannot contain '/'.".to_owned()
    } else if id
        .chars()
        .any(|character| character.is_whitespace() && character != ' ')
    {
        "contains illegal whitespace characters.  Only space is allowed.".to_owned()
    } else if let Some((position, character)) =
        id.chars().enumerate().find(|(_, character)| illegal(*character))
    {
        let code = u32::from(character);
        format!("contains illegal UTF8 character [#{code}] at position [{position}]")
    } else {
        return Ok(());
    };
    Err(ApiError::Invalid {
        message: format!("Invalid value for field [task ID]: Value [{id}] {reason}"),
    })
}

/// Tables as they are; only those that the statement names.
async fn catalog(app: &App, identity: &Identity, datasources: &[String]) -> Result<v1::Catalog, ApiError> {
    // Unknown names are answered with the nearest known one, for which all names are needed.
    let known = app.catalog().await?;
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
    // A name that one may not read is no hint.
    let visible = |table: &v1::Table| {
        datasources.contains(&table.datasource) || identity.can_read_datasource(&table.datasource)
    };
    Ok(v1::Catalog {
        version: known.version,
        tables: known.tables.into_iter().filter(visible).collect(),
    })
}

/// Asks for every right that a statement needs (Druid: operations/security-user-auth.md#sql-permissions).
fn authorise(options: &HttpOptions, identity: &Identity, planned: &Planned) -> Result<(), ApiError> {
    if identity.is_unlimited() {
        return Ok(());
    }
    for needed in &planned.resources {
        let resource = match &needed.kind {
            ResourceKind::Datasource => Resource::Datasource(needed.name.clone()),
            // The destination of an export is always named.
            ResourceKind::External
                if options.enable_input_source_security || needed.action == Action::Write =>
            {
                Resource::External(needed.name.clone())
            }
            ResourceKind::External => Resource::External("EXTERNAL".to_owned()),
        };
        let access = match needed.action {
            Action::Read => Access::Read,
            Action::Write => Access::Write,
        };
        identity.may(&resource, access)?;
    }
    if !options.authorize_query_context_params {
        return Ok(());
    }
    for key in planned.context.keys().filter(|key| is_secured(options, key)) {
        identity.may(&Resource::QueryContext(key.clone()), Access::Write)?;
    }
    Ok(())
}

/// Whether a context parameter needs a right (Druid: AuthConfig; what Druid itself sets never does).
fn is_secured(options: &HttpOptions, key: &str) -> bool {
    if matches!(
        key,
        "sqlQueryId" | "sqlStringifyArrays" | "dartQueryId" | "__resultFormat"
    ) {
        return false;
    }
    if options.secured_context_keys.is_empty() {
        !options.unsecured_context_keys.iter().any(|known| known == key)
    } else {
        options.secured_context_keys.iter().any(|known| known == key)
    }
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

/// The operation of a statement that writes, or would if it were not to be explained.
fn written_by(planned: &Planned) -> Option<&'static str> {
    match planned.kind {
        StatementKind::Insert | StatementKind::Export => Some("INSERT"),
        StatementKind::Replace => Some("REPLACE"),
        StatementKind::Select => None,
        StatementKind::Explain => {
            let explain = planned.explain.as_ref()?;
            (explain.statement_type != "SELECT").then_some(explain.statement_type)
        }
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

fn lookups_json(lookups: &Lookups) -> String {
    if lookups.is_empty() {
        return String::new();
    }
    json!(lookups).to_string()
}

fn parameters_json(parameters: &[sarsen_planner::Parameter]) -> String {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|parameter| json!({ "type": parameter.sql_type, "value": parameter.value }))
        .collect();
    Value::Array(parameters).to_string()
}
