//! Context parameters that change a plan.

use serde_json::{Map, Value};

use crate::analyze::Meaning;
use crate::analyze::multivalue::Grouping;
use crate::error::PlanError;
use crate::native::{DistinctCount, Native};
use crate::rewrite::Aggregations;

/// The query context as planning reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Worker tasks that the query may use: `maxNumTasks` without the controller.
    pub max_workers: u32,
    /// Rows of a segment at about the most.
    pub rows_per_segment: u64,
    /// Exact number of hash and range partitions; for tests and tuning.
    pub shuffle_partitions: Option<u32>,
    /// Whether joins sort and merge whatever their sizes.
    pub sort_merge_join: bool,
    /// Bytes of a worker task, where they were set by hand.
    pub task_memory_bytes: Option<u64>,
    pub meaning: Meaning,
    pub arrays: ArrayIngestMode,
    pub native: Native,
    pub export: ExportSettings,
    pub select_destination: SelectDestination,
    /// What aggregations give: `finalizeAggregations`.
    pub aggregations: Aggregations,
}

/// Where the rows of a SELECT go (Druid: MSQSelectDestination).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectDestination {
    TaskReport,
    DurableStorage,
}

/// What VARCHAR ARRAYs are stored as: `arrayIngestMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayIngestMode {
    Arrays,
    MultiValueStrings,
}

/// How the files of an export are cut and compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSettings {
    pub rows_per_file: u64,
    pub bytes_per_file: Option<u64>,
    /// As it was written.
    pub compression: Option<String>,
}

/// Rows of a page or file (Druid: multi-stage-query/reference.md#context-parameters, `rowsPerPage`).
const DEFAULT_ROWS_PER_PAGE: u64 = 100_000;

/// One controller and one worker.
const DEFAULT_TASKS: i64 = 2;

const DEFAULT_ROWS_PER_SEGMENT: u64 = 3_000_000;

impl Settings {
    /// # Errors
    /// For a value of the wrong type, as Druid words it.
    pub fn parse(context: &Map<String, Value>) -> Result<Self, PlanError> {
        let sort_merge_join = match text(context, "sqlJoinAlgorithm")?.as_deref() {
            None | Some("broadcast") => false,
            Some("sortMerge") => true,
            Some(other) => {
                return Err(PlanError::bad_context(format!(
                    "Expected key [sqlJoinAlgorithm] to be one of [broadcast, sortMerge], but got [{other}]"
                )));
            }
        };
        let tasks = integer(context, "maxNumTasks")?.unwrap_or(DEFAULT_TASKS);
        if tasks < 2 {
            return Err(PlanError::invalid_without_source(format!(
                "MSQ context maxNumTasks [{tasks}] cannot be less than 2, since at least 1 controller and 1 worker is \
                 necessary"
            )));
        }
        let rows_per_segment = match integer(context, "rowsPerSegment")? {
            None => DEFAULT_ROWS_PER_SEGMENT,
            Some(rows) => u64::try_from(rows).ok().filter(|rows| *rows > 0).ok_or_else(|| {
                PlanError::invalid_without_source(format!(
                    "rowsPerSegment must be a positive integer, got [{rows}]"
                ))
            })?,
        };
        let arrays = array_mode(context)?;
        let memory = positive(context, "maxQueryMemoryBytes")?;
        positive(context, "maxScannedBytes")?;
        positive(context, "maxOutputRows")?;
        check_sort_order(context)?;
        check_index_spec(context)?;
        let shuffle_partitions = integer(context, "shufflePartitions")?
            .map(|partitions| u32::try_from(partitions).unwrap_or(1).max(1));
        let max_workers = u32::try_from(tasks - 1).unwrap_or(u32::MAX);
        Ok(Settings {
            max_workers,
            rows_per_segment,
            shuffle_partitions,
            sort_merge_join,
            task_memory_bytes: integer(context, "taskMemoryBytes")?
                .and_then(|bytes| u64::try_from(bytes).ok())
                .into_iter()
                .chain(memory.map(|bytes| bytes / u64::from(max_workers.max(1))))
                .min(),
            meaning: Meaning {
                grouping: match context.get("groupByEnableMultiValueUnnesting") {
                    Some(flag) if is_false(flag) => Grouping::Refuses,
                    _ => Grouping::Unnests,
                },
                zone: zone(context),
            },
            arrays,
            native: Native {
                distinct: match context.get("useApproximateCountDistinct") {
                    Some(flag) if is_false(flag) => DistinctCount::Exact,
                    _ => DistinctCount::Approximate,
                },
                sort_merge_join,
            },
            export: ExportSettings {
                rows_per_file: positive(context, "rowsPerPage")?.unwrap_or(DEFAULT_ROWS_PER_PAGE),
                bytes_per_file: positive(context, "bytesPerPage")?,
                compression: text(context, "exportCompression")?,
            },
            select_destination: select_destination(context)?,
            aggregations: aggregations(context),
        })
    }
}

