//! What a query is to the kernel: stages, their inputs, their shuffles, and choices between alternatives.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{QueryId, StageNumber};
use crate::shuffle::ShuffleSpec;

/// A whole query as the planner made it. Stage `i` of `stages` has number `i` and reads only lower numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryDefinition {
    pub query_id: QueryId,
    pub stages: Vec<StageDefinition>,
    pub choices: Vec<ChoiceDefinition>,
    pub kind: QueryKind,
    /// Output columns of the query in order, with Druid's type names; for an ingestion what its segments store.
    pub result_signature: Vec<ColumnDescriptor>,
}

impl QueryDefinition {
    /// The stage that nobody reads: the query ends when it does. By construction the last one.
    pub fn final_stage(&self) -> Option<&StageDefinition> {
        self.stages.last()
    }

    /// The stage of that number.
    pub fn stage(&self, number: StageNumber) -> Option<&StageDefinition> {
        self.stages.get(usize::try_from(number.0).ok()?)
    }
}

/// What becomes of the query's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryKind {
    /// Rows go back to the client through the report or a result reader.
    Select,
    /// Rows become segments that are published in one transaction.
    Ingest(IngestTarget),
    /// Rows become files elsewhere, which are put in place together.
    Export(ExportTarget),
    /// Rows go back to the client page by page: files in deep storage, below [`ExportTarget::results`]'s folder.
    DurableSelect(ExportTarget),
}

/// The storage of an [`ExportTarget`] that no statement can name: deep storage, for results.
pub const RESULTS_STORAGE: &str = "deepStorage";

/// Folder of deep storage that holds a folder for each query with durable results.
pub const RESULTS_FOLDER: &str = "query-results";

/// A query's id as a name that every store takes as it is.
fn safe_name(query_id: &str) -> String {
    let mut name = String::with_capacity(query_id.len());
    for byte in query_id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("={other:02X}")),
        }
    }
    name
}

/// Folder of a query's durable results below [`RESULTS_FOLDER`].
pub fn results_folder(query_id: &str) -> String {
    format!("query-{}", safe_name(query_id))
}

/// The query whose results a folder holds; `None` for a folder of something else.
pub fn query_of_results(folder: &str) -> Option<String> {
    let mut name = folder.strip_prefix("query-")?.bytes();
    let mut query_id = Vec::with_capacity(name.len());
    while let Some(byte) = name.next() {
        query_id.push(match byte {
            b'=' => {
                let digits = [name.next()?, name.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(query_id).ok()
}

/// Where an export writes to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportTarget {
    /// `local`, `s3`, `google`, `azure`, or [`RESULTS_STORAGE`].
    pub storage: String,
    /// The destination's arguments by name: `exportPath`; `bucket`, `prefix`, `assumeRoleArn`, `assumeRoleExternalId`.
    pub arguments: BTreeMap<String, String>,
    pub format: ExportFormat,
    pub compression: ExportCompression,
    /// Rows of a file at about the most.
    pub rows_per_file: u64,
    /// Bytes of a file at about the most.
    pub bytes_per_file: Option<u64>,
    /// Columns that stand in the names of folders, `column=value/`, and not in the files.
    pub partition_columns: Vec<String>,
}

impl ExportTarget {
    /// Pages of about so many rows in deep storage.
    pub fn results(query_id: &str, rows_per_page: u64) -> Self {
        let folder = format!("{RESULTS_FOLDER}/{}", results_folder(query_id));
        ExportTarget {
            storage: RESULTS_STORAGE.to_owned(),
            arguments: BTreeMap::from([("folder".to_owned(), folder)]),
            format: ExportFormat::Parquet,
            compression: ExportCompression::Zstd,
            rows_per_file: rows_per_page,
            bytes_per_file: None,
            partition_columns: Vec::new(),
        }
    }

    /// Whether the files are pages of results.
    pub fn is_results(&self) -> bool {
        self.storage == RESULTS_STORAGE
    }

    /// The query's id as it stands in the names of its files.
    pub fn file_id(&self, query_id: &str) -> String {
        if self.is_results() {
            safe_name(query_id)
        } else {
            query_id.to_owned()
        }
    }
}

/// What an export's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportFormat {
    Csv,
    /// An object a line.
    Json,
    Parquet,
}

impl ExportFormat {
    /// As files are named after it.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::Json => "json",
            ExportFormat::Parquet => "parquet",
        }
    }
}

/// How an export's files are compressed: the whole file of csv and JSON, the columns within a Parquet file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportCompression {
    None,
    Gzip,
    Zstd,
    /// Of Parquet only.
    Snappy,
}

/// Where an ingestion publishes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestTarget {
    pub datasource: String,
    /// `None` appends (INSERT); otherwise the intervals, `[start, end)` in ms, that REPLACE overwrites.
    pub replace_intervals: Option<Vec<(i64, i64)>>,
    pub segment_granularity: SegmentGranularity,
    pub rows_per_segment: u64,
    /// Leading cluster-by columns that make a `range` shard spec; empty for `numbered`.
    pub shard_columns: Vec<String>,
    /// Why these columns and no others, in Druid's words.
    pub shard_reason: String,
}

/// Length of a time chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentGranularity {
    /// One chunk for all time.
    All,
    /// Chunks of an ISO-8601 period (`P1D`, `PT6H`, …) in UTC.
    Period(String),
}

/// Druid's name of a period in UTC, where it has one.
pub fn period_name(period: &str) -> Option<&'static str> {
    Some(match period {
        "PT1S" => "SECOND",
        "PT1M" => "MINUTE",
        "PT5M" => "FIVE_MINUTE",
        "PT10M" => "TEN_MINUTE",
        "PT15M" => "FIFTEEN_MINUTE",
        "PT30M" => "THIRTY_MINUTE",
        "PT1H" => "HOUR",
        "PT6H" => "SIX_HOUR",
        "PT8H" => "EIGHT_HOUR",
        "P1D" => "DAY",
        "P1W" => "WEEK",
        "P1M" => "MONTH",
        "P3M" => "QUARTER",
        "P1Y" => "YEAR",
        _ => return None,
    })
}

