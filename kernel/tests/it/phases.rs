//! One behaviour each, at each phase of a stage: the ordinary way, cancellation, late and doubled events, failures, the
//! end and cleaning up. What a loss undoes is in `recovery`.

use sarsen_kernel::controller::{ControllerAction, ControllerEvent, Limits, StagePhase};
use sarsen_kernel::ids::{Incarnation, StageNumber, WorkerNumber};
use sarsen_kernel::query::QueryDefinition;
use sarsen_kernel::shuffle::{Boundaries, OutputSizes, PartitionCount, RangeTarget, ShuffleKind};
use sarsen_kernel::work_order::InputSlice;

use crate::builders::*;
use crate::tester::{Tester, chunks, cleaned, finished_workers, keys, launched, sent, stopped};

const EVERY_PHASE: [StagePhase; 8] = [
    StagePhase::New,
    StagePhase::ReadingInput,
    StagePhase::MergingStatistics,
    StagePhase::PostReading,
    StagePhase::ResultsReady,
    StagePhase::Finished,
    StagePhase::Retrying,
    StagePhase::Failed,
];

/// Leaf → sort → mix, on three workers.
fn sorting() -> QueryDefinition {
    let sort = ShuffleKind::GlobalSort(RangeTarget::MaxCount(3));
    select(vec![
        stage(vec![splits(3)], hash(3)),
        stage(vec![from(0)], sort),
        stage(vec![from(1)], ShuffleKind::Mix),
    ])
}

/// The sorting stage of [`sorting`] at a phase.
fn at(phase: StagePhase) -> Tester {
    let mut tester = Tester::new(sorting(), 3);
    tester.bring(1, phase);
    tester
}

fn ingesting() -> Tester {
    let bucket = ShuffleKind::Bucket { target_rows: 5 };
    Tester::new(
        ingest(vec![stage(vec![splits(2)], bucket), segments(vec![from(0)])]),
        2,
    )
}

#[test]
fn nothing_happens_before_the_start() {
    let mut tester = Tester::unstarted(sorting(), Limits::default(), 3);
    let worker = WorkerNumber(0);
    let incarnation = Incarnation(0);
    assert_eq!(
        tester.event(ControllerEvent::WorkerReady { worker, incarnation }),
        []
    );
    assert_eq!(tester.event(ControllerEvent::Tick), []);
    assert_eq!(
        tester.event(ControllerEvent::WorkerLost {
            worker,
            incarnation,
            reason: worker_failed()
        }),
        []
    );
    assert_eq!(
        launched(&tester.event(ControllerEvent::Started)),
        [(0, 0), (1, 0), (2, 0)]
    );
    assert_eq!(
        tester.event(ControllerEvent::Started),
        [],
        "a second start is a late one"
    );
}

#[test]
fn an_order_is_sent_when_its_worker_is_ready() {
    let mut tester = Tester::unstarted(sorting(), Limits::default(), 3);
    tester.event(ControllerEvent::Started);
    assert_eq!(sent(&tester.ready(1)), [order(0, 1, 0)]);
    assert_eq!(sent(&tester.ready(1)), [], "and only once");
    assert_eq!(sent(&tester.ready(0)), [order(0, 0, 0)]);
}

#[test]
fn a_stage_begins_when_all_its_inputs_are_complete() {
    let mut tester = Tester::new(sorting(), 3);
    tester.output(0, 0, sizes(3, 10));
    assert_eq!(sent(&tester.output(0, 2, sizes(3, 10))), []);
    assert_eq!(
        sent(&tester.output(0, 1, sizes(3, 10))),
        [order(1, 0, 0), order(1, 1, 0), order(1, 2, 0)]
    );
    assert_eq!(
        (tester.phase(0), tester.phase(1)),
        (StagePhase::ResultsReady, StagePhase::ReadingInput)
    );
}

#[test]
fn every_partition_is_read_by_one_worker_from_all_producers() {
    let tester = at(StagePhase::ReadingInput);
    let mut read = Vec::new();
    for worker in tester.workers_of(1) {
        let order = &tester.sent[&(1, worker)];
        let InputSlice::Partitions {
            stage,
            partitions,
            producers,
            merged,
            sorted,
        } = &order.inputs[0]
        else {
            panic!("reads a stage")
        };
        assert_eq!(
            (*stage, *merged, *sorted, producers.len()),
            (StageNumber(0), false, false, 3)
        );
        read.extend(partitions.iter().map(|partition| partition.0));
    }
    assert_eq!(read, [0, 1, 2]);
}

