//! Reading a stage's output from the processes that hold it. Used by workers for their inputs and by the controller for
//! the rows of a SELECT.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use object_store::ObjectStore;
use prost::Message;
use sarsen_kernel::ids::{PartitionNumber, WorkOrderId};
use sarsen_proto::flow::MAX_PULL_BYTES;
use sarsen_proto::transport::{Network, is_transient};
use sarsen_proto::v1;

use crate::durable::{self, DurableReader};
use crate::flight::MAX_MESSAGE_BYTES;
use crate::shuffle::frames::{self, Frame};
use crate::shuffle::{Output, OutputKey, ShuffleStore};
use crate::ticket::TicketKey;

/// The output of `producer` is not where it should be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the output of {producer} cannot be fetched from {address}: {reason}")]
pub struct OutputUnavailable {
    pub producer: WorkOrderId,
    pub address: String,
    pub reason: String,
}

/// One piece of a partition: what one work order put into it.
#[derive(Debug, Clone)]
pub struct Piece {
    pub query_id: String,
    pub producer: WorkOrderId,
    pub partition: PartitionNumber,
    /// Process that holds it.
    pub address: String,
}

/// Counts what was read.
#[derive(Debug, Default)]
pub struct PullCounters {
    pub rows: AtomicU64,
    pub bytes: AtomicU64,
    pub frames: AtomicU64,
}

