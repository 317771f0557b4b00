//! What is refused before anything is launched, and limits that only a running query can pass.

use sarsen_kernel::controller::{ControllerEvent, ControllerKernel, Limits};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::ids::Epoch;
use sarsen_kernel::query::{QueryDefinition, StageInput};
use sarsen_kernel::shuffle::{RangeTarget, ShuffleKind};

use crate::builders::*;
use crate::tester::{Tester, keys};

fn refusal(query: QueryDefinition, limits: Limits, workers: u32) -> Fault {
    ControllerKernel::new(query, limits, workers, Epoch(1)).unwrap_err()
}

fn one_stage() -> QueryDefinition {
    select(vec![stage(vec![splits(4)], ShuffleKind::Mix)])
}

#[test]
fn too_many_workers_are_refused() {
    let limits = Limits {
        max_workers: 10,
        ..Limits::default()
    };
    assert_eq!(
        refusal(one_stage(), limits.clone(), 11),
        Fault::TooManyWorkers {
            workers: 11,
            max_workers: 10
        }
    );
    assert!(ControllerKernel::new(one_stage(), limits, 10, Epoch(1)).is_ok());
}

#[test]
fn too_many_columns_are_refused() {
    let mut query = one_stage();
    query.stages[0].signature = vec![column("c"); 3];
    let limits = |max_columns| Limits {
        max_columns,
        ..Limits::default()
    };
    assert_eq!(
        refusal(query.clone(), limits(2), 1),
        Fault::TooManyColumns {
            num_columns: 3,
            max_columns: 2
        }
    );
    assert!(ControllerKernel::new(query, limits(3), 1, Epoch(1)).is_ok());
}

#[test]
fn too_many_clustered_by_columns_are_refused_with_their_stage() {
    let mut query = select(vec![
        stage(vec![splits(1)], ShuffleKind::Mix),
        stage(vec![from(0)], hash(2)),
    ]);
    let shuffle = query.stages[1].shuffle.as_mut().unwrap();
    shuffle.key = vec![shuffle.key[0].clone(); 3];
    let limits = Limits {
        max_clustered_by_columns: 2,
        ..Limits::default()
    };
    let expected = Fault::TooManyClusteredByColumns {
        num_columns: 3,
        max_columns: 2,
        stage: 1,
    };
    assert_eq!(refusal(query, limits, 1), expected);
}

#[test]
fn too_many_input_files_name_the_workers_that_would_do() {
    let limits = Limits {
        max_input_files_per_worker: 3,
        ..Limits::default()
    };
    let query = select(vec![stage(vec![splits(10)], ShuffleKind::Mix)]);
    let expected = Fault::TooManyInputFiles {
        num_input_files: 10,
        max_input_files: 3,
        min_num_workers: 4,
    };
    assert_eq!(refusal(query.clone(), limits.clone(), 3), expected);
    assert!(ControllerKernel::new(query, limits, 4, Epoch(1)).is_ok());
}

#[test]
fn malformed_definitions_are_refused() {
    let two = || {
        vec![
            stage(vec![splits(1)], ShuffleKind::Mix),
            stage(vec![from(0)], ShuffleKind::Mix),
        ]
    };
    let mut reads_itself = select(two());
    reads_itself.stages[1].inputs = vec![from(1)];
    let mut misnumbered = select(two());
    misnumbered.stages.swap(0, 1);
    let mut unknown_alternative = select(two());
    unknown_alternative.stages[0] = alternative(2, unknown_alternative.stages[0].clone());
    let mut closed_choice = select(two());
    closed_choice.choices = vec![choice(0, 5)];
    closed_choice.choices[0].alternatives[1].max_bytes = Some(9);
    let mut measures_nothing = select(two());
    measures_nothing.choices = vec![choice(7, 5)];
    let mut reads_nothing = select(two());
    reads_nothing.stages[1].inputs = vec![StageInput::Stage {
        candidates: Vec::new(),
        delivery: sarsen_kernel::query::Delivery::Partitioned,
    }];
    let cases = [
        (select(Vec::new()), "at least one stage"),
        (reads_itself, "stage 1 reads stage 1"),
        (misnumbered, "stands at position"),
        (unknown_alternative, "unknown alternative"),
        (closed_choice, "must take any size"),
        (measures_nothing, "measures stage 7"),
        (reads_nothing, "names no stage"),
    ];
    for (query, words) in cases {
        let fault = refusal(query, Limits::default(), 1);
        assert_eq!(fault.code(), "UnknownError");
        assert!(fault.message().contains(words), "{}", fault.message());
    }
}

#[test]
fn too_many_hash_partitions_end_the_query_when_their_stage_starts() {
    let limits = Limits {
        max_partitions: 3,
        ..Limits::default()
    };
    let query = select(vec![
        stage(vec![splits(1)], hash(3)),
        stage(vec![from(0)], hash(4)),
    ]);
    let mut tester = Tester::with_limits(query, limits, 1);
    assert_eq!(tester.code(), "running");
    tester.outputs(0);
    assert_eq!(tester.code(), "TooManyPartitions");
}

#[test]
fn too_many_range_partitions_end_the_query_when_they_are_cut() {
    let limits = Limits {
        max_partitions: 3,
        ..Limits::default()
    };
    let query = select(vec![stage(
        vec![splits(1)],
        ShuffleKind::GlobalSort(RangeTarget::TargetRows(1)),
    )]);
    let mut tester = Tester::with_limits(query, limits, 1);
    tester.counted(0, 0, keys(0..4));
    assert_eq!(tester.code(), "TooManyPartitions");
}

#[test]
fn workers_that_do_not_start_in_time_end_the_query() {
    let limits = Limits {
        launch_timeout_ms: 5_000,
        ..Limits::default()
    };
    let mut tester = Tester::unstarted(one_stage(), limits, 3);
    tester.event(ControllerEvent::Started);
    let launched = tester.now;
    tester.ready(1);
    assert_eq!(tester.kernel.next_deadline(), Some(launched + 5_000));
    tester.now = launched + 4_998;
    tester.event(ControllerEvent::Tick);
    assert_eq!(tester.code(), "running");
    tester.event(ControllerEvent::Tick);
    let expected = Fault::TaskStartTimeout {
        pending_tasks: 2,
        total_tasks: 3,
        timeout: 5_000,
    };
    assert_eq!(tester.end, Some(Err(expected.into())));
}

#[test]
fn a_query_ends_at_its_timeout() {
    let limits = Limits {
        timeout_ms: Some(60_000),
        ..Limits::default()
    };
    let mut tester = Tester::with_limits(one_stage(), limits, 1);
    let deadline = tester.kernel.next_deadline().unwrap();
    tester.now = deadline - 1;
    tester.event(ControllerEvent::Tick);
    assert_eq!(
        tester.end,
        Some(Err(Fault::QueryTimeout {
            timeout_ms: 60_000,
            reason: "QUERY_TIMEOUT".to_owned()
        }
        .into()))
    );
    assert_eq!(tester.kernel.next_deadline(), None);
}
