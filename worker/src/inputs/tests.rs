//! Consumers and slow producers, which note who is asked and how many streams are open.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::flight_service_server::FlightServiceServer;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::join_all;
use object_store::memory::InMemory;
use sarsen_engine::ShuffleReadExec;
use sarsen_engine::input::FragmentInput;
use sarsen_kernel::ids::{Attempt, Incarnation};
use sarsen_kernel::shuffle::{KeyColumn, NullOrder, SortOrder};
use sarsen_proto::flow::OPEN_PULLS;
use sarsen_proto::transport::{Network, serve};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use super::*;
use crate::flight::ShuffleFlight;
use crate::shuffle::output::StoreMemory;
use crate::shuffle::tests::batch;
use crate::shuffle::{BlockStore, Held, Output, OutputKey, PartitionData, Run, ShuffleStore};
use crate::ticket::TicketKey;

const QUERY: &str = "q";
const STAGE: StageNumber = StageNumber(0);

/// What producers were asked.
#[derive(Default)]
struct Notes {
    asked: Vec<u32>,
    open: usize,
    most_open: usize,
}

/// A Flight service that takes its time.
#[derive(Clone)]
struct Slow {
    producer: u32,
    notes: Arc<Mutex<Notes>>,
    service: FlightServiceServer<ShuffleFlight>,
}

impl Service<Request<tonic::body::Body>> for Slow {
    type Response = Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let mut this = self.clone();
        async move {
            {
                let mut notes = this.notes.lock().unwrap();
                notes.asked.push(this.producer);
                notes.open += 1;
                notes.most_open = notes.most_open.max(notes.open);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            let answer = this.service.call(request).await;
            this.notes.lock().unwrap().open -= 1;
            answer
        }
        .boxed()
    }
}

impl NamedService for Slow {
    const NAME: &'static str = <FlightServiceServer<ShuffleFlight> as NamedService>::NAME;
}

/// Producers of one stage, each a process of its own to its consumers.
struct Stage {
    network: Network,
    ticket_key: TicketKey,
    stores: Vec<ShuffleStore>,
    producers: Vec<Producer>,
    notes: Arc<Mutex<Notes>>,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// `partitions` of `runs` runs each; run `r` of producer `p` holds the rows `(p * runs + r) * 3` and the two next.
    async fn of(producers: u32, partitions: usize, runs: i64) -> Stage {
        let mut stage = Stage {
            network: Network::default(),
            ticket_key: TicketKey::random().unwrap(),
            stores: Vec::new(),
            producers: Vec::new(),
            notes: Arc::default(),
            _folder: tempfile::tempdir().unwrap(),
        };
        for producer in 0..producers {
            let (address, binding) = stage
                .network
                .bind(&format!("inproc://p{producer}"))
                .await
                .unwrap();
            let memory = StoreMemory::new(usize::MAX, u64::MAX);
            let blocks = BlockStore::new(memory, stage._folder.path().join("f"), Arc::default());
            let run = |run: i64| {
                let first = (i64::from(producer) * runs + run) * 3;
                let block = blocks.put(batch(first..first + 3)).unwrap();
                Run { blocks: vec![block] }
            };
            let partition = |_| PartitionData {
                runs: (0..runs).map(run).collect(),
            };
            let output = Output {
                schema: batch(0..1).schema(),
                partitions: (0..partitions).map(partition).collect(),
            };
            let key = OutputKey {
                query_id: QUERY.to_owned(),
                order: WorkOrderId {
                    stage: STAGE,
                    worker: WorkerNumber(producer),
                    attempt: Attempt(0),
                },
            };
            let store = ShuffleStore::default();
            let held = Held {
                output: Arc::new(output),
                ticket_key: stage.ticket_key.clone(),
            };
            store.insert(key, held);
            let slow = Slow {
                producer,
                notes: Arc::clone(&stage.notes),
                service: ShuffleFlight::new(store.clone(), Arc::default()).into_service(),
            };
            let mut routes = tonic::service::RoutesBuilder::default();
            routes.add_service(slow);
            tokio::spawn(serve(binding, routes.routes(), CancellationToken::new()));
            stage.stores.push(store);
            stage.producers.push(Producer {
                worker: WorkerNumber(producer),
                incarnation: Incarnation(0),
                attempt: Attempt(0),
                address,
            });
        }
        stage
    }

    /// Reads all partitions of this stage.
    fn reader(&self, consumer: Consumer) -> StageReader {
        let partitions = self.stores[0].get(&OutputKey {
            query_id: QUERY.to_owned(),
            order: WorkOrderId {
                stage: STAGE,
                worker: WorkerNumber(0),
                attempt: Attempt(0),
            },
        });
        let partitions = partitions.unwrap().output.partitions.len();
        StageReader {
            puller: Puller::new(
                self.network.clone(),
                None,
                self.ticket_key.clone(),
                Arc::new(InMemory::new()),
            ),
            query_id: QUERY.to_owned(),
            stage: STAGE,
            partitions: (0..partitions)
                .map(|partition| PartitionNumber(u32::try_from(partition).unwrap()))
                .collect(),
            producers: self.producers.clone(),
            sorted: false,
            consumer,
            merged: false,
            counters: Vec::new(),
        }
    }

