//! Inputs of a work order as its fragment's leaves read them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::FutureExt;
use futures::future::BoxFuture;
use sarsen_engine::input::ShuffleReader;
use sarsen_kernel::ids::{PartitionNumber, StageNumber, WorkOrderId};
use sarsen_kernel::work_order::Producer;

use crate::pull::{Piece, PullCounters, Puller};

/// Reads one stage input of a work order.
#[derive(Debug)]
pub struct StageReader {
    pub puller: Puller,
    pub query_id: String,
    pub stage: StageNumber,
    pub partitions: Vec<PartitionNumber>,
    pub producers: Vec<Producer>,
    /// All partitions are one for the fragment.
    pub merged: bool,
    /// One per partition that the fragment reads.
    pub counters: Vec<Arc<PullCounters>>,
}

impl StageReader {
    fn pieces(&self, partition: usize) -> Vec<Piece> {
        let partitions = if self.merged {
            self.partitions.as_slice()
        } else {
            self.partitions.get(partition..=partition).unwrap_or_default()
        };
        let piece = |partition: &PartitionNumber, producer: &Producer| Piece {
            query_id: self.query_id.clone(),
            producer: WorkOrderId {
                stage: self.stage,
                worker: producer.worker,
                attempt: producer.attempt,
            },
            partition: *partition,
            address: producer.address.clone(),
        };
        partitions
            .iter()
            .flat_map(|partition| {
                self.producers
                    .iter()
                    .map(move |producer| piece(partition, producer))
            })
            .collect()
    }
}

impl ShuffleReader for StageReader {
    fn partition_count(&self) -> usize {
        if self.merged { 1 } else { self.partitions.len() }
    }

    fn open(
        &self,
        partition: usize,
        schema: SchemaRef,
    ) -> BoxFuture<'static, Result<Vec<SendableRecordBatchStream>>> {
        let pieces = self.pieces(partition);
        let puller = self.puller.clone();
        let counters = self.counters.get(partition).cloned().unwrap_or_default();
        async move {
            let mut streams = Vec::new();
            for piece in pieces {
                streams.extend(
                    puller
                        .open(piece, Arc::clone(&schema), Arc::clone(&counters))
                        .await?,
                );
            }
            Ok(streams)
        }
        .boxed()
    }
}
