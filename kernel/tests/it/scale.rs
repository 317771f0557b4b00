//! The size that the design is for: 1,000 workers, 200 stages of 1,000 partitions each, or 100,000 in one. `--nocapture` shows how fast it went.

use std::collections::VecDeque;
use std::time::Instant;

use sarsen_kernel::controller::{ControllerAction, ControllerEvent, ControllerKernel, Footprint, Limits};
use sarsen_kernel::ids::{Epoch, PartitionNumber};
use sarsen_kernel::query::{QueryDefinition, StageDefinition};
use sarsen_kernel::shuffle::{OutputSizes, PartitionSize, RangeTarget, ShuffleKind};

use crate::builders::{from, hash, select, split, splits_of, stage};
use crate::tester::keys;

const WORKERS: u32 = 1_000;
const STAGES: u32 = 200;
const PARTITIONS: u32 = 100_000;

/// A chain of stages; every tenth sorts, the others hash, into `partitions` each.
fn query(stages: u32, partitions: u32) -> QueryDefinition {
    let of = |number: u32| -> StageDefinition {
        let input = match number {
            0 => splits_of((0..10 * WORKERS).map(|_| split(vec![0; 100], 1 << 20)).collect()),
            _ => from(number - 1),
        };
        let kind = match number % 10 {
            9 => ShuffleKind::GlobalSort(RangeTarget::MaxCount(partitions)),
            _ => hash(partitions),
        };
        StageDefinition {
            max_worker_count: WORKERS,
            ..stage(vec![input], kind)
        }
    };
    select((0..stages).map(of).collect())
}

/// What happened while the query ran to its end.
#[derive(Default)]
struct Run {
    events: u64,
    /// The most of each kind of thing that the kernel ever held.
    most: Footprint,
    cleaned: u64,
    orders: u64,
    /// Of the last stage.
    last: u64,
    statistics: u64,
}

fn run(query: QueryDefinition) -> Run {
    let limits = Limits {
        max_partitions: u64::from(PARTITIONS),
        ..Limits::default()
    };
    let mut kernel = ControllerKernel::new(query.clone(), limits, WORKERS, Epoch(1)).unwrap();
    let mut events = VecDeque::from([ControllerEvent::Started]);
    let mut run = Run::default();
    let ready = |order: sarsen_kernel::ids::WorkOrderId| {
        // Each has rows for a few partitions.
        let size = PartitionSize {
            rows: 10,
            bytes: 1_000,
        };
        let sizes: OutputSizes = (0..4)
            .map(|n| (PartitionNumber((order.worker.0 + n) % 500), size))
            .collect();
        ControllerEvent::OutputReady { order, sizes }
    };
    while let Some(event) = events.pop_front() {
        run.events += 1;
        let stage_ends =
            matches!(&event, ControllerEvent::OutputReady { order, .. } if order.worker.0 == 900);
        for action in kernel.handle(event, 1) {
            match action {
                ControllerAction::LaunchWorker { worker, incarnation } => {
                    events.push_back(ControllerEvent::WorkerReady { worker, incarnation });
                }
                ControllerAction::SendWorkOrder { order, .. } => {
                    let sorts = order.id.stage.0 % 10 == 9;
                    run.orders += 1;
                    run.last += u64::from(order.id.stage.0 as usize + 1 == query.stages.len());
                    run.statistics += u64::from(sorts);
                    events.push_back(match sorts {
                        true => ControllerEvent::Statistics {
                            order: order.id,
                            statistics: keys(
                                u64::from(order.id.worker.0) * 50..u64::from(order.id.worker.0 + 1) * 50,
                            ),
                        },
                        false => ready(order.id),
                    });
                }
                ControllerAction::SendBoundaries { order, .. } => events.push_back(ready(order)),
                ControllerAction::ReadResults { .. } => events.push_back(ControllerEvent::ResultsRead),
                ControllerAction::CleanUpOutput { .. } => run.cleaned += 1,
                ControllerAction::QueryFinished { result } => assert_eq!(result, Ok(())),
                _ => {}
            }
        }
        if stage_ends {
            let now = kernel.footprint();
            run.most.weights = run.most.weights.max(now.weights);
            run.most.samples = run.most.samples.max(now.samples);
            run.most.attempts = run.most.attempts.max(now.attempts);
            run.most.orders = run.most.orders.max(now.orders);
        }
    }
    assert!(kernel.is_finished());
    run
}

#[test]
fn a_thousand_workers_and_two_hundred_stages_cost_no_more_than_their_events() {
    let started = Instant::now();
    let done = run(query(STAGES, WORKERS));
    let seconds = started.elapsed().as_secs_f64();
    // One for the start, for each worker, for each order, for each order's statistics, and for the results.
    let expected = 2 + u64::from(WORKERS) + done.orders + done.statistics;
    assert_eq!(done.events, expected);
    assert!(
        done.orders > u64::from(WORKERS * STAGES * 9 / 10),
        "{}",
        done.orders
    );
    assert_eq!(done.cleaned + done.last, done.orders);
    // What it holds is one record an order, and of partitions and attempts those of the stages at work.
    assert!(done.most.orders <= (WORKERS * STAGES) as usize);
    assert!(done.most.weights <= 3 * WORKERS as usize, "{:?}", done.most);
    assert!(done.most.samples == 0, "{:?}", done.most);
    assert!(
        done.most.attempts <= (WORKERS * STAGES) as usize,
        "{:?}",
        done.most
    );
    eprintln!(
        "{} events in {seconds:.1} s: {:.0} a second",
        done.events,
        done.events as f64 / seconds
    );
}

#[test]
fn a_hundred_thousand_partitions_of_one_stage_are_shared_by_its_readers() {
    let started = Instant::now();
    let done = run(query(3, PARTITIONS));
    assert!(done.most.weights <= 2 * PARTITIONS as usize, "{:?}", done.most);
    eprintln!(
        "{} events in {:.1} s",
        done.events,
        started.elapsed().as_secs_f64()
    );
}
