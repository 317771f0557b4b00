//! Choices between alternatives: when they are decided, and what becomes of the others.

use sarsen_kernel::controller::{ControllerAction, ControllerEvent, StagePhase};
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::QueryDefinition;
use sarsen_kernel::shuffle::ShuffleKind;
use sarsen_kernel::work_order::InputSlice;

use crate::builders::*;
use crate::tester::{Tester, cleaned, sent};

/// Stage 0 is measured; up to 100 bytes stage 1 reads it as a broadcast, else stage 2 splits it and stage 3 reads that;
/// stage 4 reads whichever lives.
fn choosing() -> QueryDefinition {
    let mut query = select(vec![
        stage(vec![splits(2)], ShuffleKind::Broadcast),
        alternative(0, stage(vec![splits(2), broadcast_from(0)], ShuffleKind::Mix)),
        alternative(1, stage(vec![from(0)], hash(2))),
        alternative(1, stage(vec![from(2)], ShuffleKind::Mix)),
        stage(vec![from_one_of(&[1, 3])], ShuffleKind::Mix),
    ]);
    query.choices = vec![choice(0, 100)];
    query
}

fn measured(bytes: u64) -> Tester {
    let mut tester = Tester::new(choosing(), 2);
    tester.output(0, 0, sizes(1, bytes / 2));
    tester.output(0, 1, sizes(1, bytes - bytes / 2));
    tester
}

#[test]
fn no_alternative_starts_before_the_measured_stage_is_complete() {
    let mut tester = Tester::new(choosing(), 2);
    assert_eq!(sent(&tester.output(0, 0, sizes(1, 10))), []);
    for stage in 1..5 {
        assert_eq!(
            (tester.phase(stage), tester.is_skipped(stage)),
            (StagePhase::New, false),
            "stage {stage}"
        );
    }
}

#[test]
fn the_first_alternative_that_is_large_enough_is_taken() {
    for (bytes, taken) in [(0, 0), (99, 0), (100, 0), (101, 1), (5_000, 1)] {
        let tester = measured(bytes);
        let skipped: Vec<bool> = (0..5).map(|stage| tester.is_skipped(stage)).collect();
        assert_eq!(
            skipped,
            [false, taken != 0, taken != 1, taken != 1, false],
            "{bytes} bytes"
        );
        let begun = if taken == 0 { 1 } else { 2 };
        assert_eq!(tester.phase(begun), StagePhase::ReadingInput);
    }
}

#[test]
fn the_reader_of_a_choice_reads_the_alternative_that_lives() {
    for (bytes, feeds) in [(10, 1), (1_000, 3)] {
        let mut tester = measured(bytes);
        tester.bring(4, StagePhase::ReadingInput);
        let InputSlice::Partitions { stage, .. } = &tester.sent[&(4, 0)].inputs[0] else {
            panic!("reads a stage")
        };
        assert_eq!(*stage, StageNumber(feeds));
        let actions = tester.outputs(4);
        assert!(
            actions
                .iter()
                .any(|action| matches!(action, ControllerAction::ReadResults { .. }))
        );
        tester.event(ControllerEvent::ResultsRead);
        assert_eq!(tester.code(), "success");
        assert_eq!(
            tester.phase(if feeds == 1 { 3 } else { 1 }),
            StagePhase::New,
            "skipped for good"
        );
    }
}

#[test]
fn a_measured_output_is_cleaned_when_the_living_readers_are_complete() {
    let mut tester = measured(10);
    assert_eq!(cleaned(&tester.outputs(1)), [order(0, 0, 0), order(0, 1, 0)]);
}

#[test]
fn a_choice_is_decided_once_though_the_measured_stage_runs_again() {
    let mut tester = measured(10);
    tester.replace(1);
    tester.output(0, 1, sizes(1, 9_000));
    assert!(!tester.is_skipped(1));
    assert!(tester.is_skipped(2));
    assert_eq!(tester.phase(1), StagePhase::ReadingInput);
}

#[test]
fn results_of_an_alternative_that_comes_last_are_read_again_when_they_are_lost() {
    let mut query = select(vec![
        stage(vec![splits(1)], ShuffleKind::Mix),
        alternative(0, stage(vec![from(0)], ShuffleKind::Mix)),
        alternative(1, stage(vec![from(0)], ShuffleKind::Mix)),
    ]);
    query.choices = vec![choice(0, 100)];
    let mut tester = Tester::new(query, 1);
    tester.outputs(0);
    let reads = |action: &ControllerAction| matches!(action, ControllerAction::ReadResults { .. });
    assert!(tester.outputs(1).iter().any(reads));
    tester.replace(0);
    tester.outputs(0);
    assert!(tester.outputs(1).iter().any(reads));
    tester.event(ControllerEvent::ResultsRead);
    assert_eq!(tester.code(), "success");
}
