//! What a worker is asked to do: one stage's fragment over slices of its inputs.

use serde::{Deserialize, Serialize};

use crate::ids::{
    Attempt, Epoch, Incarnation, PartitionNumber, QueryId, StageNumber, WorkOrderId, WorkerNumber,
};
use crate::query::{InputSplit, StageDefinition};
use crate::shuffle::{Boundaries, ShuffleSpec};

/// One work order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkOrder {
    pub query_id: QueryId,
    pub id: WorkOrderId,
    pub epoch: Epoch,
    /// In the order of the fragment's inputs.
    pub inputs: Vec<InputSlice>,
    /// Serialised fragment, carried beside this message on the wire.
    #[serde(skip)]
    pub fragment: Vec<u8>,
    /// With `PartitionCount` already decided.
    pub shuffle: Option<ShuffleSpec>,
    /// Known at once when the stage's boundaries were decided before this attempt.
    pub boundaries: Option<Boundaries>,
    pub output: OutputMode,
}

/// What one worker reads of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputSlice {
    Splits {
        splits: Vec<InputSplit>,
        /// Splits of this input that nobody has yet, of which the worker may ask for more; 0 when it was given all that
        /// it will read.
        unassigned: u32,
    },
    Partitions {
        stage: StageNumber,
        /// The producing stage's shuffle, which tells whether partitions arrive sorted.
        sorted: bool,
        partitions: Vec<PartitionNumber>,
        /// Every work order of the producing stage; each holds a piece of each partition.
        producers: Vec<Producer>,
        /// Whether all of it is one input partition of the fragment (a broadcast) or each partition is its own.
        merged: bool,
    },
}

/// Where a piece of a stage's output lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    pub worker: WorkerNumber,
    pub incarnation: Incarnation,
    pub attempt: Attempt,
    /// Address of the process that serves it, filled in by the controller.
    pub address: String,
}

/// Where a work order's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputMode {
    /// In memory while there is room, then on local disk.
    Memory,
    /// On local disk.
    Disk,
    /// On an object store: outlives the worker.
    Durable,
}

impl WorkOrder {
    /// Whether the stage of this order is `stage`.
    pub fn is_of(&self, stage: &StageDefinition) -> bool {
        self.id.stage == stage.number
    }
}
