//! Counters that workers report: absolute and monotonic per attempt, so that a doubled or lost message harms nothing
//! and a retry replaces its predecessor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All counters of one work order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CounterSnapshot {
    /// By channel name: `input0`, `input1`, …, `output`, `shuffle`.
    pub channels: BTreeMap<String, ChannelCounters>,
    pub sort_progress: Option<SortProgress>,
    pub segment_generation: Option<SegmentGenerationProgress>,
    /// CPU and wall time in ns by label (`main`, `sortOutput`, …).
    pub cpu: BTreeMap<String, CpuCounters>,
    /// Number of warnings by error code.
    pub warnings: BTreeMap<String, u64>,
    pub spilled_bytes: u64,
    /// Highest bytes reserved in the worker's memory pool at once.
    pub peak_memory_bytes: u64,
}

/// Counts of one channel, indexed by partition (inputs of outside data have one).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChannelCounters {
    pub rows: Vec<u64>,
    pub bytes: Vec<u64>,
    /// Record batches.
    pub frames: Vec<u64>,
    pub files: Vec<u64>,
    pub total_files: Vec<u64>,
}

/// Progress of a sort: batches merged of batches to merge, by level; `None` totals are not known yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SortProgress {
    pub total_merging_levels: Option<u32>,
    pub level_to_total_batches: BTreeMap<u32, u64>,
    pub level_to_merged_batches: BTreeMap<u32, u64>,
    pub total_mergers_for_ultimate_level: Option<u64>,
    /// 0..=1.
    pub progress_digest: Option<f64>,
    pub trivially_complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SegmentGenerationProgress {
    pub rows_processed: u64,
    pub rows_persisted: u64,
    pub rows_merged: u64,
    pub rows_pushed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuCounters {
    pub cpu_ns: u64,
    pub wall_ns: u64,
}
