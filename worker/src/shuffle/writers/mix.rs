//! All rows in one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use datafusion::common::Result;

use super::{BLOCK_ROWS, WriterContext, pieces};
use crate::shuffle::{PartitionData, Run};

#[derive(Debug)]
pub struct MixWriter {
    context: Arc<WriterContext>,
    coalescer: BatchCoalescer,
    run: Run,
}

impl MixWriter {
    pub(super) fn new(context: &Arc<WriterContext>) -> Self {
        let coalescer = BatchCoalescer::new(Arc::clone(&context.schema), BLOCK_ROWS)
            .with_biggest_coalesce_batch_size(Some(BLOCK_ROWS / 2));
        MixWriter {
            context: Arc::clone(context),
            coalescer,
            run: Run::default(),
        }
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.coalescer.push_batch(batch)?;
        self.keep_completed()
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.coalescer.finish_buffered_batch()?;
        self.keep_completed()
    }

    fn keep_completed(&mut self) -> Result<()> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            for piece in pieces(&batch) {
                self.run.blocks.push(self.context.blocks.put(piece)?);
            }
        }
        Ok(())
    }

    pub(super) fn into_partitions(self, partitions: &mut Vec<PartitionData>) {
        if partitions.is_empty() {
            partitions.push(PartitionData {
                runs: vec![Run::default()],
            });
        }
        if let Some(run) = partitions
            .first_mut()
            .and_then(|partition| partition.runs.first_mut())
        {
            run.blocks.extend(self.run.blocks);
        }
    }
}
