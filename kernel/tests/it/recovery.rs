//! What a loss undoes, at each phase.

use sarsen_kernel::controller::{ControllerAction, ControllerEvent, Limits, StagePhase};
use sarsen_kernel::ids::{Incarnation, StageNumber, WorkerNumber};
use sarsen_kernel::query::QueryDefinition;
use sarsen_kernel::shuffle::{Boundaries, OutputSizes, RangeTarget, ShuffleKind};
use sarsen_kernel::work_order::{InputSlice, OutputMode};

use crate::builders::*;
use crate::tester::{Tester, chunks, cleaned, finished_workers, keys, launched, sent, stopped};

fn sort() -> ShuffleKind {
    ShuffleKind::GlobalSort(RangeTarget::MaxCount(3))
}

/// Leaf → sort → mix, on three workers.
fn sorting() -> QueryDefinition {
    select(vec![
        stage(vec![splits(3)], hash(3)),
        stage(vec![from(0)], sort()),
        stage(vec![from(1)], ShuffleKind::Mix),
    ])
}

fn at(phase: StagePhase) -> Tester {
    let mut tester = Tester::new(sorting(), 3);
    tester.bring(1, phase);
    tester
}

fn all_outputs(tester: &mut Tester, stages: u32) {
    for _ in 0..3 {
        for stage in 0..stages {
            for worker in tester.workers_of(stage) {
                tester.counted(stage, worker, keys(0..10));
                tester.output(stage, worker, sizes(3, 10));
            }
        }
    }
}

#[test]
fn a_lost_worker_reruns_only_its_partitions() {
    let mut tester = Tester::new(sorting(), 3);
    tester.output(0, 0, sizes(3, 10));
    tester.output(0, 1, sizes(3, 10));
    let actions = tester.lose(1);
    assert_eq!(launched(&actions), [(1, 1)]);
    assert_eq!(stopped(&actions), []);
    assert_eq!(tester.phase(0), StagePhase::Retrying);
    assert_eq!(sent(&tester.ready(1)), [order(0, 1, 1)]);
    assert_eq!(tester.phase(0), StagePhase::ReadingInput);
}

#[test]
fn readers_of_a_lost_output_begin_again_when_it_is_there() {
    let mut tester = at(StagePhase::ReadingInput);
    let actions = tester.lose(1);
    assert_eq!(
        stopped(&actions),
        [order(1, 0, 0), order(1, 2, 0)],
        "the third reader was on the lost worker"
    );
    assert_eq!(sent(&tester.ready(1)), [order(0, 1, 1)]);
    let actions = tester.output(0, 1, sizes(3, 10));
    assert_eq!(
        sent(&actions)
            .iter()
            .map(|order| (order.stage.0, order.worker.0))
            .collect::<Vec<_>>(),
        [(1, 0), (1, 1), (1, 2)]
    );
    let InputSlice::Partitions { producers, .. } = &tester.sent[&(1, 0)].inputs[0] else {
        panic!("reads a stage")
    };
    let read: Vec<(u32, u32)> = producers
        .iter()
        .map(|producer| (producer.attempt.0, producer.incarnation.0))
        .collect();
    assert_eq!(read, [(0, 0), (1, 1), (0, 0)]);
}

#[test]
fn who_has_read_a_lost_output_to_the_end_goes_on() {
    let mut tester = at(StagePhase::MergingStatistics);
    let actions = tester.lose(2);
    assert_eq!(stopped(&actions), [], "the two others have counted");
    assert_eq!(sent(&tester.ready(2)), [order(0, 2, 1)]);
    assert_eq!(sent(&tester.output(0, 2, sizes(3, 10))), [order(1, 2, 1)]);
    let actions = tester.counted(1, 2, keys(0..10));
    let told = actions
        .iter()
        .filter(|action| matches!(action, ControllerAction::SendBoundaries { .. }))
        .count();
    assert_eq!(told, 3);
}

#[test]
fn a_lost_output_that_all_have_read_is_not_made_again() {
    let query = select(vec![
        stage(vec![splits(2)], hash(1)),
        stage(vec![from(0)], sort()),
    ]);
    let mut tester = Tester::new(query, 2);
    tester.outputs(0);
    tester.counted(1, 0, keys(0..1));
    assert_eq!(sent(&tester.replace(1)), []);
    tester.outputs(1);
    assert_eq!(tester.phase(0), StagePhase::Finished);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "success");
}

