//! Inputs of a work order as its fragment's leaves read them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use sarsen_engine::input::ShuffleReader;
use sarsen_kernel::ids::{PartitionNumber, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::work_order::Producer;

use crate::pull::{Piece, PullCounters, Puller};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumer {
    /// Nobody else: rows come in the order of producers.
    Alone,
    /// One of a stage's work orders. Each begins with another producer, so that none is hit by all of them at once.
    OneOfMany(WorkerNumber),
}

/// Reads one stage input of a work order.
#[derive(Debug)]
pub struct StageReader {
    pub puller: Puller,
    pub query_id: String,
    pub stage: StageNumber,
    pub partitions: Vec<PartitionNumber>,
    pub producers: Vec<Producer>,
    /// The runs of each piece are sorted, and may be merged.
    pub sorted: bool,
    pub consumer: Consumer,
    /// All partitions are one for the fragment.
    pub merged: bool,
    /// One per partition that the fragment reads.
    pub counters: Vec<Arc<PullCounters>>,
}

impl StageReader {
    /// Pieces of a partition that the fragment reads, in the order of producers.
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

    /// How many pieces stand behind the one that is fetched first. It depends on nothing that another attempt would
    /// change, so that rows come in the same order then.
    fn rotation(&self, partition: usize) -> usize {
        match self.consumer {
            Consumer::Alone => 0,
            Consumer::OneOfMany(worker) => {
                let turn = usize::try_from(worker.0).unwrap_or(0).wrapping_add(partition);
                turn % self.producers.len().max(1)
            }
        }
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
        let reading = Reading {
            puller: self.puller.clone(),
            schema,
            counters: self.counters.get(partition).cloned().unwrap_or_default(),
        };
        let (mut pieces, rotation) = (self.pieces(partition), self.rotation(partition));
        let begin_with = rotation.min(pieces.len());
        pieces.rotate_left(begin_with);
        if self.sorted {
            return async move { reading.all(pieces, begin_with).await }.boxed();
        }
        async move {
            Ok(pieces
                .into_iter()
                .map(|piece| reading.clone().later(piece))
                .collect())
        }
        .boxed()
    }
}

/// How the pieces of one partition are read.
#[derive(Clone)]
struct Reading {
    puller: Puller,
    schema: SchemaRef,
    counters: Arc<PullCounters>,
}

impl Reading {
    async fn open(&self, piece: Piece) -> Result<Vec<SendableRecordBatchStream>> {
        let (schema, counters) = (Arc::clone(&self.schema), Arc::clone(&self.counters));
        self.puller.open(piece, schema, counters).await
    }

    /// The runs of all pieces, which a merge needs at once. They are opened in the order of `pieces` and answered as they
    /// were before `rotation` of them were put behind the others: equal keys stay in the order of producers.
    async fn all(self, pieces: Vec<Piece>, rotation: usize) -> Result<Vec<SendableRecordBatchStream>> {
        let mut opened = Vec::with_capacity(pieces.len());
        for piece in pieces {
            opened.push(self.open(piece).await?);
        }
        opened.rotate_right(rotation);
        Ok(opened.into_iter().flatten().collect())
    }

    /// The rows of a piece, of which nothing is fetched before its turn.
    fn later(self, piece: Piece) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = async move {
            let runs = futures::stream::iter(self.open(piece).await?);
            Ok::<_, datafusion::common::DataFusionError>(runs.flatten())
        };
        Box::pin(RecordBatchStreamAdapter::new(
            schema,
            rows.into_stream().try_flatten(),
        ))
    }
}

#[cfg(test)]
mod tests;
