//! Partitions by hash of the key.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::Result;
use sarsen_engine::key::{KeyEncoder, hash_partition};

use super::WriterContext;
use super::gather::Gatherer;
use crate::shuffle::{PartitionData, Run};

#[derive(Debug)]
pub struct HashWriter {
    context: Arc<WriterContext>,
    encoder: KeyEncoder,
    partitions: Vec<Gatherer>,
    /// Rows of the current batch by partition; kept to spare allocations.
    rows: Vec<Vec<u32>>,
}

impl HashWriter {
    pub(super) fn new(context: &Arc<WriterContext>, partitions: u32) -> Result<Self> {
        let encoder = KeyEncoder::new(&context.shuffle.key, &context.schema)?;
        let partitions: Vec<Gatherer> = (0..partitions).map(|_| Gatherer::new(context)).collect();
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
                partition.push(&self.context, batch.clone())?;
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
            partition.push(&self.context, take_record_batch(batch, &selected)?)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        let mut partitions = self.partitions.iter_mut();
        partitions.try_for_each(|partition| partition.finish(&self.context))
    }

    pub(super) fn into_partitions(self, partitions: &mut Vec<PartitionData>) {
        if partitions.is_empty() {
            partitions.extend(self.partitions.iter().map(|_| PartitionData {
                runs: vec![Run::default()],
            }));
        }
        for (mine, all) in self.partitions.into_iter().zip(partitions) {
            if let Some(run) = all.runs.first_mut() {
                run.blocks.extend(mine.into_blocks());
            }
        }
    }
}