#[test]
fn a_lost_output_that_all_have_read_is_made_again_when_one_must_read_it_again() {
    let query = select(vec![
        stage(vec![splits(2)], hash(1)),
        stage(vec![from(0)], sort()),
    ]);
    let mut tester = Tester::new(query, 2);
    tester.outputs(0);
    tester.counted(1, 0, keys(0..1));
    tester.replace(1);
    assert_eq!(sent(&tester.replace(0)), [order(0, 1, 1), order(0, 0, 1)]);
    assert_eq!(sent(&tester.outputs(0)), [order(1, 0, 1)]);
}

#[test]
fn boundaries_stand_when_one_order_runs_again() {
    let mut tester = at(StagePhase::PostReading);
    let before = tester.kernel.stage_view(StageNumber(1)).unwrap().boundaries;
    tester.replace(0);
    tester.output(0, 0, sizes(3, 10));
    assert_eq!(tester.order(1, 0), order(1, 0, 1));
    assert_eq!(
        tester.sent[&(1, 0)].boundaries.as_ref(),
        before.as_deref(),
        "known at once"
    );
    tester.outputs(1);
    assert_eq!(tester.phase(1), StagePhase::ResultsReady);
}

#[test]
fn a_reader_that_was_given_its_boundaries_at_once_begins_again_when_its_input_is_lost() {
    let mut tester = at(StagePhase::PostReading);
    tester.replace(0);
    tester.output(0, 0, sizes(3, 10));
    assert_eq!(tester.order(1, 0), order(1, 0, 1));
    // It has boundaries, but has not read its input, half of which dies now.
    let actions = tester.lose(1);
    assert_eq!(stopped(&actions), [order(1, 0, 1)]);
    tester.ready(1);
    tester.output(0, 1, sizes(3, 10));
    assert_eq!(tester.order(1, 0), order(1, 0, 2));
}

#[test]
fn a_cleaned_output_is_made_again_when_it_is_needed_again() {
    let mut tester = at(StagePhase::ResultsReady);
    assert_eq!(tester.phase(0), StagePhase::Finished);
    tester.lose(1);
    let phases = (tester.phase(0), tester.phase(1));
    assert_eq!(
        phases,
        (StagePhase::ReadingInput, StagePhase::Retrying),
        "the others make their parts already"
    );
    tester.ready(1);
    tester.outputs(0);
    assert_eq!(tester.order(1, 1), order(1, 1, 1));
    assert_eq!(tester.order(1, 0), order(1, 0, 0), "its output is still there");
    tester.outputs(1);
    assert_eq!(tester.phase(0), StagePhase::Finished);
}

#[test]
fn a_cleaned_output_that_nobody_needs_is_not_made_again() {
    let query = select(vec![
        stage(vec![splits(1)], ShuffleKind::Mix),
        stage(vec![from(0)], ShuffleKind::Mix),
        stage(vec![splits(3)], ShuffleKind::Mix),
        stage(vec![broadcast_from(1), from(2)], ShuffleKind::Mix),
    ]);
    let mut tester = Tester::new(query, 3);
    tester.outputs(0);
    tester.outputs(1);
    assert_eq!(tester.phase(0), StagePhase::Finished);
    tester.replace(1);
    assert_eq!(tester.phase(0), StagePhase::Finished);
    assert_eq!(tester.order(2, 1), order(2, 1, 1));
}

#[test]
fn losing_a_worker_at_any_phase_still_ends_in_success() {
    for phase in [
        StagePhase::New,
        StagePhase::ReadingInput,
        StagePhase::MergingStatistics,
        StagePhase::PostReading,
        StagePhase::ResultsReady,
        StagePhase::Finished,
        StagePhase::Retrying,
    ] {
        for worker in 0..3 {
            let mut tester = at(phase);
            if tester.kernel.is_finished() {
                continue;
            }
            tester.replace(worker);
            for worker in 0..3 {
                tester.ready(worker);
            }
            all_outputs(&mut tester, 3);
            tester.event(ControllerEvent::ResultsRead);
            assert_eq!(tester.code(), "success", "{phase:?}, worker {worker}");
        }
    }
}

