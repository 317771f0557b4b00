//! Cost of the controller's decisions: a query of two shuffled stages over many workers, from its start to its end.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sarsen_kernel::controller::{ControllerAction, ControllerEvent, ControllerKernel, Limits};
use sarsen_kernel::ids::{Epoch, Incarnation, PartitionNumber, QueryId, StageNumber, WorkerNumber};
use sarsen_kernel::query::{
    Delivery, InputDescriptor, InputSplit, ProcessorDescriptor, ProcessorKind, QueryDefinition, QueryKind,
    StageDefinition, StageInput,
};
use sarsen_kernel::shuffle::{
    KeyColumn, NullOrder, PartitionCount, PartitionSize, Release, ShuffleKind, ShuffleSpec, SortOrder,
};

const WORKERS: u32 = 100;

fn stage(number: u32, input: StageInput, kind: ShuffleKind) -> StageDefinition {
    StageDefinition {
        number: StageNumber(number),
        inputs: vec![input],
        fragment: Vec::new(),
        processor: ProcessorDescriptor {
            kind: ProcessorKind::Scan,
            columns: Vec::new(),
            keys: Vec::new(),
            expressions: Vec::new(),
            filter: None,
            limit: None,
            plan: String::new(),
        },
        signature: Vec::new(),
        shuffle: Some(ShuffleSpec {
            kind,
            key: vec![KeyColumn {
                index: 0,
                name: "k".into(),
                order: SortOrder::Ascending,
                nulls: NullOrder::First,
            }],
            bucket_prefix_bytes: 0,
            release: Release::default(),
        }),
        max_worker_count: WORKERS,
        deterministic: true,
        alternative: None,
    }
}

/// A scan of ten splits a worker, hashed into a partition for each worker, twice.
fn query() -> QueryDefinition {
    let hash = || ShuffleKind::Hash {
        partitions: PartitionCount::Fixed(WORKERS),
    };
    let split = |_| InputSplit {
        payload: vec![0; 100],
        bytes: 1 << 20,
        files: 1,
    };
    let splits = StageInput::Splits {
        descriptor: InputDescriptor::Table {
            datasource: "t".into(),
            intervals: Vec::new(),
            filter: None,
        },
        splits: (0..10 * WORKERS).map(split).collect(),
    };
    let from = |stage| StageInput::Stage {
        candidates: vec![StageNumber(stage)],
        delivery: Delivery::Partitioned,
    };
    QueryDefinition {
        query_id: QueryId("q".into()),
        stages: vec![
            stage(0, splits, hash()),
            stage(1, from(0), hash()),
            stage(2, from(1), ShuffleKind::Mix),
        ],
        choices: Vec::new(),
        kind: QueryKind::Select,
        result_signature: Vec::new(),
    }
}

/// Answers every action as healthy workers do; gives back the number of events.
fn run(mut kernel: ControllerKernel) -> u64 {
    let mut events = VecDeque::from([ControllerEvent::Started]);
    let mut handled = 0;
    while let Some(event) = events.pop_front() {
        handled += 1;
        for action in kernel.handle(event, 1) {
            match action {
                ControllerAction::LaunchWorker { worker, incarnation } => {
                    events.push_back(ControllerEvent::WorkerReady { worker, incarnation });
                }
                ControllerAction::SendWorkOrder { order, .. } => {
                    let size = PartitionSize {
                        rows: 10,
                        bytes: 1000,
                    };
                    let sizes = (0..WORKERS).map(|partition| (PartitionNumber(partition), size));
                    events.push_back(ControllerEvent::OutputReady {
                        order: order.id,
                        sizes: sizes.collect(),
                    });
                }
                ControllerAction::ReadResults { .. } => events.push_back(ControllerEvent::ResultsRead),
                _ => {}
            }
        }
    }
    assert!(kernel.is_finished());
    handled
}

fn events(criterion: &mut Criterion) {
    let kernel = || ControllerKernel::new(query(), Limits::default(), WORKERS, Epoch(1)).unwrap();
    let mut group = criterion.benchmark_group("kernel");
    group.throughput(Throughput::Elements(run(kernel())));
    group.sample_size(10);
    group.bench_function("events_of_100_workers", |bencher| {
        bencher.iter_batched(kernel, run, BatchSize::LargeInput)
    });
    group.bench_function("late_event", |bencher| {
        let mut kernel = kernel();
        kernel.handle(ControllerEvent::Started, 1);
        let late = ControllerEvent::WorkerReady {
            worker: WorkerNumber(0),
            incarnation: Incarnation(7),
        };
        bencher.iter(|| kernel.handle(late.clone(), 2));
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
