//! Everything that can go wrong with a query, as users see it: one closed enum, one variant per Druid error code.
//!
//! Source: Druid, multi-stage-query/reference.md#error-codes.

use serde::{Deserialize, Serialize};

use crate::ids::StageNumber;

/// A value of a fault's field in the error's JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultValue {
    Text(String),
    Number(i64),
    List(Vec<String>),
    Null,
}

impl From<&String> for FaultValue {
    fn from(value: &String) -> Self {
        FaultValue::Text(value.clone())
    }
}

impl From<&u64> for FaultValue {
    fn from(value: &u64) -> Self {
        FaultValue::Number(i64::try_from(*value).unwrap_or(i64::MAX))
    }
}

impl From<&Vec<String>> for FaultValue {
    fn from(value: &Vec<String>) -> Self {
        FaultValue::List(value.clone())
    }
}

impl From<&Option<String>> for FaultValue {
    fn from(value: &Option<String>) -> Self {
        value.as_ref().map_or(FaultValue::Null, FaultValue::from)
    }
}

/// A variant's `errorCode`: its own name, unless it has another.
macro_rules! code_name {
    ($code:ident) => {
        stringify!($code)
    };
    ($code:ident $name:literal) => {
        $name
    };
}

/// Declares the variants: fields with their JSON names, and the message.
macro_rules! faults {
    ($($(#[$doc:meta])* $code:ident $(as $name:literal)? { $($field:ident: $type:ty => $json:literal),* $(,)? } $message:literal;)*) => {
        /// What went wrong.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Fault {
            $($(#[$doc])* $code { $($field: $type),* },)*
        }

        impl Fault {
            /// Druid's `errorCode`.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Fault::$code { .. } => code_name!($code $($name)?),)*
                }
            }

            /// Fields of the error's JSON beside code and message, in order.
            pub fn fields(&self) -> Vec<(&'static str, FaultValue)> {
                match self {
                    $(Fault::$code { $($field),* } => vec![$(($json, FaultValue::from($field))),*],)*
                }
            }

            /// Words for the user.
            pub fn message(&self) -> String {
                match self {
                    $(#[allow(unused_variables)] Fault::$code { $($field),* } => {
                        $(let $field = Shown($field);)*
                        format!($message)
                    })*
                }
            }
        }
    };
}

struct Shown<'a, T>(&'a T);

impl std::fmt::Display for Shown<'_, String> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// `{field:#}` groups the digits, as some of Druid's messages do: `1,000,000`.
impl std::fmt::Display for Shown<'_, u64> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.to_string();
        if !f.alternate() {
            return f.write_str(&digits);
        }
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Shown<'_, Vec<String>> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0.join(", "))
    }
}

impl std::fmt::Display for Shown<'_, Option<String>> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("null"))
    }
}

