//! Counters of one work order while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use sarsen_kernel::counters::{
    ChannelCounters, CounterSnapshot, CpuCounters, SegmentGenerationProgress, SortProgress,
};
use sarsen_kernel::ids::PartitionNumber;
use sarsen_kernel::shuffle::OutputSizes;
use sarsen_storage::reader::{ParseErrors, ReadCounters};

use crate::pull::PullCounters;
use crate::shuffle::frames;

/// What a running work order counts; a snapshot of it is reported every 250 ms.
#[derive(Debug)]
pub struct OrderCounters {
    inputs: Mutex<Vec<InputCounters>>,
    output: Mutex<Vec<Channel>>,
    sizes: Mutex<Option<OutputSizes>>,
    sorts: bool,
    sorted: AtomicU64,
    segments: Option<Arc<AtomicU64>>,
    segments_pushed: AtomicU64,
    parse_errors: OnceLock<Arc<ParseErrors>>,
    spilled: Arc<AtomicU64>,
    cpu_ns: AtomicU64,
    started: Instant,
    ended: OnceLock<Instant>,
}

#[derive(Debug)]
enum InputCounters {
    External(Arc<ReadCounters>),
    Stage {
        partitions: Vec<PartitionNumber>,
        merged: bool,
        pulled: Vec<Arc<PullCounters>>,
    },
}

#[derive(Debug, Default, Clone, Copy)]
struct Channel {
    rows: u64,
    bytes: u64,
    frames: u64,
}

impl OrderCounters {
    pub fn new(sorts: bool, writes_segments: bool) -> Arc<Self> {
        Arc::new(OrderCounters {
            inputs: Mutex::default(),
            output: Mutex::default(),
            sizes: Mutex::default(),
            sorts,
            sorted: AtomicU64::new(0),
            segments: writes_segments.then(Arc::default),
            segments_pushed: AtomicU64::new(0),
            parse_errors: OnceLock::new(),
            spilled: Arc::default(),
            cpu_ns: AtomicU64::new(0),
            started: Instant::now(),
            ended: OnceLock::new(),
        })
    }

    pub fn start(&self, partitions: usize) {
        lock(&self.output).resize(partitions, Channel::default());
    }

    pub fn add_external(&self, counters: &Arc<ReadCounters>) {
        lock(&self.inputs).push(InputCounters::External(Arc::clone(counters)));
    }

    pub fn add_stage(&self, partitions: &[PartitionNumber], merged: bool, pulled: &[Arc<PullCounters>]) {
        lock(&self.inputs).push(InputCounters::Stage {
            partitions: partitions.to_vec(),
            merged,
            pulled: pulled.to_vec(),
        });
    }

    /// Counts rows that the fragment gave back.
    pub fn output(&self, partition: usize, batch: &RecordBatch) {
        if let Some(channel) = lock(&self.output).get_mut(partition) {
            channel.rows += batch.num_rows() as u64;
            channel.bytes += frames::live_bytes(batch) as u64;
            channel.frames += 1;
        }
    }

    /// Adds time that a thread worked on it.
    pub fn add_cpu(&self, nanoseconds: u64) {
        self.cpu_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Count of bytes that its output spilled; what its operators spilled is added at their end.
    pub fn spilled(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.spilled)
    }

    /// The output is cut: its sizes are known.
    pub fn finish(&self, sizes: OutputSizes) {
        *lock(&self.sizes) = Some(sizes);
        self.sorted.store(1, Ordering::Relaxed);
        let _ = self.ended.set(Instant::now());
    }

    /// The segments are in deep storage.
    pub fn finish_segments(&self, rows: u64) {
        self.segments_pushed.store(rows, Ordering::Relaxed);
        let _ = self.ended.set(Instant::now());
    }

    /// Count of rows written to segments.
    pub fn segment_rows(&self) -> Arc<AtomicU64> {
        self.segments.clone().unwrap_or_default()
    }

    /// Where readers of this work order tell of rows that do not parse.
    pub fn parse_errors(&self, max: i64) -> Arc<ParseErrors> {
        Arc::clone(self.parse_errors.get_or_init(|| Arc::new(ParseErrors::new(max))))
    }

