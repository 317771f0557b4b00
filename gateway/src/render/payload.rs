//! The payload of a controller task: what `GET …/task/{id}` shows.

use sarsen_kernel::query::{ColumnDescriptor, InputDescriptor, QueryKind, StageInput};
use sarsen_planner::Planned;
use serde_json::{Map, Value, json};

use super::stages::{ETERNITY, data_source, granularity, interval};
use super::{export, iso, redact};
use crate::request::SqlRequest;

/// Rows that a worker of Druid's holds before it persists; here nothing but a number that clients look for.
const MAX_ROWS_IN_MEMORY: u64 = 100_000;

/// Druid's task context.
pub fn task_context() -> Value {
    json!({ "lookupLoadingMode": "NONE", "useLineageBasedSegmentAllocation": true, "forceTimeChunkLock": true })
}

/// The payload at submission.
pub fn payload(
    user: &str,
    request: &SqlRequest,
    query_id: &str,
    statement_time_ms: i64,
    planned: &Planned,
) -> Value {
    let task_id = format!("query-{query_id}");
    let columns = &planned.outputs;
    let context = sql_context(planned, &request.context, query_id);
    let rows_per_segment = match &planned.definition.kind {
        QueryKind::Ingest(target) => target.rows_per_segment,
        QueryKind::Select | QueryKind::Export(_) | QueryKind::DurableSelect(_) => 3_000_000,
    };
    let assignment = context
        .get("taskAssignment")
        .and_then(Value::as_str)
        .unwrap_or("max")
        .to_owned();
    let datasource = task_datasource(planned);
    let mut payload = Map::new();
    let mut put = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    put("type", json!("query_controller"));
    put("id", json!(task_id));
    put(
        "spec",
        json!({
            "query": query(planned, &native_context(user, &context, statement_time_ms)),
            "columnMappings": column_mappings(planned),
            "destination": destination(planned),
            "assignmentStrategy": assignment,
            "tuningConfig": tuning_config(planned, &context, rows_per_segment),
        }),
    );
    put("sqlQuery", json!(redact::statement(&request.query)));
    put("sqlQueryContext", Value::Object(context));
    put(
        "sqlResultsContext",
        json!({ "timeZone": "UTC", "stringifyArrays": true }),
    );
    put(
        "sqlTypeNames",
        columns.iter().map(|column| json!(column.sql_type)).collect(),
    );
    put(
        "nativeTypeNames",
        columns.iter().map(|column| json!(column.native_type)).collect(),
    );
    put("context", task_context());
    put("groupId", json!(task_id));
    put("dataSource", json!(datasource));
    put(
        "resource",
        json!({ "availabilityGroup": task_id, "requiredCapacity": 1 }),
    );
    Value::Object(payload)
}

/// What a task's status names as its datasource.
pub fn task_datasource(planned: &Planned) -> &str {
    match (&planned.datasource, &planned.definition.kind) {
        (Some(datasource), _) => datasource,
        (None, QueryKind::Export(_)) => "__query_export",
        (None, _) => "__query_select",
    }
}

/// The request's context with what Druid adds to it.
pub fn sql_context(planned: &Planned, given: &Map<String, Value>, query_id: &str) -> Map<String, Value> {
    let mut context = given.clone();
    for (key, value) in &planned.context {
        context.insert(key.clone(), value.clone());
    }
    context.insert("sqlQueryId".to_owned(), json!(query_id));
    context.insert("queryId".to_owned(), json!(query_id));
    if let QueryKind::Ingest(target) = &planned.definition.kind {
        context.insert(
            "sqlInsertSegmentGranularity".to_owned(),
            json!(granularity(&target.segment_granularity).to_string()),
        );
        if let Some(intervals) = &target.replace_intervals {
            context.insert("sqlReplaceTimeChunks".to_owned(), json!(replaced(intervals)));
        }
    }
    context
}

/// Name and native type of the native query's columns.
pub fn signature(planned: &Planned) -> Value {
    let columns = planned.outputs.iter();
    match &planned.native {
        Some(native) => columns
            .zip(&native.mappings)
            .map(|(column, (name, _))| json!({ "name": name, "type": column.native_type }))
            .collect(),
        None => super::stages::signature(&planned.outputs),
    }
}

/// What REPLACE overwrites, in the words of Druid's context.
pub fn replaced(intervals: &[(i64, i64)]) -> String {
    if intervals == [sarsen_planner::intervals::ETERNITY] {
        return "all".to_owned();
    }
    intervals
        .iter()
        .map(|(start, end)| interval(*start, *end))
        .collect::<Vec<_>>()
        .join(",")
}

