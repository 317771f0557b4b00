//! Rows of one partition or time chunk, gathered into blocks.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{BatchCoalescer, concat_batches};
use datafusion::common::Result;

use super::{BLOCK_ROWS, WriterContext, pieces};
use crate::shuffle::Block;

#[derive(Debug)]
pub(super) struct Gatherer {
    coalescer: BatchCoalescer,
    blocks: Vec<Arc<Block>>,
}

impl Gatherer {
    pub(super) fn new(context: &WriterContext) -> Self {
        Gatherer {
            coalescer: BatchCoalescer::new(Arc::clone(&context.schema), BLOCK_ROWS),
            blocks: Vec::new(),
        }
    }

    /// Batches of more than half a block are not copied together.
    pub(super) fn keeping_large(self) -> Self {
        Gatherer {
            coalescer: self
                .coalescer
                .with_biggest_coalesce_batch_size(Some(BLOCK_ROWS / 2)),
            ..self
        }
    }

    pub(super) fn push(&mut self, context: &WriterContext, batch: RecordBatch) -> Result<()> {
        self.coalescer.push_batch(batch)?;
        while let Some(batch) = self.coalescer.next_completed_batch() {
            self.keep(context, &batch)?;
        }
        Ok(())
    }

    /// Keeps the last rows.
    pub(super) fn finish(&mut self, context: &WriterContext) -> Result<()> {
        self.coalescer.finish_buffered_batch()?;
        while let Some(batch) = self.coalescer.next_completed_batch() {
            // It has room for a whole block, whatever is in it.
            let none = RecordBatch::new_empty(batch.schema());
            self.keep(context, &concat_batches(&batch.schema(), [&none, &batch])?)?;
        }
        Ok(())
    }

    pub(super) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(super) fn into_blocks(self) -> Vec<Arc<Block>> {
        self.blocks
    }

    fn keep(&mut self, context: &WriterContext, batch: &RecordBatch) -> Result<()> {
        for piece in pieces(batch) {
            self.blocks.push(context.blocks.put(piece)?);
        }
        Ok(())
    }
}
