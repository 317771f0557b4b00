//! Sorted runs. A run is sorted once, when enough rows have come; boundaries later only say which of its blocks belong
//! to which partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::row::Rows;
use datafusion::common::{DataFusionError, Result};
use sarsen_engine::key::{KeyEncoder, hash_partition};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::shuffle::KeyRange;
use sarsen_kernel::statistics::{KeyStatistics, KeyStatisticsCollector};

use super::{BLOCK_ROWS, WriterContext};
use crate::error::FaultError;
use crate::shuffle::{Block, PartitionData, Run, frames};

#[derive(Debug)]
pub struct SortWriter {
    context: Arc<WriterContext>,
    encoder: KeyEncoder,
    /// Hash partitions of a `hashLocalSort`; `None` for a global sort.
    hash_partitions: Option<u32>,
    collector: Option<KeyStatisticsCollector>,
    batches: Vec<RecordBatch>,
    keys: Vec<Rows>,
    gathered_bytes: usize,
    runs: Vec<SortedRun>,
}

#[derive(Debug, Default)]
struct SortedRun {
    blocks: Vec<SortedBlock>,
}

/// A block with the keys of its first and last row.
#[derive(Debug)]
struct SortedBlock {
    hash_partition: u32,
    first: Box<[u8]>,
    last: Box<[u8]>,
    block: Arc<Block>,
}

/// Bytes of key samples that one writer keeps.
const STATISTICS_BYTES: usize = 1 << 20;

/// A row among the gathered batches.
#[derive(Debug, Clone, Copy)]
struct RowPlace {
    hash_partition: u32,
    batch: u32,
    row: u32,
}