faults! {
    BroadcastTablesTooLarge { max_broadcast_tables_size: u64 => "maxBroadcastTablesSize" }
        "Size of broadcast tables in JOIN exceeds reserved memory limit (memory reserved for broadcast tables = {max_broadcast_tables_size} bytes). Increase available memory, or set sqlJoinAlgorithm: sortMerge in query context to use a shuffle-based join.";
    Canceled {} "Query canceled by user or by task shutdown.";
    CannotParseExternalData { error_message: String => "errorMessage" } "{error_message}";
    ColumnNameRestricted { column_name: String => "columnName" }
        "[{column_name}] column name is reserved for internal purposes. Please try a different name.";
    ColumnTypeNotSupported { column_name: String => "columnName", column_type: Option<String> => "columnType" }
        "Cannot handle column [{column_name}] with type [{column_type}]";
    DruidException { druid_error_code: String => "druidErrorCode", persona: String => "persona", category: String => "category", message: String => "errorMessage" }
        "{message}";
    DurableStorageConfiguration { message: String => "message" }
        "Durable storage mode is not configured right: {message}";
    InsertCannotAllocateSegment { data_source: String => "dataSource", interval: String => "interval", allocated_interval: Option<String> => "allocatedInterval" }
        "Requested segment for dataSource [{data_source}], interval [{interval}], but got [{allocated_interval}] interval instead. This happens when an overlapping segment is already present with a coarser granularity for the requested interval. Either set the partition granularity for the INSERT to [{allocated_interval}] to append to existing data or use REPLACE to overwrite the pre-existing segment";
    InsertCannotBeEmpty { data_source: String => "dataSource" }
        "No rows to insert for dataSource[{data_source}]. Set failOnEmptyInsert : false in the query context to allow empty inserts.";
    InsertLockPreempted {} "Insert lock preempted by a higher-priority ingestion job";
    InsertTimeNull {} "Null timestamp (__time) encountered during INSERT or REPLACE.";
    InsertTimeOutOfBounds { interval: String => "interval", interval_bounds: Vec<String> => "intervalBounds" }
        "Inserted data contains time chunk[{interval}] outside of bounds specified by OVERWRITE WHERE[{interval_bounds}]. If you want to include this data, expand your OVERWRITE WHERE. If you do not want to include this data, use SELECT ... WHERE to filter it from your inserted data.";
    InvalidField { source: Option<String> => "source", column: Option<String> => "column", row_number: u64 => "rowNumber", error_msg: String => "errorMsg", log_msg: String => "logMsg" }
        "{log_msg}";
    InvalidNullByte { source: Option<String> => "source", row_number: u64 => "rowNumber", column: String => "column", value: String => "value", position: u64 => "position" }
        "Invalid null byte at source[{source}], rowNumber[{row_number}], column[{column}], value[{value}], position[{position}]. Consider sanitizing the input string column using \"REPLACE(\"{column}\", U&'\\0000', '') AS {column}\" or setting 'removeNullBytes' to true in the query context.";
    NotEnoughMemory { server_memory: u64 => "serverMemory", message: String => "message" }
        "Not enough memory. {message} (memory of a worker task: {server_memory} bytes; --memory-limit sets that of a process)";
    /// Of the query's own limit; Druid has none.
    NotEnoughQueryMemory { max_query_memory_bytes: u64 => "maxQueryMemoryBytes", message: String => "message" }
        "Not enough memory for a query limited to {max_query_memory_bytes:#} bytes. {message}. Increase the context parameter[maxQueryMemoryBytes].";
    NotEnoughTemporaryStorage { configured_temporary_storage: u64 => "configuredTemporaryStorage" }
        "Not enough temporary storage: a worker task may spill {configured_temporary_storage} bytes to --spill-dir.";
    QueryNotSupported { message: String => "message" } "Query not supported: {message}";
    /// Longer than the context parameter `timeout` allows; Druid says that the query was canceled, and why.
    QueryTimeout as "Canceled" { timeout_ms: u64 => "timeoutMs", reason: String => "reason" } "Query timed out";
    RowTooLarge { max_frame_size: u64 => "maxFrameSize" }
        "Encountered row that cannot fit in a single frame (max frame size = {max_frame_size:#}). Reduce your row size or increase the context parameter[maxFrameSize].";
    TaskStartTimeout { pending_tasks: u64 => "pendingTasks", total_tasks: u64 => "totalTasks", timeout: u64 => "timeout" }
        "Unable to launch [{pending_tasks}] workers out of total [{total_tasks}] worker tasks within [{timeout}] milliseconds of the last successful worker launch. There may be insufficient available slots to start all worker tasks simultaneously. Try lowering 'maxNumTasks' in your query context to lower your query's parallelism, or try increasing available tasks slots.";
    TooManyAttemptsForJob { max_relaunch_count: u64 => "maxRelaunchCount", current_relaunch_count: u64 => "currentRelaunchCount", task_id: String => "taskId", root_error_message: String => "rootErrorMessage" }
        "Total relaunch count across all workers {current_relaunch_count} exceeded max relaunch limit of {max_relaunch_count} . Latest task[{task_id}] failure reason: {root_error_message}";
    TooManyAttemptsForWorker { max_per_worker_relaunch_count: u64 => "maxPerWorkerRelaunchCount", task_id: String => "taskId", worker_number: u64 => "workerNumber", root_error_message: String => "rootErrorMessage" }
        "Worker[{worker_number}] exceeded max relaunch count of {max_per_worker_relaunch_count} for task[{task_id}]. Latest failure reason: {root_error_message}.";
    TooManyBuckets { max_buckets: u64 => "maxBuckets" }
        "Too many partition buckets (max = {max_buckets:#}); try breaking your query up into smaller queries or using a wider PARTITIONED BY";
    TooManyClusteredByColumns { num_columns: u64 => "numColumns", max_columns: u64 => "maxColumns", stage: u64 => "stage" }
        "Too many cluster by columns present in stage [{stage}] (requested = {num_columns}, max = {max_columns})";
    TooManyColumns { num_columns: u64 => "numColumns", max_columns: u64 => "maxColumns" }
        "Too many output columns (requested = {num_columns}, max = {max_columns})";
    TooManyInputFiles { num_input_files: u64 => "numInputFiles", max_input_files: u64 => "maxInputFiles", min_num_workers: u64 => "minNumWorkers" }
        "Too many input files/segments [{num_input_files}] encountered. Maximum input files/segments per worker is set to [{max_input_files}]. Try increasing the limit using the maxInputFilesPerWorker query context parameter, breaking your query up into smaller queries, or increasing the number of workers to at least [{min_num_workers}] by setting maxNumTasks in your query context.";
    /// Druid has no such limit.
    TooManyOutputRows { num_rows: u64 => "numRows", max_output_rows: u64 => "maxOutputRows" }
        "Too many output rows (produced = {num_rows:#}, max = {max_output_rows:#}). Add a LIMIT or a filter, or increase the context parameter[maxOutputRows].";
    TooManyPartitions { max_partitions: u64 => "maxPartitions" }
        "Too many partitions (max = {max_partitions}). Try increasing the limit using the maxPartitions query context parameter, breaking your query up into smaller queries, or using a larger target size.";
    TooManyRowsInAWindow { num_rows: u64 => "numRows", max_rows: u64 => "maxRows" }
        "Too many rows in a window (requested = {num_rows}, max = {max_rows}).  Try creating a window with a higher cardinality column or change the query shape. Or you can change the max using query context param maxRowsMaterializedInWindow . Use it carefully as a higher value can lead to OutOfMemory errors. ";
    TooManyRowsWithSameKey { key: String => "key", num_bytes: u64 => "numBytes", max_bytes: u64 => "maxBytes" }
        "Too many rows with the same key during sort-merge join (bytes buffered = {num_bytes}, limit = {max_bytes}). Key: {key}";
    /// Druid has no such limit.
    TooManyScannedBytes { scanned_bytes: u64 => "scannedBytes", max_scanned_bytes: u64 => "maxScannedBytes" }
        "Too many bytes to scan (requested = {scanned_bytes:#}, max = {max_scanned_bytes:#}). Read fewer files or segments, for example with a filter on __time, or increase the context parameter[maxScannedBytes].";
    TooManySegmentsInTimeChunk { time_chunk: String => "timeChunk", num_segments: u64 => "numSegments", max_num_segments: u64 => "maxNumSegments", segment_granularity: String => "segmentGranularity" }
        "Too many segments requested to be generated in time chunk[{time_chunk}] with granularity[{segment_granularity}] (requested = [{num_segments}], maximum = [{max_num_segments}]). Please try breaking up your query or change the maximum using the query context parameter[maxNumSegments].";
    TooManyWarnings { max_warnings: u64 => "maxWarnings", root_error_code: String => "rootErrorCode" }
        "Too many warnings of type {root_error_code} generated (max = {max_warnings})";
    TooManyWorkers { workers: u64 => "workers", max_workers: u64 => "maxWorkers" }
        "Too many workers (current = {workers}; max = {max_workers})";
    UnknownError { message: String => "message" } "{message}";
    WorkerFailed { worker_task_id: String => "workerTaskId", error_msg: Option<String> => "errorMsg" }
        "Worker task failed: [{worker_task_id}]: {error_msg}";
    WorkerRpcFailed { worker_task_id: String => "workerTaskId", error_msg: Option<String> => "errorMsg" }
        "RPC call to task failed unrecoverably: [{worker_task_id}]: {error_msg}";
}