#[test]
fn a_broadcast_is_read_whole_by_every_worker() {
    let join = stage(vec![splits(3), broadcast_from(0)], ShuffleKind::Mix);
    let mut tester = Tester::new(
        select(vec![stage(vec![splits(2)], ShuffleKind::Broadcast), join]),
        3,
    );
    tester.outputs(0);
    assert_eq!(tester.workers_of(1), [0, 1, 2]);
    for worker in 0..3 {
        let InputSlice::Partitions {
            partitions,
            merged,
            producers,
            ..
        } = &tester.sent[&(1, worker)].inputs[1]
        else {
            panic!("reads a stage")
        };
        assert_eq!((partitions.len(), *merged, producers.len()), (1, true, 2));
    }
}

#[test]
fn a_stage_has_no_more_workers_than_it_has_units_of_input() {
    assert_eq!(
        Tester::new(select(vec![stage(vec![splits(2)], ShuffleKind::Mix)]), 5).workers_of(0),
        [0, 1]
    );
    assert_eq!(
        Tester::new(select(vec![stage(vec![splits(0)], ShuffleKind::Mix)]), 5).workers_of(0),
        [0]
    );
    let mut narrow = stage(vec![splits(9)], ShuffleKind::Mix);
    narrow.max_worker_count = 3;
    assert_eq!(Tester::new(select(vec![narrow]), 5).workers_of(0), [0, 1, 2]);
}