impl SortWriter {
    pub(super) fn new(context: &Arc<WriterContext>, hash_partitions: Option<u32>) -> Result<Self> {
        let encoder = KeyEncoder::new(&context.shuffle.key, &context.schema)?;
        let collector = hash_partitions.is_none().then(|| {
            KeyStatisticsCollector::new(
                context.seed,
                STATISTICS_BYTES,
                context.shuffle.bucket_prefix_bytes,
            )
        });
        Ok(SortWriter {
            context: Arc::clone(context),
            encoder,
            hash_partitions,
            collector,
            batches: Vec::new(),
            keys: Vec::new(),
            gathered_bytes: 0,
            runs: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = frames::compact(batch);
        let keys = self.encoder.encode(&batch)?;
        let bytes = frames::live_bytes(&batch);
        if let Some(collector) = &mut self.collector {
            let row_bytes = (bytes / batch.num_rows()).max(1) as u64;
            for key in keys.iter() {
                collector.add(key.data(), row_bytes);
            }
            let max_buckets = self.context.max_buckets;
            if collector.bucket_count() > max_buckets {
                let fault = Fault::TooManyBuckets {
                    max_buckets: max_buckets as u64,
                };
                return Err(DataFusionError::External(Box::new(FaultError(fault))));
            }
        }
        self.gathered_bytes += bytes + keys.size();
        self.batches.push(batch);
        self.keys.push(keys);
        if self.gathered_bytes >= self.context.run_bytes {
            self.sort_run()?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.sort_run()
    }

    pub(super) fn statistics(&mut self) -> Option<KeyStatistics> {
        self.collector.take().map(KeyStatisticsCollector::finish)
    }

    /// Sorts what has been gathered into blocks. A block holds one time chunk and one hash partition only.
    fn sort_run(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        let keys = std::mem::take(&mut self.keys);
        self.gathered_bytes = 0;
        if batches.is_empty() {
            return Ok(());
        }
        let mut order = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (batch, rows) in (0_u32..).zip(&keys) {
            for (row, key) in (0_u32..).zip(rows.iter()) {
                let hash_partition = self
                    .hash_partitions
                    .map_or(0, |partitions| hash_partition(key.data(), partitions));
                order.push(RowPlace {
                    hash_partition,
                    batch,
                    row,
                });
            }
        }
        let key_of = |place: &RowPlace| -> &[u8] {
            keys.get(place.batch as usize)
                .map_or(&[], |rows| rows.row(place.row as usize).data())
        };
        order.sort_unstable_by(|left, right| {
            left.hash_partition
                .cmp(&right.hash_partition)
                .then_with(|| key_of(left).cmp(key_of(right)))
        });
        let prefix = self.context.shuffle.bucket_prefix_bytes as usize;
        let same_block = |left: &RowPlace, right: &RowPlace| {
            left.hash_partition == right.hash_partition
                && key_of(left).get(..prefix) == key_of(right).get(..prefix)
        };
        let references: Vec<&RecordBatch> = batches.iter().collect();
        let mut run = SortedRun::default();
        for group in order.chunk_by(same_block) {
            for chunk in group.chunks(BLOCK_ROWS) {
                let places: Vec<(usize, usize)> = chunk
                    .iter()
                    .map(|place| (place.batch as usize, place.row as usize))
                    .collect();
                let rows = interleave_record_batch(&references, &places)?;
                if let (Some(first), Some(last)) = (chunk.first(), chunk.last()) {
                    run.blocks.push(SortedBlock {
                        hash_partition: first.hash_partition,
                        first: key_of(first).into(),
                        last: key_of(last).into(),
                        block: self.context.blocks.put(rows)?,
                    });
                }
            }
        }
        self.runs.push(run);
        Ok(())
    }

    /// Adds this writer's runs to the partitions of a global sort.
    pub(super) fn cut_ranges(self, ranges: &[KeyRange], partitions: &mut [PartitionData]) -> Result<()> {
        for run in &self.runs {
            let mut pieces: Vec<Run> = vec![Run::default(); ranges.len()];
            for block in &run.blocks {
                self.cut_block(block, ranges, &mut pieces)?;
            }
            for (piece, partition) in pieces.into_iter().zip(partitions.iter_mut()) {
                if !piece.blocks.is_empty() {
                    partition.runs.push(piece);
                }
            }
        }
        Ok(())
    }

    fn cut_block(&self, block: &SortedBlock, ranges: &[KeyRange], pieces: &mut [Run]) -> Result<()> {
        let range_of = |key: &[u8]| {
            ranges
                .partition_point(|range| range.start.as_slice() <= key)
                .saturating_sub(1)
        };
        let (first, last) = (range_of(&block.first), range_of(&block.last));
        if first == last {
            if let Some(piece) = pieces.get_mut(first) {
                piece.blocks.push(Arc::clone(&block.block));
            }
            return Ok(());
        }
        let batch = block.block.batch(&self.context.schema)?;
        let keys = self.encoder.encode(&batch)?;
        let mut start = 0;
        for range in first..=last {
            let end = match ranges.get(range + 1) {
                Some(next) if range < last => {
                    let below = |row: &usize| keys.row(*row).data() < next.start.as_slice();
                    start
                        + (start..keys.num_rows())
                            .collect::<Vec<_>>()
                            .partition_point(below)
                }
                _ => keys.num_rows(),
            };
            if end > start
                && let Some(piece) = pieces.get_mut(range)
            {
                piece
                    .blocks
                    .push(self.context.blocks.put(batch.slice(start, end - start))?);
            }
            start = end;
        }
        Ok(())
    }

    /// Adds this writer's runs to the partitions of a local sort.
    pub(super) fn into_hash_partitions(self, partitions: &mut Vec<PartitionData>) -> Result<()> {
        let count = self.hash_partitions.unwrap_or(1) as usize;
        if partitions.is_empty() {
            partitions.resize_with(count, Default::default);
        }
        for run in self.runs {
            let mut pieces: Vec<Run> = vec![Run::default(); count];
            for block in run.blocks {
                if let Some(piece) = pieces.get_mut(block.hash_partition as usize) {
                    piece.blocks.push(block.block);
                }
            }
            for (piece, partition) in pieces.into_iter().zip(partitions.iter_mut()) {
                if !piece.blocks.is_empty() {
                    partition.runs.push(piece);
                }
            }
        }
        Ok(())
    }
}