/// The context of Druid's native query: the user's, with the defaults that Druid adds.
fn native_context(user: &str, context: &Map<String, Value>, statement_time_ms: i64) -> Map<String, Value> {
    let lenient = context.get("mode").and_then(Value::as_str) == Some("nonStrict");
    let mut native = Map::from_iter([
        ("__user".to_owned(), json!(user)),
        ("finalize".to_owned(), json!(true)),
        (
            "maxParseExceptions".to_owned(),
            json!(if lenient { -1 } else { 0 }),
        ),
        ("startTime".to_owned(), json!(iso(statement_time_ms))),
        ("windowFunctionOperatorTransformation".to_owned(), json!(true)),
    ]);
    // As Java reads a flag: any text but "true" is false.
    let finalize = match context.get("finalizeAggregations") {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(flag)) => *flag,
        _ => true,
    };
    native.insert("finalize".to_owned(), json!(finalize));
    native.extend(context.clone());
    native
}

fn tuning_config(planned: &Planned, context: &Map<String, Value>, rows_per_segment: u64) -> Value {
    let rows_in_memory = context.get("rowsInMemory").and_then(Value::as_u64);
    let mut config = Map::from_iter([
        ("maxNumWorkers".to_owned(), json!(planned.max_workers)),
        (
            "maxRowsInMemory".to_owned(),
            json!(rows_in_memory.unwrap_or(MAX_ROWS_IN_MEMORY)),
        ),
        ("rowsPerSegment".to_owned(), json!(rows_per_segment)),
    ]);
    if let Some(segments) = context.get("maxNumSegments").filter(|value| value.is_number()) {
        config.insert("maxNumSegments".to_owned(), segments.clone());
    }
    if let Some(index_spec @ Value::Object(_)) = context.get("indexSpec") {
        let mut index_spec = index_spec.clone();
        if let Value::Object(fields) = &mut index_spec {
            fields.entry("stringDictionaryEncoding").or_insert(Value::Null);
        }
        config.insert("indexSpec".to_owned(), index_spec);
    }
    Value::Object(config)
}

/// Which column of the native query is which of the statement.
pub fn column_mappings(planned: &Planned) -> Value {
    let mapping = |query: &str, output: &str| json!({ "queryColumn": query, "outputColumn": output });
    match &planned.native {
        Some(native) => native
            .mappings
            .iter()
            .map(|(query, output)| mapping(query, output))
            .collect(),
        None => planned
            .outputs
            .iter()
            .map(|column| mapping(&column.name, &column.name))
            .collect(),
    }
}

/// The statement as Druid's native query; where it has none, a scan that shows source and columns.
pub fn query(planned: &Planned, context: &Map<String, Value>) -> Value {
    if let Some(native) = &planned.native {
        return super::native::query(native, context);
    }
    let columns = &planned.outputs;
    let first: Option<&InputDescriptor> = planned
        .definition
        .stages
        .iter()
        .flat_map(|stage| &stage.inputs)
        .find_map(|input| match input {
            StageInput::Splits { descriptor, .. } => Some(descriptor),
            StageInput::Stage { .. } => None,
        });
    let source = first.map_or_else(|| json!({ "type": "inline" }), data_source);
    json!({
        "queryType": "scan",
        "dataSource": source,
        "intervals": { "type": "intervals", "intervals": [ETERNITY] },
        "resultFormat": "compactedList",
        "columns": names(columns),
        "context": context,
        "columnTypes": columns.iter().map(|column| column.native_type.as_str()).collect::<Vec<_>>(),
        "granularity": { "type": "all" },
        "legacy": false,
    })
}

fn names(columns: &[ColumnDescriptor]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

fn destination(planned: &Planned) -> Value {
    let target = match &planned.definition.kind {
        QueryKind::Ingest(target) => target,
        QueryKind::Export(target) => return export::destination(target),
        QueryKind::Select => return json!({ "type": "taskReport" }),
        QueryKind::DurableSelect(_) => return json!({ "type": "durableStorage" }),
    };
    let mut destination = Map::new();
    destination.insert("type".to_owned(), json!("dataSource"));
    destination.insert("dataSource".to_owned(), json!(target.datasource));
    destination.insert(
        "segmentGranularity".to_owned(),
        granularity(&target.segment_granularity),
    );
    if let Some(Value::String(columns)) = planned.context.get("segmentSortOrder") {
        let columns: Vec<&str> = columns.split(',').map(str::trim).collect();
        destination.insert("segmentSortOrder".to_owned(), json!(columns));
    }
    if let Some(intervals) = &target.replace_intervals {
        let chunks: Vec<String> = intervals
            .iter()
            .map(|(start, end)| interval(*start, *end))
            .collect();
        destination.insert("replaceTimeChunks".to_owned(), json!(chunks));
    }
    destination.insert(
        "terminalStageSpec".to_owned(),
        json!({ "type": "segmentGeneration" }),
    );
    Value::Object(destination)
}