#[test]
fn boundaries_are_cut_when_the_last_order_has_counted() {
    let mut tester = at(StagePhase::MergingStatistics);
    assert_eq!(tester.phase(1), StagePhase::ReadingInput);
    let actions = tester.counted(1, 2, keys(10..20));
    assert_eq!(tester.phase(1), StagePhase::PostReading);
    let told: Vec<u32> = actions
        .iter()
        .map(|action| match action {
            ControllerAction::SendBoundaries { order, boundaries }
                if matches!(boundaries.as_ref(), Boundaries::Ranges(ranges) if ranges.len() == 3) =>
            {
                order.worker.0
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [0, 1, 2]);
}

#[test]
fn a_heavy_key_is_warned_of_once() {
    let mut tester = at(StagePhase::MergingStatistics);
    let actions = tester.counted(1, 2, keys([5; 100]));
    let warnings = actions
        .iter()
        .filter(|action| matches!(action, ControllerAction::Warn { .. }))
        .count();
    assert_eq!(warnings, 1);
}

#[test]
fn an_output_without_boundaries_completes_its_order() {
    let mut tester = Tester::new(sorting(), 3);
    tester
        .bring(0, StagePhase::ReadingInput)
        .bring(0, StagePhase::ResultsReady);
    assert_eq!(tester.phase(1), StagePhase::ReadingInput);
}

#[test]
fn outputs_are_cleaned_when_all_their_readers_are_complete() {
    let mut tester = at(StagePhase::PostReading);
    assert_eq!(cleaned(&tester.output(1, 0, sizes(3, 10))), []);
    assert_eq!(cleaned(&tester.output(1, 1, sizes(3, 10))), []);
    let actions = tester.output(1, 2, sizes(3, 10));
    assert_eq!(
        cleaned(&actions),
        [order(0, 0, 0), order(0, 1, 0), order(0, 2, 0)]
    );
    assert_eq!(tester.phase(0), StagePhase::Finished);
}

#[test]
fn outputs_are_kept_while_a_second_reader_is_not_complete() {
    let diamond = select(vec![
        stage(vec![splits(1)], hash(2)),
        stage(vec![from(0)], ShuffleKind::Mix),
        stage(vec![from(0), broadcast_from(1)], ShuffleKind::Mix),
    ]);
    let mut tester = Tester::new(diamond, 1);
    tester.outputs(0);
    assert_eq!(cleaned(&tester.outputs(1)), []);
    assert_eq!(cleaned(&tester.outputs(2)), [order(0, 0, 0), order(1, 0, 0)]);
}

#[test]
fn results_are_read_when_the_last_stage_is_complete() {
    let mut tester = at(StagePhase::ResultsReady);
    let actions = tester.outputs(2);
    assert!(
        actions.contains(&ControllerAction::ReadResults {
            orders: tester
                .workers_of(2)
                .into_iter()
                .map(|worker| order(2, worker, 0))
                .collect(),
            partitions: 1,
            sorted: false,
        })
    );
    assert_eq!(tester.code(), "running");
    let actions = tester.event(ControllerEvent::ResultsRead);
    assert_eq!(finished_workers(&actions), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(tester.code(), "success");
    assert_eq!(tester.phase(2), StagePhase::Finished);
}

#[test]
fn segments_are_published_when_all_are_written() {
    let mut tester = ingesting();
    tester.counted(0, 0, chunks(&[(1, 6)]));
    tester.counted(0, 1, chunks(&[(1, 4), (2, 1)]));
    tester.outputs(0);
    tester.output(1, 0, OutputSizes::new());
    let actions = tester.output(1, 1, OutputSizes::new());
    assert!(actions.contains(&ControllerAction::Publish {
        orders: vec![order(1, 0, 0), order(1, 1, 0)]
    }));
    tester.event(ControllerEvent::Published);
    assert_eq!(tester.code(), "success");
}

#[test]
fn a_failed_publish_fails_the_query() {
    let mut tester = ingesting();
    tester.bring(1, StagePhase::ResultsReady);
    let fault = sarsen_kernel::fault::Fault::InsertLockPreempted {}.into();
    let actions = tester.event(ControllerEvent::PublishFailed { fault });
    assert_eq!(tester.code(), "InsertLockPreempted");
    assert_eq!(finished_workers(&actions), [(0, 0), (1, 0)]);
    assert_eq!(tester.phase(1), StagePhase::Failed);
}

#[test]
fn only_its_own_end_ends_a_query() {
    let mut tester = ingesting();
    tester.bring(1, StagePhase::ResultsReady);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(
        tester.code(),
        "running",
        "segments are not published by being read"
    );
    let mut tester = at(StagePhase::ResultsReady);
    tester.outputs(2);
    tester.event(ControllerEvent::Published);
    assert_eq!(tester.code(), "running");
    let mut tester = at(StagePhase::ReadingInput);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "running", "nothing was handed over");
}

#[test]
fn cancelling_at_any_phase_finishes_all_workers_and_tells_the_end_once() {
    for phase in EVERY_PHASE {
        if phase == StagePhase::Failed {
            continue;
        }
        let mut tester = at(phase);
        let actions = tester.cancel();
        assert_eq!(finished_workers(&actions).len(), 3, "{phase:?}");
        assert_eq!(tester.code(), "Canceled", "{phase:?}");
        let ended = if phase == StagePhase::New {
            StagePhase::New
        } else {
            StagePhase::Failed
        };
        let ended = if phase == StagePhase::Finished {
            StagePhase::Finished
        } else {
            ended
        };
        assert_eq!(tester.phase(1), ended, "{phase:?}");
        assert_eq!(tester.cancel(), [], "{phase:?}");
        assert_eq!(tester.kernel.next_deadline(), None);
    }
}

#[test]
fn a_query_that_is_cancelled_before_its_start_finishes_nobody() {
    let mut tester = Tester::unstarted(sorting(), Limits::default(), 3);
    assert_eq!(finished_workers(&tester.cancel()), []);
    assert_eq!(tester.code(), "Canceled");
}

#[test]
fn nothing_follows_after_the_end() {
    let mut tester = at(StagePhase::Failed);
    assert_eq!(tester.lose(0), []);
    assert_eq!(tester.ready(0), []);
    assert_eq!(tester.outputs(1), []);
    assert_eq!(tester.event(ControllerEvent::Tick), []);
}

/// All that a worker may say of an attempt.
fn reports(order: sarsen_kernel::ids::WorkOrderId) -> Vec<ControllerEvent> {
    vec![
        ControllerEvent::Statistics {
            order,
            statistics: keys(0..5),
        },
        ControllerEvent::OutputReady {
            order,
            sizes: sizes(3, 1),
        },
        ControllerEvent::WorkOrderFailed {
            order,
            fault: unknown_error(),
        },
        ControllerEvent::WorkOrderFailed {
            order,
            fault: worker_failed(),
        },
        ControllerEvent::OutputUnavailable {
            consumer: Some(order),
            producer: self::order(0, 0, 0),
        },
        ControllerEvent::OutputUnavailable {
            consumer: None,
            producer: order,
        },
    ]
}

#[test]
fn a_late_attempt_changes_nothing_at_any_phase() {
    for phase in EVERY_PHASE {
        let mut tester = Tester::new(sorting(), 3);
        tester.bring(1, StagePhase::ReadingInput);
        let late = tester.order(1, 0);
        tester.replace(0);
        tester.outputs(0);
        if phase > StagePhase::ReadingInput && phase != StagePhase::Retrying {
            tester.bring(1, phase);
        }
        for event in reports(late) {
            let before = tester.kernel.stage_view(StageNumber(1));
            assert_eq!(tester.event(event.clone()), [], "{phase:?} {event:?}");
            assert_eq!(
                tester.kernel.stage_view(StageNumber(1)),
                before,
                "{phase:?} {event:?}"
            );
        }
    }
}

#[test]
fn a_doubled_report_changes_nothing() {
    let mut tester = at(StagePhase::PostReading);
    assert_eq!(tester.counted(1, 0, keys(50..60)), []);
    tester.output(1, 0, sizes(3, 10));
    assert_eq!(tester.output(1, 0, sizes(3, 99)), []);
    assert_eq!(tester.counted(1, 0, keys(50..60)), []);
    let failed = tester.order(1, 0);
    assert_eq!(
        tester.event(ControllerEvent::WorkOrderFailed {
            order: failed,
            fault: unknown_error()
        }),
        []
    );
    assert_eq!(tester.code(), "running");
}

#[test]
fn reports_of_orders_that_do_not_exist_change_nothing() {
    let mut tester = at(StagePhase::ReadingInput);
    for unknown in [order(9, 0, 0), order(1, 9, 0), order(1, 0, 9), order(2, 0, 0)] {
        for event in reports(unknown) {
            assert_eq!(tester.event(event), []);
        }
    }
}

#[test]
fn a_fault_of_the_rows_ends_the_query_at_every_running_phase() {
    for phase in [
        StagePhase::ReadingInput,
        StagePhase::MergingStatistics,
        StagePhase::PostReading,
    ] {
        let mut tester = at(phase);
        let failed = tester.order(1, 1);
        let actions = tester.event(ControllerEvent::WorkOrderFailed {
            order: failed,
            fault: unknown_error(),
        });
        assert_eq!(tester.end, Some(Err(unknown_error())), "{phase:?}");
        assert_eq!(finished_workers(&actions).len(), 3);
    }
}

#[test]
fn measured_partitions_follow_the_bytes_that_come_and_are_one_number_in_a_group() {
    let measured = |max| ShuffleKind::Hash {
        partitions: PartitionCount::Measured {
            group: 0,
            target_bytes: 100,
            max,
        },
    };
    let query = || {
        select(vec![
            stage(vec![splits(1)], ShuffleKind::Mix),
            stage(vec![from(0)], measured(8)),
            stage(vec![splits(40)], measured(8)),
            stage(vec![from(1), from(2)], ShuffleKind::Mix),
        ])
    };
    // The leaf of 400 bytes has the most.
    let mut tester = Tester::new(query(), 2);
    tester.output(0, 0, sizes(1, 700));
    let partitions = |tester: &Tester, stage| {
        tester
            .kernel
            .stage_view(StageNumber(stage))
            .unwrap()
            .partition_count
    };
    assert_eq!(
        (partitions(&tester, 1), partitions(&tester, 2)),
        (Some(4), Some(4))
    );
    let mut capped = query();
    capped.stages[2].shuffle = Some(shuffle(measured(3), 0));
    assert_eq!(partitions(&Tester::new(capped, 2), 2), Some(3));
}

#[test]
fn a_small_stage_that_starts_first_does_not_decide_for_a_large_one() {
    let measured = ShuffleKind::Hash {
        partitions: PartitionCount::Measured {
            group: 0,
            target_bytes: 100,
            max: 8,
        },
    };
    let tester = Tester::new(
        select(vec![
            stage(vec![splits(1)], measured.clone()),
            stage(vec![splits(40)], ShuffleKind::Mix),
            stage(vec![from(1)], measured),
            stage(vec![from(0), from(2)], ShuffleKind::Mix),
        ]),
        2,
    );
    let partitions = tester.kernel.stage_view(StageNumber(0)).unwrap().partition_count;
    assert_eq!(partitions, Some(4));
}

#[test]
fn the_next_incarnation_of_a_worker_is_told_nothing_of_what_others_run() {
    let mut tester = Tester::new(select(vec![stage(vec![splits(2)], ShuffleKind::Mix)]), 3);
    let actions = tester.lose(2);
    assert_eq!(
        (launched(&actions), stopped(&actions)),
        (vec![(2, 1)], Vec::new())
    );
    assert_eq!(sent(&tester.ready(2)), []);
}