/// One stage: the same fragment run by several workers over slices of its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageDefinition {
    pub number: StageNumber,
    /// In the order in which the fragment's leaves name them (`input 0`, `input 1`, …).
    pub inputs: Vec<StageInput>,
    /// Serialised fragment; opaque to the kernel.
    #[serde(skip)]
    pub fragment: Vec<u8>,
    pub processor: ProcessorDescriptor,
    /// Output columns.
    pub signature: Vec<ColumnDescriptor>,
    /// How the output is exchanged. `None` for the last stage of an ingestion, whose output is segments.
    pub shuffle: Option<ShuffleSpec>,
    /// Most workers that this stage can use.
    pub max_worker_count: u32,
    /// False when two runs over the same input may give different rows (LIMIT without ORDER BY, volatile
    /// functions): then a re-run also re-runs every consumer that has read the older output.
    pub deterministic: bool,
    /// The decision that brings this stage to life; `None` for a stage that always runs.
    pub alternative: Option<AlternativeRef>,
}

impl StageDefinition {
    /// Numbers of the stages that this one reads, in order, each once.
    pub fn input_stages(&self) -> BTreeSet<StageNumber> {
        self.inputs.iter().flat_map(StageInput::stages).collect()
    }
}

/// Which alternatives of which choice a stage belongs to: it lives when one of them is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternativeRef {
    /// Index in [`QueryDefinition::choices`].
    pub choice: u32,
    /// Indices in [`ChoiceDefinition::alternatives`].
    pub alternatives: Vec<u32>,
}

/// Alternative sub-graphs, one of which the kernel brings to life once the measured stage is done.
///
/// The first alternative whose `max_bytes` is at least the measured output bytes of `measured_stage` is taken; the
/// last one must have `max_bytes: None`. Stages of the others are skipped for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceDefinition {
    pub measured_stage: StageNumber,
    pub alternatives: Vec<Alternative>,
}

/// See [`ChoiceDefinition`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// Words for the report: `broadcast join`, `partitioned join`.
    pub name: String,
    pub max_bytes: Option<u64>,
}

/// One input of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StageInput {
    /// Units of outside data (EXTERN files or ranges of them, segments), each read by exactly one worker.
    Splits {
        /// What is read, for the report.
        descriptor: InputDescriptor,
        splits: Vec<InputSplit>,
    },
    /// Output of other stages. Several candidates are the alternatives of one choice: exactly one of them lives.
    Stage {
        candidates: Vec<StageNumber>,
        delivery: Delivery,
    },
}

impl StageInput {
    /// Stages that may feed this input.
    pub fn stages(&self) -> Vec<StageNumber> {
        match self {
            StageInput::Splits { .. } => Vec::new(),
            StageInput::Stage { candidates, .. } => candidates.clone(),
        }
    }
}

/// How an input's partitions are spread over the workers of the reading stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Each partition goes to one worker; inputs of one stage with this delivery are cut alike.
    Partitioned,
    /// Every worker reads all partitions.
    Broadcast,
}

/// A unit of outside data; opaque to the kernel but for its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSplit {
    /// What the reader needs, encoded by whoever listed it.
    pub payload: Vec<u8>,
    /// Estimated bytes to read; 0 when unknown.
    pub bytes: u64,
    /// Files that this split begins (1 for a whole file or its first range, else 0), for `totalFiles`.
    pub files: u32,
}

/// What an outside input is, in neutral terms, from which the gateway renders Druid's input spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InputDescriptor {
    /// EXTERN. The JSON texts are the user's own specs with secrets redacted.
    External {
        source_json: String,
        format_json: String,
        signature: Vec<ColumnDescriptor>,
    },
    /// A published datasource, read over `[start, end)` intervals in ms.
    Table {
        datasource: String,
        intervals: Vec<(i64, i64)>,
        filter: Option<String>,
    },
}

/// A column's name and its type in Druid's native words (`LONG`, `STRING`, `ARRAY<STRING>`, `COMPLEX<json>`), with
/// the SQL type name (`BIGINT`, `VARCHAR`, …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDescriptor {
    pub name: String,
    pub native_type: String,
    pub sql_type: String,
}

/// What a stage does, in neutral terms, from which the gateway renders Druid's `definition.processor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessorDescriptor {
    pub kind: ProcessorKind,
    /// Columns that the processor reads or writes, with types.
    pub columns: Vec<ColumnDescriptor>,
    /// Grouping, join or partition keys as SQL text.
    pub keys: Vec<String>,
    /// Aggregate or window expressions as SQL text.
    pub expressions: Vec<String>,
    /// Filter as SQL text.
    pub filter: Option<String>,
    pub limit: Option<u64>,
    /// The fragment as readable text, one operator a line.
    pub plan: String,
}

/// Kinds of work of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessorKind {
    Scan,
    GroupByPreShuffle,
    GroupByPostShuffle,
    BroadcastJoin,
    SortMergeJoin,
    Window,
    SegmentGenerator,
    ExportResults,
    OffsetLimit,
    QueryResults,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_query_has_a_folder_that_names_it() {
        for id in ["a-b_1", "with space/..%", "ä=3D", ""] {
            let folder = results_folder(id);
            assert!(
                folder
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
            );
            assert_eq!(query_of_results(&folder).as_deref(), Some(id));
        }
        assert_eq!(query_of_results("reports"), None);
        assert_eq!(query_of_results("query-=G"), None);
    }
}