    /// Parse errors so far.
    pub fn seen_parse_errors(&self) -> Option<Arc<ParseErrors>> {
        self.parse_errors.get().cloned()
    }

    pub fn snapshot(&self) -> CounterSnapshot {
        let mut snapshot = CounterSnapshot::default();
        for (number, input) in lock(&self.inputs).iter().enumerate() {
            snapshot
                .channels
                .insert(format!("input{number}"), input.channel());
        }
        if self.segments.is_none() {
            let mut output = ChannelCounters::default();
            for (number, channel) in lock(&self.output).iter().enumerate() {
                add(&mut output, number, *channel);
            }
            snapshot.channels.insert("output".to_owned(), output);
        }
        if let Some(sizes) = lock(&self.sizes).as_ref() {
            let mut shuffle = ChannelCounters::default();
            for (partition, size) in sizes {
                let channel = Channel {
                    rows: size.rows,
                    bytes: size.bytes,
                    frames: size.rows.div_ceil(8192),
                };
                add(&mut shuffle, partition.0 as usize, channel);
            }
            snapshot.channels.insert("shuffle".to_owned(), shuffle);
        }
        if self.sorts {
            let done = self.sorted.load(Ordering::Relaxed);
            snapshot.sort_progress = Some(SortProgress {
                total_merging_levels: Some(1),
                level_to_total_batches: [(0, 1)].into(),
                level_to_merged_batches: [(0, done)].into(),
                total_mergers_for_ultimate_level: Some(1),
                progress_digest: Some(if done == 1 { 1.0 } else { 0.0 }),
                trivially_complete: false,
            });
        }
        if let Some(rows) = &self.segments {
            let rows = rows.load(Ordering::Relaxed);
            snapshot.segment_generation = Some(SegmentGenerationProgress {
                rows_processed: rows,
                rows_persisted: rows,
                rows_merged: rows,
                rows_pushed: self.segments_pushed.load(Ordering::Relaxed),
            });
        }
        let wall = self
            .ended
            .get()
            .copied()
            .unwrap_or_else(Instant::now)
            .duration_since(self.started);
        let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        snapshot.cpu.insert(
            "main".to_owned(),
            CpuCounters {
                cpu_ns: self.cpu_ns.load(Ordering::Relaxed),
                wall_ns,
            },
        );
        if let Some(errors) = self.parse_errors.get()
            && errors.count() > 0
        {
            snapshot
                .warnings
                .insert("CannotParseExternalData".to_owned(), errors.count());
        }
        snapshot.spilled_bytes = self.spilled.load(Ordering::Relaxed);
        snapshot
    }
}

impl InputCounters {
    fn channel(&self) -> ChannelCounters {
        let mut counters = ChannelCounters::default();
        match self {
            InputCounters::External(read) => {
                counters.rows.push(read.rows());
                counters.bytes.push(read.bytes());
                counters.files.push(read.files());
                counters.total_files.push(read.total_files());
            }
            InputCounters::Stage {
                partitions,
                merged,
                pulled,
            } => {
                for (index, counted) in pulled.iter().enumerate() {
                    let channel = Channel {
                        rows: counted.rows.load(Ordering::Relaxed),
                        bytes: counted.bytes.load(Ordering::Relaxed),
                        frames: counted.frames.load(Ordering::Relaxed),
                    };
                    let number = if *merged {
                        Some(0)
                    } else {
                        partitions.get(index).map(|number| number.0 as usize)
                    };
                    add(&mut counters, number.unwrap_or(index), channel);
                }
            }
        }
        counters
    }
}

/// Adds a partition's counts at its place.
fn add(counters: &mut ChannelCounters, partition: usize, channel: Channel) {
    for (list, value) in [
        (&mut counters.rows, channel.rows),
        (&mut counters.bytes, channel.bytes),
        (&mut counters.frames, channel.frames),
    ] {
        if list.len() <= partition {
            list.resize(partition + 1, 0);
        }
        if let Some(slot) = list.get_mut(partition) {
            *slot += value;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