    fn take_asked(&self) -> Vec<u32> {
        std::mem::take(&mut self.notes.lock().unwrap().asked)
    }
}

/// Values of the column `row`.
fn row_numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let values = |batch: &RecordBatch| batch.column(2).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(values).collect()
}

/// Rows of one partition as a fragment reads them.
async fn read(reader: StageReader, partition: usize, merge_key: &[KeyColumn]) -> Vec<i64> {
    let leaf = ShuffleReadExec::new(0, batch(0..1).schema(), merge_key.to_vec(), 1);
    let leaf = leaf.bind(&FragmentInput::Shuffle(Arc::new(reader))).unwrap();
    let rows = leaf.execute(partition, Arc::new(TaskContext::default())).unwrap();
    row_numbers(&rows.try_collect::<Vec<_>>().await.unwrap())
}

fn by_row() -> [KeyColumn; 1] {
    [KeyColumn {
        index: 2,
        name: "row".to_owned(),
        order: SortOrder::Ascending,
        nulls: NullOrder::First,
    }]
}

#[tokio::test]
async fn a_process_has_64_streams_open_at_the_most_and_its_merges_of_more_runs_end() {
    let stage = Stage::of(2, 1, 100).await;
    let key = by_row();
    let merges = (0..3).map(|worker| {
        let reader = StageReader {
            sorted: true,
            ..stage.reader(Consumer::OneOfMany(WorkerNumber(worker)))
        };
        read(reader, 0, &key)
    });
    let merged = tokio::time::timeout(Duration::from_secs(60), join_all(merges)).await;
    let all: Vec<i64> = (0..600).collect();
    for rows in merged.unwrap() {
        assert_eq!(rows, all);
    }
    assert_eq!(stage.notes.lock().unwrap().most_open, OPEN_PULLS);
}

#[tokio::test]
async fn rows_of_the_same_process_need_no_stream() {
    let stage = Stage::of(2, 1, 1).await;
    let open = join_all((0..OPEN_PULLS).map(|_| stage.network.begin_pull())).await;
    let of_producer = |producer: usize| StageReader {
        puller: Puller::new(
            stage.network.clone(),
            Some((stage.producers[0].address.clone(), stage.stores[0].clone())),
            stage.ticket_key.clone(),
            Arc::new(InMemory::new()),
        ),
        producers: vec![stage.producers[producer].clone()],
        ..stage.reader(Consumer::Alone)
    };
    assert_eq!(read(of_producer(0), 0, &[]).await, [0, 1, 2]);
    let remote = tokio::spawn(read(of_producer(1), 0, &[]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!remote.is_finished());
    assert_eq!(stage.network.open_pulls(), OPEN_PULLS);
    assert_eq!(stage.take_asked(), [0; 0]);
    drop(open);
    assert_eq!(remote.await.unwrap(), [3, 4, 5]);
    assert_eq!(stage.network.open_pulls(), 0);
}

#[tokio::test]
async fn each_consumer_begins_with_another_producer() {
    let stage = Stage::of(3, 2, 1).await;
    let mut first = BTreeMap::<u32, usize>::new();
    for worker in 0..3 {
        for partition in 0..2 {
            let reader = stage.reader(Consumer::OneOfMany(WorkerNumber(worker)));
            let mut rows = read(reader, partition, &[]).await;
            let begin = (worker + u32::try_from(partition).unwrap()) % 3;
            let turns = [begin, (begin + 1) % 3, (begin + 2) % 3];
            assert_eq!(
                stage.take_asked(),
                turns,
                "worker {worker}, partition {partition}"
            );
            assert_eq!(rows[0], i64::from(begin) * 3);
            rows.sort_unstable();
            assert_eq!(rows, (0..9).collect::<Vec<_>>());
            *first.entry(begin).or_default() += 1;
        }
    }
    assert_eq!(first.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    // A broadcast is read whole by each.
    let reader = StageReader {
        merged: true,
        ..stage.reader(Consumer::OneOfMany(WorkerNumber(1)))
    };
    assert_eq!(read(reader, 0, &[]).await.len(), 18);
    assert_eq!(stage.take_asked(), [1, 2, 0, 1, 2, 0]);
}

#[tokio::test]
async fn sorted_runs_are_fetched_in_turns_and_merged_in_the_order_of_producers() {
    let stage = Stage::of(3, 1, 2).await;
    let reader = StageReader {
        sorted: true,
        ..stage.reader(Consumer::OneOfMany(WorkerNumber(2)))
    };
    let streams = reader.open(0, batch(0..1).schema()).await.unwrap();
    assert_eq!(stage.take_asked(), [2, 0, 1]);
    let mut firsts = Vec::new();
    for stream in streams {
        firsts.push(row_numbers(&stream.try_collect::<Vec<_>>().await.unwrap())[0]);
    }
    assert_eq!(firsts, [0, 3, 6, 9, 12, 15]);
}

#[tokio::test]
async fn who_reads_alone_reads_in_the_order_of_producers() {
    let stage = Stage::of(3, 2, 1).await;
    for partition in 0..2 {
        let rows = read(stage.reader(Consumer::Alone), partition, &[]).await;
        assert_eq!(rows, (0..9).collect::<Vec<_>>());
        assert_eq!(stage.take_asked(), [0, 1, 2]);
    }
}
