//! What the controller's kernel is told, and what it asks for.

use std::sync::Arc;

use crate::fault::FaultReport;
use crate::ids::{Incarnation, StageNumber, WorkOrderId, WorkerNumber};
use crate::query::InputSplit;
use crate::shuffle::{Boundaries, OutputSizes};
use crate::statistics::KeyStatistics;
use crate::work_order::WorkOrder;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum ControllerEvent {
    /// The query may begin.
    Started,
    /// A worker task answers.
    WorkerReady {
        worker: WorkerNumber,
        incarnation: Incarnation,
    },
    /// A worker task is gone with everything that it held.
    WorkerLost {
        worker: WorkerNumber,
        incarnation: Incarnation,
        reason: FaultReport,
    },
    /// A work order has begun all splits of an input that it was given, and could begin `wanted` more. `portion` counts
    /// its attempt's questions about that input, from 1.
    SplitsWanted {
        order: WorkOrderId,
        input: u32,
        portion: u32,
        wanted: u32,
    },
    /// A work order has read all its input; for a range shuffle with samples, for a bucket shuffle with row counts.
    Statistics {
        order: WorkOrderId,
        statistics: KeyStatistics,
    },
    /// A work order's output is complete. For the last stage of an ingestion: its segments are in deep storage.
    OutputReady {
        order: WorkOrderId,
        sizes: OutputSizes,
    },
    WorkOrderFailed {
        order: WorkOrderId,
        fault: FaultReport,
    },
    /// `consumer` could not fetch what `producer` made; `None` for the reader of the query's results.
    OutputUnavailable {
        consumer: Option<WorkOrderId>,
        producer: WorkOrderId,
    },
    /// All rows of the last stage have been read.
    ResultsRead,
    Published,
    PublishFailed {
        fault: FaultReport,
    },
    Cancel {
        fault: FaultReport,
    },
    /// Time has passed.
    Tick,
}

impl ControllerEvent {
    /// Whether it tells of a work order or its output.
    pub(super) fn is_of_order(&self) -> bool {
        matches!(
            self,
            ControllerEvent::SplitsWanted { .. }
                | ControllerEvent::Statistics { .. }
                | ControllerEvent::OutputReady { .. }
                | ControllerEvent::WorkOrderFailed { .. }
                | ControllerEvent::OutputUnavailable { .. }
        )
    }
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum ControllerAction {
    /// Find a process for this worker number.
    LaunchWorker {
        worker: WorkerNumber,
        incarnation: Incarnation,
    },
    /// The fragment and the producers' addresses are filled in by whoever sends it.
    SendWorkOrder {
        incarnation: Incarnation,
        order: Box<WorkOrder>,
    },
    /// More of an input, in answer to [`ControllerEvent::SplitsWanted`]; `unassigned` as in a work order.
    SendSplits {
        order: WorkOrderId,
        input: u32,
        portion: u32,
        splits: Vec<InputSplit>,
        unassigned: u32,
    },
    SendBoundaries {
        order: WorkOrderId,
        boundaries: Arc<Boundaries>,
    },
    /// The attempt is superseded.
    StopWorkOrder { order: WorkOrderId },
    /// Nobody will read this output again.
    CleanUpOutput { order: WorkOrderId },
    /// Read the rows of the last stage: each partition in turn, of each partition the pieces of all orders.
    ReadResults {
        orders: Vec<WorkOrderId>,
        partitions: u32,
        sorted: bool,
    },
    /// Publish the segments of these orders, or put their files in place.
    Publish { orders: Vec<WorkOrderId> },
    /// Tell the user, the query goes on.
    Warn { stage: StageNumber, message: String },
    /// The worker task ends and drops everything.
    FinishWorker {
        worker: WorkerNumber,
        incarnation: Incarnation,
    },
    /// The end, told exactly once.
    QueryFinished { result: Result<(), FaultReport> },
}