#[test]
fn durable_outputs_outlive_their_worker() {
    let limits = Limits {
        output: OutputMode::Durable,
        ..Limits::default()
    };
    let mut tester = Tester::with_limits(sorting(), limits, 3);
    tester.bring(1, StagePhase::ReadingInput);
    let actions = tester.lose(1);
    assert_eq!(stopped(&actions), []);
    assert_eq!(
        sent(&tester.ready(1)),
        [order(1, 1, 1)],
        "what ran there runs again, what it had made is there"
    );
}

#[test]
fn an_output_that_cannot_be_fetched_is_made_again_and_its_readers_wait() {
    let mut tester = at(StagePhase::ReadingInput);
    let (consumer, producer) = (tester.order(1, 0), tester.order(0, 2));
    let actions = tester.unavailable(consumer, producer);
    assert_eq!(
        stopped(&actions),
        [order(0, 2, 0), order(1, 0, 0), order(1, 1, 0), order(1, 2, 0)]
    );
    assert_eq!(sent(&actions), [order(0, 2, 1)]);
    let other = order(1, 1, 0);
    assert_eq!(
        tester.unavailable(other, producer),
        [],
        "the second complaint is late"
    );
    assert_eq!(sent(&tester.output(0, 2, sizes(3, 10))).len(), 3);
}

#[test]
fn an_output_is_made_so_often_and_no_more() {
    let limits = Limits {
        order_attempts: 3,
        ..Limits::default()
    };
    let mut tester = Tester::with_limits(sorting(), limits, 3);
    tester.bring(1, StagePhase::ReadingInput);
    for run in 1..=3 {
        assert_eq!(tester.code(), "running", "run {run}");
        let (consumer, producer) = (tester.order(1, 0), tester.order(0, 2));
        tester.unavailable(consumer, producer);
        if tester.code() == "running" {
            tester.output(0, 2, sizes(3, 10));
        }
    }
    assert_eq!(tester.code(), "TooManyAttemptsForWorker");
}

#[test]
fn losses_of_workers_do_not_count_as_failures_of_the_orders_that_run_again_for_them() {
    let limits = Limits {
        order_attempts: 3,
        worker_relaunches: 10,
        ..Limits::default()
    };
    let mut tester = Tester::with_limits(sorting(), limits, 3);
    tester.bring(1, StagePhase::ReadingInput);
    for _ in 0..5 {
        tester.replace(2);
        tester.output(0, 2, sizes(3, 10));
    }
    let (consumer, producer) = (tester.order(1, 0), tester.order(0, 2));
    assert_eq!(sent(&tester.unavailable(consumer, producer)).len(), 1);
    assert_eq!(tester.code(), "running");
}

#[test]
fn a_failure_of_the_machine_runs_the_order_again() {
    for phase in [
        StagePhase::ReadingInput,
        StagePhase::MergingStatistics,
        StagePhase::PostReading,
    ] {
        let mut tester = at(phase);
        let failed = tester.order(1, 0);
        let actions = tester.event(ControllerEvent::WorkOrderFailed {
            order: failed,
            fault: worker_failed(),
        });
        assert_eq!(
            (stopped(&actions), sent(&actions)),
            (vec![failed], vec![order(1, 0, 1)]),
            "{phase:?}"
        );
    }
}

#[test]
fn an_order_that_fails_again_and_again_ends_the_query_with_its_root_error() {
    let mut tester = Tester::new(select(vec![stage(vec![splits(1)], ShuffleKind::Mix)]), 1);
    for attempt in 0..8 {
        assert_eq!(tester.code(), "running", "attempt {attempt}");
        tester.event(ControllerEvent::WorkOrderFailed {
            order: order(0, 0, attempt),
            fault: worker_failed(),
        });
    }
    assert_eq!(tester.code(), "TooManyAttemptsForWorker");
    let Some(Err(report)) = &tester.end else {
        panic!("failed")
    };
    assert!(
        report.fault.message().contains("killed"),
        "{}",
        report.fault.message()
    );
}

