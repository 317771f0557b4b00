//! Identities: every thing that a message can name has a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id!(
    /// Position of a stage in its query; stages are numbered in topological order from 0.
    StageNumber(u32)
);
number_id!(
    /// Position of a worker task in its query, from 0; it outlives the processes that play it.
    WorkerNumber(u32)
);
number_id!(
    /// One life of a worker number: 0 for the first process that plays it, then one more per relaunch.
    Incarnation(u32)
);
number_id!(
    /// One run of one work order: 0 for the first, then one more per re-run of that (stage, worker).
    Attempt(u32)
);
number_id!(
    /// An output partition of a stage, from 0.
    PartitionNumber(u32)
);
number_id!(
    /// Which controller process may act for a query: grows each time the Overlord hands the query on.
    Epoch(u64)
);

/// The query's id as users see it without the `query-` prefix of its task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryId(pub String);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl QueryId {
    /// Id of the controller task: `query-<id>`.
    pub fn controller_task_id(&self) -> String {
        format!("query-{}", self.0)
    }

    /// Id of a worker task: `query-<id>-worker<N>_<incarnation>`.
    pub fn worker_task_id(&self, worker: WorkerNumber, incarnation: Incarnation) -> String {
        format!("query-{}-worker{worker}_{incarnation}", self.0)
    }
}

/// Names one run of one work order; every event of a worker carries it, and a late event of an older attempt is
/// recognised by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkOrderId {
    pub stage: StageNumber,
    pub worker: WorkerNumber,
    pub attempt: Attempt,
}

impl fmt::Display for WorkOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stage {} worker {} attempt {}",
            self.stage, self.worker, self.attempt
        )
    }
}

/// Milliseconds on the caller's clock (Unix epoch in production, virtual in simulations).
pub type Millis = i64;
