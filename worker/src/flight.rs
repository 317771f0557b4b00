//! The Flight service: other processes pull partitions from here, a bounded piece at a time.

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::Stream;
use prost::Message;
use sarsen_proto::flow::MAX_PULL_BYTES;
use sarsen_proto::v1;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::{Request, Response, Status, Streaming};

use crate::shuffle::{Output, OutputKey, Run, ShuffleStore};

/// Bytes of a message at the most: one block and its envelope, with room for one large row.
pub const MAX_MESSAGE_BYTES: usize = 96 << 20;

/// Serves a process's shuffle store.
#[derive(Debug, Clone)]
pub struct ShuffleFlight {
    store: ShuffleStore,
    /// Bytes sent since the start.
    sent: Arc<AtomicU64>,
}

impl ShuffleFlight {
    pub fn new(store: ShuffleStore, sent: Arc<AtomicU64>) -> Self {
        ShuffleFlight { store, sent }
    }

    /// The gRPC service.
    pub fn into_service(self) -> FlightServiceServer<Self> {
        FlightServiceServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn pull(&self, ticket: &v1::PartitionTicket) -> Result<Vec<FlightData>, Status> {
        let order = ticket
            .producer
            .as_ref()
            .ok_or_else(|| Status::invalid_argument("the ticket names no producer"))?;
        let key = OutputKey {
            query_id: ticket.query_id.clone(),
            order: order.into(),
        };
        let held = self.store.get(&key).ok_or_else(|| {
            Status::not_found(format!("no output of {} of query {}", key.order, key.query_id))
        })?;
        if !held.ticket_key.signed(ticket) {
            tracing::warn!(query = key.query_id, order = %key.order, "refused a ticket that the query's key has not signed");
            return Err(Status::permission_denied(
                "the ticket is not one of the query's own workers",
            ));
        }
        answer(&held.output, ticket)
    }
}

fn answer(output: &Output, ticket: &v1::PartitionTicket) -> Result<Vec<FlightData>, Status> {
    let empty = Vec::new();
    let runs: &[Run] = output
        .partitions
        .get(ticket.partition as usize)
        .map_or(&empty, |partition| &partition.runs);
    let mut messages = Vec::new();
    let mut next_batch = ticket.first_batch;
    let mut sent = 0;
    let blocks = runs
        .get(ticket.run as usize)
        .map(|run| run.blocks.as_slice())
        .unwrap_or_default();
    let first = usize::try_from(ticket.first_batch).unwrap_or(usize::MAX);
    let max_bytes = u64::from(ticket.max_bytes.min(MAX_PULL_BYTES));
    for block in blocks.iter().skip(first) {
        if sent > 0 && sent + block.bytes > max_bytes {
            break;
        }
        let frame = block
            .frame()
            .map_err(|error| Status::internal(error.to_string()))?;
        messages.push(FlightData {
            data_header: frame.header,
            data_body: frame.body,
            ..Default::default()
        });
        sent += block.bytes;
        next_batch += 1;
    }
    let end = v1::PullEnd {
        next_batch,
        end: next_batch >= blocks.len() as u64,
        runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
    };
    messages.push(FlightData {
        app_metadata: end.encode_to_vec().into(),
        ..Default::default()
    });
    Ok(messages)
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for ShuffleFlight {
    type DoGetStream = Answer<FlightData>;
    type HandshakeStream = Answer<HandshakeResponse>;
    type ListFlightsStream = Answer<FlightInfo>;
    type DoPutStream = Answer<PutResult>;
    type DoExchangeStream = Answer<FlightData>;
    type DoActionStream = Answer<arrow_flight::Result>;
    type ListActionsStream = Answer<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let ticket = v1::PartitionTicket::decode(request.into_inner().ticket)
            .map_err(|error| Status::invalid_argument(format!("not a partition ticket: {error}")))?;
        let this = self.clone();
        let messages = tokio::task::spawn_blocking(move || this.pull(&ticket))
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        let bytes: usize = messages
            .iter()
            .map(|message| message.data_header.len() + message.data_body.len())
            .sum();
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(Response::new(Box::pin(futures::stream::iter(
            messages.into_iter().map(Ok),
        ))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(only_do_get())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(only_do_get())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(only_do_get())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(only_do_get())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(only_do_get())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(only_do_get())
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(only_do_get())
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(only_do_get())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(only_do_get())
    }
}

fn only_do_get() -> Status {
    Status::unimplemented("workers only serve shuffled partitions, by DoGet")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::shuffle::frames::{self, Frame};
    use crate::shuffle::output::StoreMemory;
    use crate::shuffle::tests::batch;
    use crate::shuffle::{BlockStore, Held, PartitionData};
    use crate::ticket::TicketKey;

    /// Blocks of 500 rows in one run.
    fn output(folder: &std::path::Path, memory_bytes: usize) -> Output {
        let memory = StoreMemory::new(memory_bytes, u64::MAX);
        let store = BlockStore::new(memory, folder.join("f"), Arc::default());
        let blocks = (0..40).map(|number| store.put(batch(number * 500..(number + 1) * 500)).unwrap());
        let run = Run {
            blocks: blocks.collect(),
        };
        Output {
            schema: batch(0..1).schema(),
            partitions: vec![PartitionData { runs: vec![run] }, PartitionData::default()],
        }
    }

    fn pull(
        output: &Output,
        partition: u32,
        first_batch: u64,
        max_bytes: u32,
    ) -> (Vec<FlightData>, v1::PullEnd) {
        let ticket = v1::PartitionTicket {
            partition,
            first_batch,
            max_bytes,
            ..Default::default()
        };
        let mut messages = answer(output, &ticket).unwrap();
        let end = v1::PullEnd::decode(messages.pop().unwrap().app_metadata).unwrap();
        (messages, end)
    }

    #[test]
    fn a_partition_is_pulled_piece_by_piece_from_batch_borders() {
        let folder = tempfile::tempdir().unwrap();
        for memory_bytes in [usize::MAX, 0] {
            let output = output(folder.path(), memory_bytes);
            let block_bytes = frames::live_bytes(&batch(0..500));
            let max_bytes = 3 * block_bytes as u32 + 100;
            let (mut next, mut rows, mut pulls) = (0, 0, 0);
            loop {
                let (messages, end) = pull(&output, 0, next, max_bytes);
                assert!((1..=3).contains(&messages.len()), "{} batches", messages.len());
                for message in messages {
                    let frame = Frame {
                        header: message.data_header,
                        body: message.data_body,
                    };
                    let decoded = frames::decode(&frame, Arc::clone(&output.schema)).unwrap();
                    assert_eq!(decoded, batch(rows..rows + 500));
                    rows += 500;
                }
                next = end.next_batch;
                pulls += 1;
                if end.end {
                    break;
                }
            }
            assert_eq!((rows, next), (20_000, 40));
            assert!(pulls >= 13);
        }
    }

    #[test]
    fn at_least_one_batch_is_sent_and_none_of_an_empty_partition() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path(), usize::MAX);
        assert_eq!(pull(&output, 0, 7, 1).0.len(), 1);
        for (partition, first) in [(1, 0), (0, 40), (9, 0)] {
            let (messages, end) = pull(&output, partition, first, 1);
            assert!(messages.is_empty() && end.end);
        }
    }

    #[tokio::test]
    async fn a_call_answers_eight_megabytes_at_the_most_and_only_to_the_querys_own() {
        let folder = tempfile::tempdir().unwrap();
        let memory = StoreMemory::new(usize::MAX, u64::MAX);
        let store = BlockStore::new(memory, folder.path().join("f"), Arc::default());
        let block = store.put(batch(0..20_000)).unwrap();
        let (block_bytes, blocks) = (block.bytes, vec![block; 20]);
        assert!(20 * block_bytes > 2 * u64::from(MAX_PULL_BYTES));
        let run = Run { blocks };
        let output = Output {
            schema: batch(0..1).schema(),
            partitions: vec![PartitionData { runs: vec![run] }],
        };
        let outputs = ShuffleStore::default();
        let order = v1::WorkOrderRef::default();
        let (ticket_key, other_key) = (TicketKey::random().unwrap(), TicketKey::random().unwrap());
        let key = OutputKey {
            query_id: "q".to_owned(),
            order: (&order).into(),
        };
        let output = Arc::new(output);
        let held = Held {
            output: Arc::clone(&output),
            ticket_key: ticket_key.clone(),
        };
        outputs.insert(key.clone(), held);
        let of_other_query = Held {
            output,
            ticket_key: other_key.clone(),
        };
        let other = OutputKey {
            query_id: "other".to_owned(),
            ..key.clone()
        };
        outputs.insert(other, of_other_query);
        let service = ShuffleFlight::new(outputs.clone(), Arc::default());
        let ticket = v1::PartitionTicket {
            query_id: "q".to_owned(),
            producer: Some(order),
            max_bytes: u32::MAX,
            ..Default::default()
        };
        let ask = async |ticket: v1::PartitionTicket| {
            let ticket = Ticket {
                ticket: ticket.encode_to_vec().into(),
            };
            service
                .do_get(Request::new(ticket))
                .await
                .map(Response::into_inner)
        };
        let code = |answered: Result<_, Status>| answered.map(|_| ()).unwrap_err().code();
        let signed = ticket_key.sign(ticket.clone());
        let answered = ask(signed.clone()).await.unwrap();
        let messages: Vec<_> = futures::StreamExt::collect(answered).await;
        let batches = messages.len() as u64 - 1;
        assert!(
            batches > 1 && batches * block_bytes <= u64::from(MAX_PULL_BYTES),
            "{batches} of {block_bytes} bytes"
        );
        // Guessed, of another query, replayed for another query, and after the query's end.
        assert_eq!(code(ask(ticket.clone()).await), tonic::Code::PermissionDenied);
        assert_eq!(
            code(ask(other_key.sign(ticket)).await),
            tonic::Code::PermissionDenied
        );
        let replayed = v1::PartitionTicket {
            query_id: "other".to_owned(),
            ..signed.clone()
        };
        assert_eq!(code(ask(replayed).await), tonic::Code::PermissionDenied);
        outputs.remove(&key);
        assert_eq!(code(ask(signed).await), tonic::Code::NotFound);
        assert_eq!(
            code(ask(v1::PartitionTicket::default()).await),
            tonic::Code::InvalidArgument
        );
    }
}