/// As Java reads a flag: any text but "true" is false.
fn aggregations(context: &Map<String, Value>) -> Aggregations {
    let finalizes = match context.get("finalizeAggregations") {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Bool(flag)) => *flag,
        _ => true,
    };
    if finalizes {
        Aggregations::Results
    } else {
        Aggregations::States
    }
}

fn select_destination(context: &Map<String, Value>) -> Result<SelectDestination, PlanError> {
    let key = "selectDestination";
    let Some(name) = text(context, key)? else {
        return Ok(SelectDestination::TaskReport);
    };
    match name.to_lowercase().as_str() {
        "taskreport" => Ok(SelectDestination::TaskReport),
        "durablestorage" => Ok(SelectDestination::DurableStorage),
        _ => Err(PlanError::bad_context(format!(
            "Expected key [{key}] to be referring to one of the values [TASKREPORT,DURABLESTORAGE] of enum \
             [MSQSelectDestination], but got [{name}]"
        ))),
    }
}

/// Druid lets a task begin before it refuses the value.
fn array_mode(context: &Map<String, Value>) -> Result<ArrayIngestMode, PlanError> {
    let Some(mode) = text(context, "arrayIngestMode")? else {
        return Ok(ArrayIngestMode::Arrays);
    };
    match mode.to_lowercase().as_str() {
        "array" => Ok(ArrayIngestMode::Arrays),
        "mvd" => Ok(ArrayIngestMode::MultiValueStrings),
        _ => Err(PlanError::bad_context(format!(
            "Expected key [arrayIngestMode] to be referring to one of the values [MVD,ARRAY] of enum \
             [ArrayIngestMode], but got [{mode}]"
        ))),
    }
}

/// `sqlTimeZone`, where it is another than UTC.
fn zone(context: &Map<String, Value>) -> Option<String> {
    let zone = context.get("sqlTimeZone").and_then(Value::as_str);
    zone.filter(|zone| *zone != "UTC").map(str::to_owned)
}

/// A flag that is off, as a boolean or as a word.
fn is_false(flag: &Value) -> bool {
    match flag {
        Value::Bool(flag) => !flag,
        Value::String(text) => text.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

/// An object, as such or as JSON text.
fn check_index_spec(context: &Map<String, Value>) -> Result<(), PlanError> {
    let given = context.get("indexSpec");
    let is_object = match given {
        None | Some(Value::Null | Value::Object(_)) => true,
        Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(text).is_ok(),
        Some(_) => false,
    };
    if is_object {
        return Ok(());
    }
    Err(PlanError::bad_context(format!(
        "Expected key [indexSpec] to be an indexSpec, but got [{}]",
        shown(given)
    )))
}

fn check_sort_order(context: &Map<String, Value>) -> Result<(), PlanError> {
    let by_time = !matches!(context.get("forceSegmentSortByTime"), Some(Value::Bool(false)));
    let Some(columns) = text(context, "segmentSortOrder")? else {
        return Ok(());
    };
    let first = columns.split(',').next().unwrap_or_default().trim();
    if !by_time || columns.trim().is_empty() || first == "__time" {
        return Ok(());
    }
    Err(PlanError::invalid(
        "Context parameter[segmentSortOrder] must start with[__time] unless context parameter[forceSegmentSortByTime] \
         is set to[false]. Warning: support for segments not sorted by[__time] is experimental. Such segments are not \
         readable by older version of Druid, and certain queries cannot run on them. See \
         https://druid.apache.org/docs/latest/ingestion/partitioning#sorting for details before setting \
         forceSegmentSortByTime to[false].",
    ))
}

/// An integer of the context, as a number or as digits.
///
/// # Errors
/// For anything else.
pub fn integer(context: &Map<String, Value>, key: &str) -> Result<Option<i64>, PlanError> {
    let parsed = match context.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    match parsed {
        Some(number) => Ok(Some(number)),
        None => Err(PlanError::bad_context(format!(
            "Expected key [{key}] to be in integer format, but got [{}]",
            shown(context.get(key))
        ))),
    }
}

/// A limit of the context.
fn positive(context: &Map<String, Value>, key: &str) -> Result<Option<u64>, PlanError> {
    let Some(given) = integer(context, key)? else {
        return Ok(None);
    };
    match u64::try_from(given) {
        Ok(limit) if limit > 0 => Ok(Some(limit)),
        _ => Err(PlanError::invalid_without_source(format!(
            "{key} must be a positive integer, got [{given}]"
        ))),
    }
}

fn text(context: &Map<String, Value>, key: &str) -> Result<Option<String>, PlanError> {
    match context.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(PlanError::bad_context(format!(
            "Expected key [{key}] to be a String, but got [{other}]"
        ))),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
