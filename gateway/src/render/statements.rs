//! Statements of `/druid/v2/sql/statements` in Druid's words (Druid: api-reference/sql-api.md#query-from-deep-storage).

use sarsen_kernel::fault::FaultReport;
use sarsen_kernel::query::{ColumnDescriptor, QueryKind};
use sarsen_kernel::report::QueryReport;
use sarsen_proto::v1;
use serde_json::{Map, Value, json};

use super::{errors, iso};
use crate::request::{ResultFormat, result_format};

/// Where the format that a statement asked for stands in its context.
pub const RESULT_FORMAT: &str = "__resultFormat";

/// How a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Accepted,
    Running,
    Success,
    Failed,
}

impl State {
    pub fn of(task: &v1::Task) -> State {
        match task.state() {
            v1::TaskState::Success => State::Success,
            v1::TaskState::Failed => State::Failed,
            _ if task.location.is_empty() => State::Accepted,
            _ => State::Running,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Accepted => "ACCEPTED",
            State::Running => "RUNNING",
            State::Success => "SUCCESS",
            State::Failed => "FAILED",
        }
    }
}

/// What a statement's payload says of it.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// Columns of the result; `None` of a statement that stores its rows.
    pub schema: Option<Vec<ColumnDescriptor>>,
    pub format: ResultFormat,
}

impl Submitted {
    /// Reads a task's payload.
    pub fn of(task: &v1::Task) -> Submitted {
        let payload = task.spec.as_ref().map(|spec| spec.payload_json.as_str());
        let payload: Value = payload
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let stores = payload.pointer("/spec/destination/type") == Some(&json!("dataSource"));
        let format = payload
            .pointer(&format!("/sqlQueryContext/{RESULT_FORMAT}"))
            .and_then(Value::as_str)
            .and_then(result_format);
        Submitted {
            schema: (!stores).then(|| columns(&payload)),
            format: format.unwrap_or_default(),
        }
    }
}

fn columns(payload: &Value) -> Vec<ColumnDescriptor> {
    let list = |pointer: &str| {
        payload
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let names = list("/spec/columnMappings").map(|mapping| mapping.get("outputColumn"));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    names
        .zip(list("/sqlTypeNames"))
        .zip(list("/nativeTypeNames"))
        .map(|((name, sql), native)| ColumnDescriptor {
            name: text(name),
            native_type: text(Some(native)),
            sql_type: text(Some(sql)),
        })
        .collect()
}

/// The parts of a report that a status shows.
#[derive(Debug, Default)]
pub struct Reported {
    pub query: Option<QueryReport>,
    /// As `…/reports` shows it.
    pub body: Value,
}

/// Druid's `SqlStatementResult`. `detail` adds stages, counters and warnings.
pub fn status(task: &v1::Task, reported: &Reported, detail: Detail) -> Value {
    let state = State::of(task);
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("queryId", json!(task.task_id));
    put("state", json!(state.name()));
    put("createdAt", json!(iso(task.created_ms)));
    if state != State::Failed
        && let Some(schema) = Submitted::of(task).schema
    {
        let column = |column: &ColumnDescriptor| json!({ "name": column.name, "type": column.sql_type, "nativeType": column.native_type });
        put("schema", schema.iter().map(column).collect());
    }
    put("durationMs", json!(task.duration_ms));
    match state {
        State::Success => put("result", result(task, reported)),
        State::Failed => {
            let error = reported.query.as_ref().and_then(|query| query.error.clone());
            let error = error.unwrap_or_else(|| super::report::fault_of_task(task));
            put("errorDetails", error_details(&error))
        }
        State::Accepted | State::Running => None,
    };
    if detail == Detail::Full && !reported.body.is_null() {
        let payload = |name: &str| reported.body.pointer(&format!("/multiStageQuery/payload/{name}"));
        put("stages", payload("stages").cloned().unwrap_or_else(|| json!([])));
        put(
            "counters",
            payload("counters").cloned().unwrap_or_else(|| json!({})),
        );
        put(
            "warnings",
            payload("status/warnings").cloned().unwrap_or_else(|| json!([])),
        );
    }
    Value::Object(body)
}

/// How much of a statement is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Short,
    Full,
}

