//! The output of one work order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::ids::PartitionNumber;
use sarsen_kernel::shuffle::{OutputSizes, PartitionSize};

use super::frames::{self, Frame};
use super::spill::{FramePlace, SpillFile};
use crate::error::{FaultError, is_disk_full};

/// A finished output.
#[derive(Debug)]
pub struct Output {
    pub schema: SchemaRef,
    /// By partition number.
    pub partitions: Vec<PartitionData>,
}

/// One partition: sorted runs of a sorted shuffle, one run of any other.
#[derive(Debug, Default)]
pub struct PartitionData {
    pub runs: Vec<Run>,
}

/// Blocks whose rows follow each other.
#[derive(Debug, Default, Clone)]
pub struct Run {
    pub blocks: Vec<Arc<Block>>,
}

/// A batch in memory or in a file.
#[derive(Debug)]
pub struct Block {
    pub rows: u64,
    /// Bytes of the rows, uncompressed.
    pub bytes: u64,
    place: BlockPlace,
}

#[derive(Debug)]
enum BlockPlace {
    Memory { batch: RecordBatch, _share: MemoryShare },
    File(FramePlace),
}

impl Block {
    /// The rows.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        match &self.place {
            BlockPlace::Memory { batch, .. } => Ok(batch.clone()),
            BlockPlace::File(place) => Ok(frames::decode(&place.read()?, Arc::clone(schema))?),
        }
    }

    /// The rows as they go over the wire.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn frame(&self) -> Result<Frame> {
        match &self.place {
            BlockPlace::Memory { batch, .. } => Ok(frames::encode(&frames::compact(batch.clone()))?),
            BlockPlace::File(place) => Ok(place.read()?),
        }
    }
}

impl Output {
    /// Rows and bytes of each partition that has any.
    pub fn sizes(&self) -> OutputSizes {
        let mut sizes = BTreeMap::new();
        for (number, partition) in self.partitions.iter().enumerate() {
            let mut size = PartitionSize::default();
            for block in partition.runs.iter().flat_map(|run| &run.blocks) {
                size.rows += block.rows;
                size.bytes += block.bytes;
            }
            if size.rows > 0 {
                sizes.insert(PartitionNumber(u32::try_from(number).unwrap_or(u32::MAX)), size);
            }
        }
        sizes
    }
}

/// Where one work order's blocks go: memory up to the worker task's share, then a file.
#[derive(Debug)]
pub struct BlockStore {
    memory: Arc<StoreMemory>,
    file_path: PathBuf,
    file: Mutex<Option<Arc<SpillFile>>>,
    spilled: Arc<AtomicU64>,
}

/// Bytes that the outputs of one worker task hold in memory.
#[derive(Debug)]
pub struct StoreMemory {
    used: AtomicUsize,
    limit: usize,
    /// Bytes in files now.
    in_files: Arc<AtomicU64>,
    file_limit: u64,
}

impl StoreMemory {
    /// At most `limit` bytes, and `file_limit` bytes in files.
    pub fn new(limit: usize, file_limit: u64) -> Arc<Self> {
        Arc::new(StoreMemory {
            used: AtomicUsize::new(0),
            limit,
            in_files: Arc::default(),
            file_limit,
        })
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Option<MemoryShare> {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        Some(MemoryShare {
            memory: Arc::clone(self),
            bytes,
        })
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct MemoryShare {
    memory: Arc<StoreMemory>,
    bytes: usize,
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl BlockStore {
    /// Blocks that do not fit into `memory` go to a file at `file_path`, counted in `spilled`.
    pub fn new(memory: Arc<StoreMemory>, file_path: PathBuf, spilled: Arc<AtomicU64>) -> Self {
        BlockStore {
            memory,
            file_path,
            file: Mutex::new(None),
            spilled,
        }
    }

    /// Keeps a batch.
    ///
    /// # Errors
    /// When it has to be spilled and cannot be.
    pub fn put(&self, batch: RecordBatch) -> Result<Arc<Block>> {
        let batch = frames::compact(batch);
        let rows = batch.num_rows() as u64;
        let bytes = frames::live_bytes(&batch);
        let place = match self.memory.take(bytes) {
            Some(share) => BlockPlace::Memory { batch, _share: share },
            None => BlockPlace::File(self.spill(&batch)?),
        };
        Ok(Arc::new(Block {
            rows,
            bytes: bytes as u64,
            place,
        }))
    }

    fn spill(&self, batch: &RecordBatch) -> Result<FramePlace> {
        let file = {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            match file.as_ref() {
                Some(file) => Arc::clone(file),
                None => {
                    let created = SpillFile::create(
                        &self.file_path,
                        Arc::clone(&self.spilled),
                        Arc::clone(&self.memory.in_files),
                    )
                    .map_err(|error| self.failed(&error))?;
                    Arc::clone(file.insert(created))
                }
            }
        };
        let frame = frames::encode(batch)?;
        let held = self.memory.in_files.load(Ordering::Relaxed);
        if held.saturating_add(frame.len() as u64) > self.memory.file_limit {
            return Err(self.no_storage());
        }
        file.append(&frame).map_err(|error| self.failed(&error))
    }

    fn no_storage(&self) -> DataFusionError {
        DataFusionError::External(Box::new(FaultError(Fault::NotEnoughTemporaryStorage {
            configured_temporary_storage: self.memory.file_limit,
        })))
    }

    fn failed(&self, error: &std::io::Error) -> DataFusionError {
        if is_disk_full(error) {
            return self.no_storage();
        }
        DataFusionError::Execution(format!(
            "cannot spill shuffled rows to {}: {error} (the folder is set by --spill-dir)",
            self.file_path.display()
        ))
    }
}
