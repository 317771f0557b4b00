//! Limits of a query (Druid: multi-stage-query/reference.md#limits).

use crate::ids::Millis;
use crate::work_order::OutputMode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub max_workers: u32,
    pub max_partitions: u64,
    pub max_columns: u64,
    pub max_clustered_by_columns: u64,
    pub max_input_files_per_worker: u64,
    /// Relaunches of one worker number.
    pub worker_relaunches: u32,
    /// Relaunches of all workers together.
    pub job_relaunches: u32,
    /// Runs of one work order at the most, for outputs that get lost without their worker.
    pub order_attempts: u32,
    /// Time for a worker task to answer after its launch.
    pub launch_timeout_ms: Millis,
    /// Time for the whole query; `None` for no limit.
    pub timeout_ms: Option<Millis>,
    /// How much of that time had passed before [`super::ControllerEvent::Started`].
    pub waited_ms: Millis,
    pub output: OutputMode,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_workers: 1_000,
            max_partitions: 25_000,
            max_columns: 2_000,
            max_clustered_by_columns: 1_500,
            max_input_files_per_worker: 10_000,
            worker_relaunches: 2,
            job_relaunches: 100,
            order_attempts: 8,
            launch_timeout_ms: 600_000,
            timeout_ms: None,
            waited_ms: 0,
            output: OutputMode::Memory,
        }
    }
}