#[test]
fn a_worker_number_is_launched_three_times_at_the_most() {
    let mut tester = at(StagePhase::ReadingInput);
    tester.replace(1);
    assert_eq!(launched(&tester.lose(1)), [(1, 2)]);
    let actions = tester.lose(1);
    assert_eq!(launched(&actions), []);
    assert_eq!(tester.code(), "TooManyAttemptsForWorker");
    assert_eq!(finished_workers(&actions).len(), 3);
}

#[test]
fn a_job_has_so_many_relaunches_and_no_more() {
    let limits = Limits {
        job_relaunches: 3,
        ..Limits::default()
    };
    let mut tester = Tester::with_limits(sorting(), limits, 3);
    tester.replace(0);
    tester.replace(1);
    tester.replace(2);
    assert_eq!(tester.code(), "running");
    tester.lose(0);
    assert_eq!(tester.code(), "TooManyAttemptsForJob");
}

#[test]
fn a_worker_is_lost_once() {
    let mut tester = at(StagePhase::ReadingInput);
    tester.lose(1);
    let old = ControllerEvent::WorkerLost {
        worker: WorkerNumber(1),
        incarnation: Incarnation(0),
        reason: worker_failed(),
    };
    assert_eq!(tester.event(old), []);
    let old = ControllerEvent::WorkerReady {
        worker: WorkerNumber(1),
        incarnation: Incarnation(0),
    };
    assert_eq!(tester.event(old), [], "and does not come back");
}

#[test]
fn results_are_read_again_when_the_last_stage_was_lost_meanwhile() {
    let mut tester = at(StagePhase::ResultsReady);
    tester.outputs(2);
    let reader = tester.workers_of(2)[0];
    tester.replace(reader);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "running", "the rows that were read are void");
    all_outputs(&mut tester, 2);
    let actions = tester.output(2, reader, sizes(1, 10));
    let again = |action: &ControllerAction| matches!(action, ControllerAction::ReadResults { .. });
    assert_eq!(actions.iter().filter(|action| again(action)).count(), 1);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "success");
}

#[test]
fn results_that_cannot_be_fetched_are_made_again() {
    let mut tester = at(StagePhase::ResultsReady);
    tester.outputs(2);
    let reader = tester.workers_of(2)[0];
    let actions = tester.event(ControllerEvent::OutputUnavailable {
        consumer: None,
        producer: order(2, reader, 0),
    });
    assert_eq!(stopped(&actions), [order(2, reader, 0)]);
    all_outputs(&mut tester, 3);
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "success");
}

fn publishing() -> Tester {
    let bucket = ShuffleKind::Bucket { target_rows: 5 };
    let query = ingest(vec![stage(vec![splits(2)], bucket), segments(vec![from(0)])]);
    let mut tester = Tester::new(query, 2);
    tester.counted(0, 0, chunks(&[(1, 6)]));
    tester.counted(0, 1, chunks(&[(1, 4)]));
    tester.outputs(0);
    tester.output(1, 0, OutputSizes::new());
    tester.output(1, 1, OutputSizes::new());
    tester
}

#[test]
fn a_worker_that_is_lost_during_the_publish_is_not_missed() {
    let mut tester = publishing();
    assert_eq!(tester.lose(0), []);
    assert_eq!(tester.kernel.next_deadline(), None);
    tester.now += 10_000_000;
    tester.event(ControllerEvent::Tick);
    assert_eq!(tester.code(), "running", "nobody waits for it");
    tester.event(ControllerEvent::Published);
    assert_eq!(tester.code(), "success");
}

#[test]
fn what_workers_say_during_the_publish_does_not_matter() {
    let mut tester = publishing();
    assert_eq!(
        tester.event(ControllerEvent::OutputUnavailable {
            consumer: None,
            producer: order(1, 0, 0)
        }),
        []
    );
    let failed = ControllerEvent::WorkOrderFailed {
        order: order(1, 0, 0),
        fault: unknown_error(),
    };
    assert_eq!(tester.event(failed), []);
    assert_eq!(tester.code(), "running");
    tester.event(ControllerEvent::Published);
    assert_eq!(tester.code(), "success");
}

