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

impl CounterSnapshot {
    /// The same with each channel's partitions as one.
    #[must_use]
    pub fn without_partitions(mut self) -> Self {
        for channel in self.channels.values_mut() {
            let lists = [
                &mut channel.rows,
                &mut channel.bytes,
                &mut channel.frames,
                &mut channel.files,
                &mut channel.total_files,
            ];
            for list in lists {
                if list.len() > 1 {
                    *list = vec![list.iter().sum()];
                }
            }
        }
        self
    }

    /// Adds another work order's counters; how far its sort is is not added, but the slower one kept.
    pub fn add(&mut self, other: &CounterSnapshot) {
        for (name, theirs) in &other.channels {
            let ours = self.channels.entry(name.clone()).or_default();
            add_lists(&mut ours.rows, &theirs.rows);
            add_lists(&mut ours.bytes, &theirs.bytes);
            add_lists(&mut ours.frames, &theirs.frames);
            add_lists(&mut ours.files, &theirs.files);
            add_lists(&mut ours.total_files, &theirs.total_files);
        }
        if let Some(theirs) = &other.sort_progress {
            let progress = |sort: &SortProgress| sort.progress_digest.unwrap_or(0.0);
            let slower = self
                .sort_progress
                .as_ref()
                .is_none_or(|ours| progress(theirs) < progress(ours));
            if slower {
                self.sort_progress = Some(theirs.clone());
            }
        }
        if let Some(theirs) = &other.segment_generation {
            let ours = self.segment_generation.get_or_insert_default();
            ours.rows_processed += theirs.rows_processed;
            ours.rows_persisted += theirs.rows_persisted;
            ours.rows_merged += theirs.rows_merged;
            ours.rows_pushed += theirs.rows_pushed;
        }
        for (label, theirs) in &other.cpu {
            let ours = self.cpu.entry(label.clone()).or_default();
            ours.cpu_ns += theirs.cpu_ns;
            ours.wall_ns += theirs.wall_ns;
        }
        for (code, count) in &other.warnings {
            *self.warnings.entry(code.clone()).or_default() += count;
        }
        self.spilled_bytes += other.spilled_bytes;
        self.peak_memory_bytes = self.peak_memory_bytes.max(other.peak_memory_bytes);
    }
}

fn add_lists(ours: &mut Vec<u64>, theirs: &[u64]) {
    if ours.len() < theirs.len() {
        ours.resize(theirs.len(), 0);
    }
    for (ours, theirs) in ours.iter_mut().zip(theirs) {
        *ours += theirs;
    }
}
