//! Partitions by hash of the key.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{BatchCoalescer, concat_batches, take_record_batch};
use datafusion::common::Result;
use sarsen_engine::key::{KeyEncoder, hash_partition};

use super::{BLOCK_ROWS, WriterContext, pieces};
use crate::shuffle::{PartitionData, Run};

#[derive(Debug)]
pub struct HashWriter {
    context: Arc<WriterContext>,
    encoder: KeyEncoder,
    partitions: Vec<HashPartition>,
    /// Rows of the current batch by partition; kept to spare allocations.
    rows: Vec<Vec<u32>>,
}

#[derive(Debug)]
struct HashPartition {
    coalescer: BatchCoalescer,
    run: Run,
}

impl HashWriter {
    pub(super) fn new(context: &Arc<WriterContext>, partitions: u32) -> Result<Self> {
        let encoder = KeyEncoder::new(&context.shuffle.key, &context.schema)?;
        let partition = || HashPartition {
            coalescer: BatchCoalescer::new(Arc::clone(&context.schema), BLOCK_ROWS),
            run: Run::default(),
        };
        let partitions: Vec<HashPartition> = (0..partitions).map(|_| partition()).collect();
        let rows = vec![Vec::new(); partitions.len()];
        Ok(HashWriter {
            context: Arc::clone(context),
            encoder,
            partitions,
            rows,
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let count = u32::try_from(self.partitions.len()).unwrap_or(1);
        if count == 1 {
            if let Some(partition) = self.partitions.first_mut() {
                partition.coalescer.push_batch(batch.clone())?;
                keep_completed(&self.context, partition)?;
            }
            return Ok(());
        }
        let keys = self.encoder.encode(batch)?;
        for (row, key) in (0_u32..).zip(keys.iter()) {
            let partition = hash_partition(key.data(), count) as usize;
            if let Some(rows) = self.rows.get_mut(partition) {
                rows.push(row);
            }
        }
        for (rows, partition) in self.rows.iter_mut().zip(&mut self.partitions) {
            if rows.is_empty() {
                continue;
            }
            let selected = UInt32Array::from(std::mem::take(rows));
            partition
                .coalescer
                .push_batch(take_record_batch(batch, &selected)?)?;
            keep_completed(&self.context, partition)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        for partition in &mut self.partitions {
            partition.coalescer.finish_buffered_batch()?;
            while let Some(batch) = partition.coalescer.next_completed_batch() {
                // It has room for a whole block, whatever is in it.
                let fitting =
                    concat_batches(&batch.schema(), [&RecordBatch::new_empty(batch.schema()), &batch])?;
                keep(&self.context, partition, &fitting)?;
            }
        }
        Ok(())
    }

    pub(super) fn into_partitions(self, partitions: &mut Vec<PartitionData>) {
        if partitions.is_empty() {
            partitions.extend(self.partitions.iter().map(|_| PartitionData {
                runs: vec![Run::default()],
            }));
        }
        for (mine, all) in self.partitions.into_iter().zip(partitions) {
            if let Some(run) = all.runs.first_mut() {
                run.blocks.extend(mine.run.blocks);
            }
        }
    }
}

fn keep_completed(context: &WriterContext, partition: &mut HashPartition) -> Result<()> {
    while let Some(batch) = partition.coalescer.next_completed_batch() {
        keep(context, partition, &batch)?;
    }
    Ok(())
}

fn keep(context: &WriterContext, partition: &mut HashPartition, batch: &RecordBatch) -> Result<()> {
    for piece in pieces(batch) {
        partition.run.blocks.push(context.blocks.put(piece)?);
    }
    Ok(())
}
