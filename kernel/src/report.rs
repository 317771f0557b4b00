//! What the controller knows of a query, live and at its end, in neutral terms; the gateway makes Druid's report of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::counters::CounterSnapshot;
use crate::fault::{Fault, FaultReport};
use crate::ids::{Incarnation, Millis, QueryId, StageNumber, WorkerNumber};
use crate::query::{ColumnDescriptor, InputDescriptor, QueryKind, StageDefinition};
use crate::shuffle::Boundaries;
use crate::work_order::OutputMode;

/// State of a whole query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryReport {
    pub query_id: QueryId,
    pub status: ReportStatus,
    /// `None` before the query has started.
    pub start_ms: Option<Millis>,
    /// `None` before the query has started; until now while it runs.
    pub duration_ms: Option<Millis>,
    pub error: Option<FaultReport>,
    pub warnings: Vec<FaultReport>,
    pub kind: Option<QueryKind>,
    pub stages: Vec<StageReport>,
    /// Latest counters by stage and worker.
    pub counters: BTreeMap<StageNumber, BTreeMap<WorkerNumber, CounterSnapshot>>,
    /// Every incarnation of each worker number.
    pub workers: BTreeMap<WorkerNumber, Vec<WorkerReport>>,
    pub pending_tasks: u32,
    pub running_tasks: u32,
    /// Columns of the result of a SELECT, or of the segments of an ingestion.
    pub result_signature: Vec<ColumnDescriptor>,
    /// Segments published by an ingestion; `None` before the publish.
    pub published_segments: Option<u64>,
    /// `numbered`, `range` or `tombstone`, with words for why; `None` before it is known that there will be segments.
    pub shard_spec: Option<ShardSpecReport>,
    /// How the wait until the published segments can be read went; `None` where nobody asked to wait.
    #[serde(default)]
    pub segment_load: Option<SegmentLoadReport>,
    /// Pages of durable results, in the order of the rows.
    #[serde(default)]
    pub pages: Vec<ResultPage>,
    /// EXTERNs whose columns were found by sampling.
    #[serde(default)]
    pub inferred_signatures: Vec<InputDescriptor>,
}

impl QueryReport {
    /// Of a query of which no more is known than how it stands.
    pub fn new(query_id: QueryId, status: ReportStatus) -> Self {
        QueryReport {
            query_id,
            status,
            start_ms: None,
            duration_ms: None,
            error: None,
            warnings: Vec::new(),
            kind: None,
            stages: Vec::new(),
            counters: BTreeMap::new(),
            workers: BTreeMap::new(),
            pending_tasks: 0,
            running_tasks: 0,
            result_signature: Vec::new(),
            published_segments: None,
            shard_spec: None,
            segment_load: None,
            pages: Vec::new(),
            inferred_signatures: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportStatus {
    Running,
    Success,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSpecReport {
    pub kind: String,
    pub details: String,
}

/// A wait for segments that are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentLoadReport {
    pub start_ms: Millis,
    pub duration_ms: Millis,
    pub segments: u64,
}

/// A part of the rows of a SELECT, as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultPage {
    /// Below deep storage.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
}

/// State of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    pub definition: StageDefinition,
    /// Name of the kernel's phase; `None` before the stage has started.
    pub phase: Option<StagePhaseName>,
    pub worker_count: Option<u32>,
    pub partition_count: Option<u32>,
    pub start_ms: Option<Millis>,
    /// Until now while it runs.
    pub duration_ms: Option<Millis>,
    /// True for a stage of an alternative that was not taken: it will never run.
    pub skipped: bool,
    pub boundaries: Option<Boundaries>,
    /// Where the output is kept.
    #[serde(default = "local_output")]
    pub output: OutputMode,
}

fn local_output() -> OutputMode {
    OutputMode::Memory
}

/// The kernel's stage phases by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagePhaseName {
    New,
    ReadingInput,
    MergingStatistics,
    PostReading,
    ResultsReady,
    Finished,
    Failed,
    Retrying,
}

/// One life of a worker number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    pub incarnation: Incarnation,
    pub task_id: String,
    /// `host:port` of its process.
    pub location: String,
    pub state: WorkerReportState,
    /// Waited for its process.
    pub pending_ms: Millis,
    /// `None` while it runs.
    pub duration_ms: Option<Millis>,
    pub fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerReportState {
    Pending,
    Running,
    Success,
    Failed,
}
