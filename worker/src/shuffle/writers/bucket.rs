//! Rows by time chunk, unsorted; which rows of a chunk make which partition is known once all workers have counted.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::{DataFusionError, Result, internal_err};
use sarsen_engine::key::KeyEncoder;
use sarsen_kernel::fault::Fault;
use sarsen_kernel::ids::WorkerNumber;
use sarsen_kernel::shuffle::BucketPartition;
use sarsen_kernel::statistics::KeyStatistics;

use super::WriterContext;
use super::gather::Gatherer;
use crate::error::FaultError;
use crate::shuffle::{Block, PartitionData, Run};

#[derive(Debug)]
pub struct BucketWriter {
    context: Arc<WriterContext>,
    encoder: KeyEncoder,
    /// Position in `buckets` by key.
    positions: HashMap<Box<[u8]>, usize>,
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    key: Box<[u8]>,
    rows: u64,
    /// Rows of the current batch.
    selected: Vec<u32>,
    gathered: Gatherer,
}

impl BucketWriter {
    pub(super) fn new(context: &Arc<WriterContext>) -> Result<Self> {
        let encoder = KeyEncoder::new(&context.shuffle.key, &context.schema)?;
        Ok(BucketWriter {
            context: Arc::clone(context),
            encoder,
            positions: HashMap::new(),
            buckets: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.context.shuffle.key.is_empty() {
            let bucket = self.bucket(&[])?;
            if let Some(bucket) = self.buckets.get_mut(bucket) {
                bucket.rows += batch.num_rows() as u64;
                bucket.gathered.push(&self.context, batch.clone())?;
            }
            return Ok(());
        }
        let keys = self.encoder.encode(batch)?;
        let mut touched: Vec<usize> = Vec::new();
        let mut last: Option<(&[u8], usize)> = None;
        for (row, key) in (0_u32..).zip(keys.iter()) {
            let position = match last {
                Some((known, position)) if known == key.data() => position,
                _ => self.bucket(key.data())?,
            };
            last = Some((key.data(), position));
            if let Some(bucket) = self.buckets.get_mut(position) {
                if bucket.selected.is_empty() {
                    touched.push(position);
                }
                bucket.selected.push(row);
            }
        }
        for position in touched {
            let Some(bucket) = self.buckets.get_mut(position) else {
                continue;
            };
            let selected = std::mem::take(&mut bucket.selected);
            bucket.rows += selected.len() as u64;
            let rows = if selected.len() == batch.num_rows() {
                batch.clone()
            } else {
                take_record_batch(batch, &UInt32Array::from(selected))?
            };
            bucket.gathered.push(&self.context, rows)?;
        }
        Ok(())
    }

    fn bucket(&mut self, key: &[u8]) -> Result<usize> {
        if let Some(position) = self.positions.get(key) {
            return Ok(*position);
        }
        let limit = self.context.max_buckets;
        if self.buckets.len() >= limit {
            let fault = Fault::TooManyBuckets {
                max_buckets: limit as u64,
            };
            return Err(DataFusionError::External(Box::new(FaultError(fault))));
        }
        let position = self.buckets.len();
        self.positions.insert(key.into(), position);
        self.buckets.push(Bucket {
            key: key.into(),
            rows: 0,
            selected: Vec::new(),
            gathered: Gatherer::new(&self.context),
        });
        Ok(position)
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        let mut buckets = self.buckets.iter_mut();
        buckets.try_for_each(|bucket| bucket.gathered.finish(&self.context))
    }

    /// Rows by time chunk.
    pub(super) fn statistics(&self) -> KeyStatistics {
        let mut statistics = KeyStatistics::default();
        for bucket in &self.buckets {
            let bytes = bucket.gathered.blocks().iter().map(|block| block.bytes).sum();
            statistics.add_bucket(&bucket.key, bucket.rows, bytes);
        }
        statistics
    }
}

/// Cuts the rows of all writers of a work order as the boundaries say: of each chunk the rows of the first writer come
/// first, then those of the second, and so on.
pub(super) fn cut(
    context: &Arc<WriterContext>,
    writers: Vec<BucketWriter>,
    boundaries: &[BucketPartition],
    worker: WorkerNumber,
) -> Result<Vec<PartitionData>> {
    let mut chunks: HashMap<Box<[u8]>, Vec<Arc<Block>>> = HashMap::new();
    for bucket in writers.into_iter().flat_map(|writer| writer.buckets) {
        chunks
            .entry(bucket.key)
            .or_default()
            .extend(bucket.gathered.into_blocks());
    }
    let mut partitions = Vec::with_capacity(boundaries.len());
    for boundary in boundaries {
        let mut run = Run::default();
        for rows in boundary
            .runs
            .iter()
            .filter(|rows| rows.worker == worker && rows.rows > 0)
        {
            let Some(blocks) = chunks.get(boundary.bucket.as_slice()) else {
                return internal_err!("boundaries name a time chunk of which this worker has no rows");
            };
            run.blocks
                .extend(rows_of(context, blocks, rows.first_row, rows.rows)?);
        }
        partitions.push(PartitionData { runs: vec![run] });
    }
    Ok(partitions)
}

/// Rows `first .. first + count` of consecutive blocks.
fn rows_of(
    context: &WriterContext,
    blocks: &[Arc<Block>],
    first: u64,
    count: u64,
) -> Result<Vec<Arc<Block>>> {
    let mut chosen = Vec::new();
    let (mut position, end) = (0, first + count);
    for block in blocks {
        let (start, stop) = (first.max(position), end.min(position + block.rows));
        if start < stop {
            if stop - start == block.rows {
                chosen.push(Arc::clone(block));
            } else {
                let batch = block.batch(&context.schema)?;
                let offset = usize::try_from(start - position).unwrap_or(usize::MAX);
                let length = usize::try_from(stop - start).unwrap_or(0);
                chosen.push(context.blocks.put(batch.slice(offset, length))?);
            }
        }
        position += block.rows;
    }
    if position < end {
        return internal_err!("boundaries name {end} rows of a time chunk, this worker has {position}");
    }
    Ok(chosen)
}