impl Fault {
    /// A field that could not be computed; `row` counts from 1.
    pub fn invalid_field(source: Option<String>, column: &str, row: u64, reason: &str) -> Self {
        let named = source.as_deref().unwrap_or("null");
        Fault::InvalidField {
            log_msg: format!(
                "Error[{reason}] while writing a field for source[{named}], rowNumber[{row}], column[{column}]."
            ),
            source,
            column: Some(column.to_owned()),
            row_number: row,
            error_msg: reason.to_owned(),
        }
    }

    /// Whether running the work again elsewhere may help.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Fault::WorkerFailed { .. } | Fault::WorkerRpcFailed { .. })
    }
}

/// A fault with where it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReport {
    pub fault: Fault,
    /// Task that reported it, when known.
    pub task_id: Option<String>,
    /// `host:port` of that task, when known.
    pub host: Option<String>,
    pub stage: Option<StageNumber>,
    /// Causes, outermost first.
    pub chain: Vec<String>,
}

impl From<Fault> for FaultReport {
    fn from(fault: Fault) -> Self {
        let chain = vec![format!("{}: {}", fault.code(), fault.message())];
        FaultReport {
            fault,
            task_id: None,
            host: None,
            stage: None,
            chain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_tells_its_code_fields_and_message() {
        let fault = Fault::TooManyBuckets { max_buckets: 5000 };
        assert_eq!(fault.code(), "TooManyBuckets");
        assert_eq!(fault.fields(), [("maxBuckets", FaultValue::Number(5000))]);
        assert!(
            fault
                .message()
                .starts_with("Too many partition buckets (max = 5,000)")
        );
    }
}