impl PullCounters {
    pub(crate) fn count(&self, batch: &RecordBatch) {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes
            .fetch_add(frames::live_bytes(batch) as u64, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads pieces: by reference from this process, over Flight from others.
#[derive(Debug, Clone)]
pub struct Puller {
    network: Network,
    /// This process's own address and store, when it has one.
    local: Option<(String, ShuffleStore)>,
    /// The query's.
    ticket_key: TicketKey,
    durable: DurableReader,
}

/// How often a pull is repeated after the connection broke.
const PULL_ATTEMPTS: u32 = 4;

impl Puller {
    /// `durable` is deep storage, where outputs lie that outlive their workers.
    pub fn new(
        network: Network,
        local: Option<(String, ShuffleStore)>,
        ticket_key: TicketKey,
        durable: Arc<dyn ObjectStore>,
    ) -> Self {
        Puller {
            network,
            local,
            ticket_key,
            durable: DurableReader::new(durable),
        }
    }

    /// One stream per run of the piece.
    ///
    /// # Errors
    /// [`OutputUnavailable`] when nobody serves it.
    pub async fn open(
        &self,
        piece: Piece,
        schema: SchemaRef,
        counters: Arc<PullCounters>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        if let Some(folder) = durable::folder_of(&piece.address) {
            let folder = folder.to_owned();
            return self.durable.open(&folder, piece, schema, counters).await;
        }
        match &self.local {
            Some((address, store)) if *address == piece.address => {
                let key = OutputKey {
                    query_id: piece.query_id.clone(),
                    order: piece.producer,
                };
                let held = store
                    .get(&key)
                    .ok_or_else(|| unavailable(&piece, "this process has no such output"))?;
                Ok(local_streams(&held.output, &piece, &schema, &counters))
            }
            _ => self.remote_streams(piece, schema, counters).await,
        }
    }

    async fn remote_streams(
        &self,
        piece: Piece,
        schema: SchemaRef,
        counters: Arc<PullCounters>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let first = self.pull(&piece, 0, 0, &schema).await?;
        let runs = first.end.runs;
        let mut streams = Vec::new();
        let mut first = Some(first);
        for run in 0..runs {
            let state = RemoteRun {
                puller: self.clone(),
                piece: piece.clone(),
                schema: Arc::clone(&schema),
                run,
                pulled: first.take(),
                counters: Arc::clone(&counters),
            };
            let rows = futures::stream::try_unfold(state, RemoteRun::next);
            streams.push(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows))
                as SendableRecordBatchStream);
        }
        Ok(streams)
    }

    async fn pull(&self, piece: &Piece, run: u32, first_batch: u64, schema: &SchemaRef) -> Result<Pulled> {
        let ticket = self.ticket_key.sign(v1::PartitionTicket {
            query_id: piece.query_id.clone(),
            producer: Some(piece.producer.into()),
            partition: piece.partition.0,
            run,
            first_batch,
            max_bytes: MAX_PULL_BYTES,
            signature: Default::default(),
        });
        let ticket = Ticket {
            ticket: ticket.encode_to_vec().into(),
        };
        let mut attempt = 1;
        let mut pause = std::time::Duration::from_millis(20);
        loop {
            match self.pull_once(piece, ticket.clone(), schema).await {
                Ok(pulled) => return Ok(pulled),
                Err(status) if attempt < PULL_ATTEMPTS && is_transient(&status) => {
                    attempt += 1;
                    tokio::time::sleep(pause).await;
                    pause *= 3;
                }
                Err(status) => return Err(unavailable(piece, status.message())),
            }
        }
    }

    /// Takes one answer whole. This process's share of open streams is held for no longer, and while nothing but the
    /// producer is waited for: neither for whoever wants the rows nor for another stream, so that a merge of any number
    /// of runs comes to its end.
    async fn pull_once(
        &self,
        piece: &Piece,
        ticket: Ticket,
        schema: &SchemaRef,
    ) -> Result<Pulled, tonic::Status> {
        let _open = self.network.begin_pull().await;
        let channel = self
            .network
            .streaming_channel(&piece.address)
            .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let mut client = FlightServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut messages = client.do_get(ticket).await?.into_inner();
        let mut pulled = Pulled {
            batches: VecDeque::new(),
            end: v1::PullEnd::default(),
        };
        while let Some(message) = messages.message().await? {
            if !message.app_metadata.is_empty() {
                pulled.end = v1::PullEnd::decode(message.app_metadata)
                    .map_err(|error| tonic::Status::data_loss(error.to_string()))?;
                return Ok(pulled);
            }
            let frame = Frame {
                header: message.data_header,
                body: message.data_body,
            };
            let batch = frames::decode(&frame, Arc::clone(schema))
                .map_err(|error| tonic::Status::data_loss(error.to_string()))?;
            pulled.batches.push_back(batch);
        }
        Err(tonic::Status::unavailable(
            "the answer ended before its end was said",
        ))
    }
}

/// One answer to a pull.
#[derive(Debug)]
struct Pulled {
    batches: VecDeque<RecordBatch>,
    end: v1::PullEnd,
}

#[derive(Debug)]
struct RemoteRun {
    puller: Puller,
    piece: Piece,
    schema: SchemaRef,
    run: u32,
    pulled: Option<Pulled>,
    counters: Arc<PullCounters>,
}

impl RemoteRun {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            let from = match &mut self.pulled {
                None => 0,
                Some(pulled) => {
                    if let Some(batch) = pulled.batches.pop_front() {
                        self.counters.count(&batch);
                        return Ok(Some((batch, self)));
                    }
                    if pulled.end.end {
                        return Ok(None);
                    }
                    pulled.end.next_batch
                }
            };
            self.pulled = Some(
                self.puller
                    .pull(&self.piece, self.run, from, &self.schema)
                    .await?,
            );
        }
    }
}

fn local_streams(
    output: &Arc<Output>,
    piece: &Piece,
    schema: &SchemaRef,
    counters: &Arc<PullCounters>,
) -> Vec<SendableRecordBatchStream> {
    let runs = output
        .partitions
        .get(piece.partition.0 as usize)
        .map(|partition| partition.runs.clone());
    runs.unwrap_or_default()
        .into_iter()
        .map(|run| {
            let counters = Arc::clone(counters);
            let stored = Arc::clone(&output.schema);
            let rows = futures::stream::iter(run.blocks.into_iter().map(move |block| {
                let batch = block.batch(&stored)?;
                counters.count(&batch);
                Ok(batch)
            }));
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), rows)) as SendableRecordBatchStream
        })
        .collect()
}

pub(crate) fn unavailable(piece: &Piece, reason: &str) -> DataFusionError {
    DataFusionError::External(Box::new(OutputUnavailable {
        producer: piece.producer,
        address: piece.address.clone(),
        reason: reason.to_owned(),
    }))
}
