//! One writer per kind of shuffle. Each partition of a fragment feeds a writer of its own; at the end the writers of a
//! work order are put together into its output.

mod bucket;
mod gather;
mod hash;
mod mix;
mod sort;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use sarsen_kernel::ids::WorkerNumber;
use sarsen_kernel::shuffle::{Boundaries, PartitionCount, ShuffleKind, ShuffleSpec};
use sarsen_kernel::statistics::KeyStatistics;

use super::{BlockStore, Output};
pub use bucket::BucketWriter;
pub use hash::HashWriter;
pub use mix::MixWriter;
pub use sort::SortWriter;

/// Rows of a block at the most.
pub const BLOCK_ROWS: usize = 8192;

/// Bytes of a block at about the most.
pub const BLOCK_BYTES: usize = 8 << 20;

/// What all writers of one work order share.
#[derive(Debug)]
pub struct WriterContext {
    pub schema: SchemaRef,
    pub shuffle: ShuffleSpec,
    pub blocks: BlockStore,
    /// Bytes that one writer gathers before it sorts a run.
    pub run_bytes: usize,
    /// Seed of the key statistics' sampling.
    pub seed: u64,
    /// Time chunks at the most.
    pub max_buckets: usize,
}

/// A writer of any kind.
#[derive(Debug)]
pub enum Writer {
    Mix(MixWriter),
    Hash(HashWriter),
    Sort(SortWriter),
    Bucket(BucketWriter),
}

impl Writer {
    /// # Errors
    /// When the shuffle key does not fit the schema.
    pub fn new(context: &Arc<WriterContext>) -> Result<Self> {
        Ok(match &context.shuffle.kind {
            ShuffleKind::Mix | ShuffleKind::Broadcast => Writer::Mix(MixWriter::new(context)),
            ShuffleKind::Hash { partitions } => {
                Writer::Hash(HashWriter::new(context, decided(*partitions)?)?)
            }
            ShuffleKind::HashLocalSort { partitions } => {
                Writer::Sort(SortWriter::new(context, Some(decided(*partitions)?))?)
            }
            ShuffleKind::GlobalSort(_) => Writer::Sort(SortWriter::new(context, None)?),
            ShuffleKind::Bucket { .. } => Writer::Bucket(BucketWriter::new(context)?),
        })
    }

    /// Takes rows.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        match self {
            Writer::Mix(writer) => writer.write(batch),
            Writer::Hash(writer) => writer.write(&batch),
            Writer::Sort(writer) => writer.write(batch),
            Writer::Bucket(writer) => writer.write(&batch),
        }
    }

    /// Ends the input: everything is in blocks now.
    ///
    /// # Errors
    /// When the last rows cannot be kept.
    pub fn finish(&mut self) -> Result<()> {
        match self {
            Writer::Mix(writer) => writer.finish(),
            Writer::Hash(writer) => writer.finish(),
            Writer::Sort(writer) => writer.finish(),
            Writer::Bucket(writer) => writer.finish(),
        }
    }

    /// Key statistics of a shuffle that needs boundaries.
    pub fn statistics(&mut self) -> Option<KeyStatistics> {
        match self {
            Writer::Sort(writer) => writer.statistics(),
            Writer::Bucket(writer) => Some(writer.statistics()),
            Writer::Mix(_) | Writer::Hash(_) => None,
        }
    }
}

fn decided(partitions: PartitionCount) -> Result<u32> {
    match partitions {
        PartitionCount::Fixed(partitions) => Ok(partitions.max(1)),
        PartitionCount::Measured { .. } => {
            internal_err!("a work order's number of partitions was never decided")
        }
    }
}

/// Puts the finished writers of one work order together.
///
/// # Errors
/// When boundaries are missing, or blocks that cross them cannot be read.
pub fn assemble(
    context: &Arc<WriterContext>,
    writers: Vec<Writer>,
    boundaries: Option<&Boundaries>,
    worker: WorkerNumber,
) -> Result<Output> {
    let mut partitions = Vec::new();
    match (&context.shuffle.kind, boundaries) {
        (ShuffleKind::GlobalSort(_), Some(Boundaries::Ranges(ranges))) => {
            partitions.resize_with(ranges.len(), Default::default);
            for writer in writers {
                if let Writer::Sort(writer) = writer {
                    writer.cut_ranges(ranges, &mut partitions)?;
                }
            }
        }
        (ShuffleKind::Bucket { .. }, Some(Boundaries::Buckets(buckets))) => {
            let writers = writers.into_iter().filter_map(|writer| match writer {
                Writer::Bucket(writer) => Some(writer),
                _ => None,
            });
            partitions = bucket::cut(context, writers.collect(), buckets, worker)?;
        }
        (kind, None) if kind.needs_boundaries() => {
            return internal_err!("an output was cut without boundaries");
        }
        (kind, _) if kind.needs_boundaries() => {
            return internal_err!("boundaries of another kind of shuffle");
        }
        _ => {
            for writer in writers {
                match writer {
                    Writer::Mix(writer) => writer.into_partitions(&mut partitions),
                    Writer::Hash(writer) => writer.into_partitions(&mut partitions),
                    Writer::Sort(writer) => writer.into_hash_partitions(&mut partitions)?,
                    Writer::Bucket(_) => {}
                }
            }
        }
    }
    Ok(Output {
        schema: Arc::clone(&context.schema),
        partitions,
    })
}

/// The batch in pieces of at most [`BLOCK_ROWS`] rows and about [`BLOCK_BYTES`] bytes.
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows();
    let row_bytes = super::frames::live_bytes(batch) / rows.max(1) + 1;
    let step = (BLOCK_BYTES / row_bytes).clamp(1, BLOCK_ROWS);
    (0..rows)
        .step_by(step)
        .map(move |start| batch.slice(start, step.min(rows - start)))
}
