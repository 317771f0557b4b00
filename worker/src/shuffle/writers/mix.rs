//! All rows in one partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;

use super::WriterContext;
use super::gather::Gatherer;
use crate::shuffle::{PartitionData, Run};

#[derive(Debug)]
pub struct MixWriter {
    context: Arc<WriterContext>,
    gathered: Gatherer,
}

impl MixWriter {
    pub(super) fn new(context: &Arc<WriterContext>) -> Self {
        MixWriter {
            context: Arc::clone(context),
            gathered: Gatherer::new(context).keeping_large(),
        }
    }

    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.gathered.push(&self.context, batch)
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.gathered.finish(&self.context)
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
            run.blocks.extend(self.gathered.into_blocks());
        }
    }
}