#[test]
fn a_reader_of_an_unstable_output_begins_again_although_it_has_read_it() {
    // Which rows a bucket partition holds depends on their order.
    let bucket = ShuffleKind::Bucket { target_rows: 5 };
    let query = select(vec![
        stage(vec![splits(2)], bucket),
        stage(vec![from(0)], ShuffleKind::Mix),
    ]);
    let mut tester = Tester::new(query, 4);
    tester.counted(0, 0, chunks(&[(1, 10)]));
    tester.counted(0, 1, chunks(&[(1, 10)]));
    tester.outputs(0);
    assert_eq!(tester.workers_of(1), [0, 1, 2, 3]);
    tester.output(1, 2, sizes(1, 10));
    let actions = tester.lose(1);
    assert_eq!(
        stopped(&actions),
        [order(1, 0, 0), order(1, 2, 0), order(1, 3, 0)]
    );
}

#[test]
fn boundaries_of_a_volatile_stage_are_cut_anew_when_one_of_its_orders_runs_again() {
    for kind in [ShuffleKind::Bucket { target_rows: 5 }, sort()] {
        let query = select(vec![
            volatile(stage(vec![splits(2)], kind)),
            stage(vec![from(0)], ShuffleKind::Mix),
        ]);
        let mut tester = Tester::new(query, 2);
        tester.counted(0, 0, chunks(&[(1, 10)]));
        tester.counted(0, 1, chunks(&[(1, 10)]));
        assert_eq!(tester.phase(0), StagePhase::PostReading);
        let actions = tester.replace(1);
        assert_eq!(
            stopped(&actions),
            [order(0, 0, 0)],
            "its rows were cut with the lost ones in mind"
        );
        assert_eq!(tester.kernel.stage_view(StageNumber(0)).unwrap().boundaries, None);
        assert!(
            tester
                .workers_of(0)
                .iter()
                .all(|worker| tester.sent[&(0, *worker)].boundaries.is_none())
        );
    }
}

#[test]
fn boundaries_that_were_cut_from_rows_that_are_gone_are_cut_anew() {
    // The only order of stage 1 and its volatile input are on the one worker that dies.
    let bucket = ShuffleKind::Bucket { target_rows: 5 };
    let query = select(vec![
        volatile(stage(vec![splits(1)], ShuffleKind::Mix)),
        stage(vec![from(0)], bucket),
        stage(vec![from(1)], ShuffleKind::Mix),
    ]);
    let mut tester = Tester::new(query, 2);
    tester.outputs(0);
    tester.counted(1, 0, chunks(&[(1, 10)]));
    assert_eq!(tester.phase(1), StagePhase::PostReading);
    tester.replace(0);
    tester.outputs(0);
    assert_eq!(tester.sent[&(1, 0)].boundaries, None);
}

#[test]
fn readers_are_given_all_partitions_of_an_output_that_was_cut_anew() {
    let query = select(vec![
        volatile(stage(vec![splits(2)], ShuffleKind::Bucket { target_rows: 5 })),
        stage(vec![from(0)], ShuffleKind::Mix),
    ]);
    let mut tester = Tester::new(query, 2);
    tester.counted(0, 0, chunks(&[(1, 5)]));
    tester.counted(0, 1, chunks(&[(1, 5)]));
    tester.outputs(0);
    assert_eq!(tester.workers_of(1), [0, 1]);
    tester.replace(1);
    tester.counted(0, 0, chunks(&[(1, 5)]));
    tester.counted(0, 1, chunks(&[(1, 15)]));
    let boundaries = tester
        .kernel
        .stage_view(StageNumber(0))
        .unwrap()
        .boundaries
        .unwrap();
    assert!(matches!(boundaries.as_ref(), Boundaries::Buckets(buckets) if buckets.len() == 4));
    tester.outputs(0);
    let mut read: Vec<u32> = Vec::new();
    for worker in tester.workers_of(1) {
        let InputSlice::Partitions { partitions, .. } = &tester.sent[&(1, worker)].inputs[0] else {
            panic!("reads a stage")
        };
        read.extend(partitions.iter().map(|partition| partition.0));
    }
    read.sort_unstable();
    assert_eq!(read, [0, 1, 2, 3]);
    assert_eq!(cleaned(&tester.outputs(1)).len(), 2);
}