/// Druid's `ResultSetInformation`.
fn result(task: &v1::Task, reported: &Reported) -> Value {
    let mut body = Map::new();
    let pages = reported.query.as_ref().and_then(pages);
    if let Some(pages) = &pages {
        let total = |number: fn(&Page) -> Option<u64>| pages.iter().filter_map(number).sum::<u64>();
        body.insert("numTotalRows".to_owned(), json!(total(|page| Some(page.rows))));
        body.insert("totalSizeInBytes".to_owned(), json!(total(|page| page.bytes)));
    }
    body.insert("dataSource".to_owned(), json!(task.datasource));
    let kind = reported.query.as_ref().and_then(|query| query.kind.as_ref());
    if let Some(QueryKind::Select | QueryKind::DurableSelect(_)) = kind {
        let rows = reported.body.pointer("/multiStageQuery/payload/results/results");
        body.insert(
            "sampleRecords".to_owned(),
            rows.cloned().unwrap_or_else(|| json!([])),
        );
        let pages = pages.unwrap_or_default();
        let pages = pages.iter().enumerate().map(|(id, page)| {
            json!({ "id": id, "numRows": page.rows, "sizeInBytes": page.bytes.unwrap_or_default() })
        });
        body.insert("pages".to_owned(), pages.collect());
    }
    Value::Object(body)
}

#[derive(Debug)]
struct Page {
    rows: u64,
    bytes: Option<u64>,
}

/// The pages of a statement; `None` where nobody counts rows.
fn pages(query: &QueryReport) -> Option<Vec<Page>> {
    let last = query.stages.iter().map(|stage| stage.definition.number).max()?;
    let counters = query
        .counters
        .get(&last)
        .into_iter()
        .flat_map(|workers| workers.values());
    match query.kind.as_ref()? {
        QueryKind::DurableSelect(_) => Some(
            query
                .pages
                .iter()
                .map(|page| Page {
                    rows: page.rows,
                    bytes: Some(page.bytes),
                })
                .collect(),
        ),
        QueryKind::Select => {
            let (mut rows, mut bytes) = (0, 0);
            for output in counters.filter_map(|counters| counters.channels.get("output")) {
                rows += output.rows.iter().sum::<u64>();
                bytes += output.bytes.iter().sum::<u64>();
            }
            Some(vec![Page {
                rows,
                bytes: Some(bytes),
            }])
        }
        QueryKind::Ingest(_) => {
            let progress = counters.filter_map(|counters| counters.segment_generation);
            Some(vec![Page {
                rows: progress.map(|progress| progress.rows_pushed).sum(),
                bytes: None,
            }])
        }
        QueryKind::Export(_) => None,
    }
}

/// Why a statement failed, with the fault's fields as texts.
fn error_details(error: &FaultReport) -> Value {
    let Value::Object(fields) = errors::fault(&error.fault) else {
        return Value::Null;
    };
    let message = fields
        .get("errorMessage")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut body = errors::druid_exception(error.fault.code(), "USER", "UNCATEGORIZED", message);
    let as_text = |value: &Value| match value {
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    };
    let context: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "errorCode" | "errorMessage" | "timeoutMs"))
        .map(|(name, value)| (name.clone(), as_text(value)))
        .collect();
    if let Some(body) = body.as_object_mut() {
        body.insert("context".to_owned(), Value::Object(context));
    }
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use sarsen_kernel::fault::Fault;

    use super::*;

    #[test]
    fn a_failed_statement_tells_the_faults_fields_as_texts() {
        let details = error_details(&Fault::TooManyBuckets { max_buckets: 5000 }.into());
        assert_eq!(details["errorCode"], "TooManyBuckets");
        assert_eq!(details["category"], "UNCATEGORIZED");
        assert_eq!(details["context"], json!({ "maxBuckets": "5000" }));
    }
}
