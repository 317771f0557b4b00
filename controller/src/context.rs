//! The query context as a controller reads it.

use sarsen_kernel::controller::Limits;
use sarsen_kernel::fault::Fault;
use sarsen_kernel::query::{ColumnDescriptor, QueryKind};
use sarsen_kernel::work_order::OutputMode;
use sarsen_planner::{Lookups, Parameter, PlanError, PlanRequest, Planned, TableSchema};
use sarsen_proto::v1;
use serde_json::{Map, Value};

/// What planning needs, out of a task's spec.
///
/// # Errors
/// A fault when the spec holds JSON that is none.
pub fn plan_request(spec: &v1::TaskSpec, extern_allow: &[String]) -> Result<PlanRequest, Fault> {
    let parameters: Vec<Value> = if spec.parameters_json.is_empty() {
        Vec::new()
    } else {
        serde_json::from_str(&spec.parameters_json).map_err(|error| unreadable("parameters", &error))?
    };
    Ok(PlanRequest {
        query_id: spec.query_id.clone(),
        sql: spec.sql.clone(),
        context: context(spec)?,
        parameters: parameters.iter().map(parameter).collect(),
        statement_time_ms: spec.statement_time_ms,
        tables: spec
            .catalog
            .iter()
            .flat_map(|catalog| &catalog.tables)
            .map(table)
            .collect(),
        lookups: lookups(spec)?,
        extern_allow: extern_allow.to_vec(),
        inferred: Vec::new(),
        synchronous: spec.synchronous,
    })
}

/// The lookups that the statement names, as they were when it was submitted.
fn lookups(spec: &v1::TaskSpec) -> Result<Lookups, Fault> {
    if spec.lookups_json.is_empty() {
        return Ok(Lookups::new());
    }
    serde_json::from_str(&spec.lookups_json).map_err(|error| unreadable("lookups", &error))
}

/// The task's context.
///
/// # Errors
/// When it is not a JSON object.
pub fn context(spec: &v1::TaskSpec) -> Result<Map<String, Value>, Fault> {
    if spec.context_json.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&spec.context_json).map_err(|error| unreadable("context", &error))
}

fn unreadable(what: &str, error: &serde_json::Error) -> Fault {
    Fault::UnknownError {
        message: format!("the {what} of the task cannot be read: {error}"),
    }
}

fn parameter(json: &Value) -> Parameter {
    let sql_type = json
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("VARCHAR")
        .to_owned();
    Parameter {
        sql_type,
        value: json.get("value").cloned().unwrap_or(Value::Null),
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

/// Limits of the query, from its context.
///
/// # Errors
/// For a number of partitions or of bad rows that cannot be meant, as Druid finds when a task begins.
pub fn limits(context: &Map<String, Value>) -> Result<Limits, Fault> {
    if let Some(partitions) = integer(context, "maxPartitions").filter(|partitions| *partitions < 1) {
        return Err(invalid(format!(
            "maxPartitions must be a positive integer, got[{partitions}]"
        )));
    }
    if let Some(rows) = integer(context, "maxParseExceptions").filter(|rows| *rows < -1) {
        return Err(Fault::UnknownError {
            message: format!(
                "Invalid limit of {rows} supplied for warnings of type CannotParseExternalData. Limit can be greater than \
                 or equal to -1."
            ),
        });
    }
    let defaults = Limits::default();
    let number = |key: &str| integer(context, key).and_then(|value| u64::try_from(value).ok());
    Ok(Limits {
        max_partitions: number("maxPartitions").unwrap_or(defaults.max_partitions),
        max_input_files_per_worker: number("maxInputFilesPerWorker")
            .unwrap_or(defaults.max_input_files_per_worker),
        max_clustered_by_columns: number("maxClusteredByColumns")
            .unwrap_or(defaults.max_clustered_by_columns),
        timeout_ms: integer(context, "timeout").filter(|timeout| *timeout > 0),
        output: if is_durable(context) {
            OutputMode::Durable
        } else {
            OutputMode::Memory
        },
        ..defaults
    })
}

/// Time that the query may take, if it is limited.
pub fn timeout_ms(spec: &v1::TaskSpec) -> Option<i64> {
    let context = context(spec).ok()?;
    integer(&context, "timeout").filter(|timeout| *timeout > 0)
}

/// Refuses to store arrays of numbers as multi-value strings, and arrays of objects at all.
///
/// # Errors
/// As Druid does when a task begins.
pub fn check_arrays(context: &Map<String, Value>, planned: &Planned) -> Result<(), Fault> {
    let mode = context
        .get("arrayIngestMode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let stores = matches!(planned.definition.kind, QueryKind::Ingest(_));
    let of_objects = |column: &&ColumnDescriptor| column.native_type.starts_with("ARRAY<COMPLEX");
    if stores && let Some(column) = planned.outputs.iter().find(of_objects) {
        return Err(Fault::UnknownError {
            message: format!(
                "Cannot create dimension for type[{}] of column[{}]",
                column.native_type, column.name
            ),
        });
    }
    let of_numbers = |column: &ColumnDescriptor| {
        matches!(
            column.native_type.as_str(),
            "ARRAY<LONG>" | "ARRAY<DOUBLE>" | "ARRAY<FLOAT>"
        )
    };
    if !stores || !mode.eq_ignore_ascii_case("mvd") || !planned.outputs.iter().any(of_numbers) {
        return Ok(());
    }
    Err(invalid(format!(
        "Numeric arrays can only be ingested when 'arrayIngestMode' is set to 'array'. Current value of the parameter \
         is[{}]",
        mode.to_lowercase()
    )))
}

fn invalid(message: String) -> Fault {
    Fault::DruidException {
        druid_error_code: "invalidInput".to_owned(),
        persona: "USER".to_owned(),
        category: "INVALID_INPUT".to_owned(),
        message,
    }
}

/// Segments of one time chunk at the most.
pub fn max_segments_per_chunk(context: &Map<String, Value>) -> Option<u64> {
    integer(context, "maxNumSegments").and_then(|value| u64::try_from(value).ok())
}

/// Whether stages' outputs outlive their workers: `durableShuffleStorage`, or `faultTolerance` where that is not given.
fn is_durable(context: &Map<String, Value>) -> bool {
    let key = "durableShuffleStorage";
    match context.get(key) {
        None | Some(Value::Null) => flag(context, "faultTolerance"),
        Some(_) => flag(context, key),
    }
}

/// A flag of the context.
pub fn flag(context: &Map<String, Value>, key: &str) -> bool {
    match context.get(key) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

/// A whole number of the context.
pub fn integer(context: &Map<String, Value>, key: &str) -> Option<i64> {
    match context.get(key)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The fault for a statement that can't be planned.
pub fn fault_of(error: &PlanError) -> Fault {
    Fault::DruidException {
        druid_error_code: error.error_code.to_owned(),
        persona: error.persona.to_owned(),
        category: error.category.to_owned(),
        message: error.message.clone(),
    }
}
