//! The worker's side: one behaviour each.

use sarsen_kernel::ids::{Epoch, QueryId};
use sarsen_kernel::shuffle::{Boundaries, OutputSizes};
use sarsen_kernel::statistics::KeyStatistics;
use sarsen_kernel::work_order::{OutputMode, WorkOrder};
use sarsen_kernel::worker::{
    KEEP_WITHOUT_CONTROLLER_MS, OrderFailure, OrderPhase, WorkerAction, WorkerEvent, WorkerTaskKernel,
};

use crate::builders::{order, unknown_error};
use crate::tester::keys;

fn start(stage: u32, attempt: u32) -> WorkerEvent {
    WorkerEvent::Start {
        order: Box::new(work_order(stage, attempt)),
    }
}

pub fn work_order(stage: u32, attempt: u32) -> WorkOrder {
    WorkOrder {
        query_id: QueryId("q".into()),
        id: order(stage, 0, attempt),
        epoch: Epoch(1),
        inputs: Vec::new(),
        fragment: Vec::new(),
        shuffle: None,
        boundaries: None,
        output: OutputMode::Memory,
    }
}

fn attached() -> WorkerTaskKernel {
    let mut kernel = WorkerTaskKernel::new(Epoch(1), 0);
    assert_eq!(kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 0), []);
    kernel
}

fn ranges() -> Boundaries {
    Boundaries::Ranges(Vec::new())
}

/// A kernel with one order, at a phase.
fn at(phase: OrderPhase) -> WorkerTaskKernel {
    let mut kernel = attached();
    let id = order(0, 0, 0);
    kernel.handle(start(0, 0), 1);
    let way: &[WorkerEvent] = &[
        WorkerEvent::InputRead {
            order: id,
            statistics: keys(0..3),
        },
        WorkerEvent::SetBoundaries {
            order: id,
            boundaries: ranges(),
        },
        WorkerEvent::OutputWritten {
            order: id,
            sizes: OutputSizes::new(),
        },
        WorkerEvent::CleanUp { order: id },
    ];
    let steps = match phase {
        OrderPhase::ReadingInput | OrderPhase::Failed => 0,
        OrderPhase::WaitingForBoundaries => 1,
        OrderPhase::WritingOutput => 2,
        OrderPhase::ResultsReady => 3,
        OrderPhase::Finished => 4,
    };
    for event in &way[..steps] {
        kernel.handle(event.clone(), 2);
    }
    if phase == OrderPhase::Failed {
        kernel.handle(
            WorkerEvent::Failed {
                order: id,
                failure: OrderFailure::Fault(unknown_error()),
            },
            2,
        );
    }
    assert_eq!(kernel.phase(id), Some(phase));
    kernel
}

const EVERY_PHASE: [OrderPhase; 6] = [
    OrderPhase::ReadingInput,
    OrderPhase::WaitingForBoundaries,
    OrderPhase::WritingOutput,
    OrderPhase::ResultsReady,
    OrderPhase::Finished,
    OrderPhase::Failed,
];

#[test]
fn an_order_runs_waits_cuts_and_reports() {
    let mut kernel = attached();
    let id = order(0, 0, 0);
    assert_eq!(
        kernel.handle(start(0, 0), 1),
        [WorkerAction::Run {
            order: Box::new(work_order(0, 0))
        }]
    );
    assert_eq!(
        kernel.handle(
            WorkerEvent::InputRead {
                order: id,
                statistics: keys(0..3)
            },
            2
        ),
        [WorkerAction::ReportStatistics {
            order: id,
            statistics: keys(0..3)
        }]
    );
    assert_eq!(
        kernel.handle(
            WorkerEvent::SetBoundaries {
                order: id,
                boundaries: ranges()
            },
            3
        ),
        [WorkerAction::Cut {
            order: id,
            boundaries: ranges()
        }]
    );
    assert_eq!(
        kernel.handle(
            WorkerEvent::OutputWritten {
                order: id,
                sizes: OutputSizes::new()
            },
            4
        ),
        [WorkerAction::ReportOutput {
            order: id,
            sizes: OutputSizes::new()
        }]
    );
    assert_eq!(
        kernel.handle(WorkerEvent::CleanUp { order: id }, 5),
        [WorkerAction::DeleteOutput { order: id }]
    );
}

#[test]
fn a_repeated_command_changes_nothing_at_any_phase() {
    let id = order(0, 0, 0);
    for phase in EVERY_PHASE {
        let mut kernel = at(phase);
        assert_eq!(kernel.handle(start(0, 0), 9), [], "{phase:?}");
        if phase != OrderPhase::WaitingForBoundaries {
            assert_eq!(
                kernel.handle(
                    WorkerEvent::SetBoundaries {
                        order: id,
                        boundaries: ranges()
                    },
                    9
                ),
                []
            );
        }
        kernel.handle(WorkerEvent::Stop { order: id }, 9);
        assert_eq!(kernel.handle(WorkerEvent::Stop { order: id }, 9), [], "{phase:?}");
        assert_eq!(
            kernel.handle(WorkerEvent::CleanUp { order: id }, 9),
            [],
            "{phase:?}"
        );
    }
}

#[test]
fn commands_for_unknown_orders_change_nothing() {
    let mut kernel = attached();
    let id = order(3, 0, 0);
    assert_eq!(kernel.handle(WorkerEvent::Stop { order: id }, 1), []);
    assert_eq!(kernel.handle(WorkerEvent::CleanUp { order: id }, 1), []);
    assert_eq!(
        kernel.handle(
            WorkerEvent::SetBoundaries {
                order: id,
                boundaries: ranges()
            },
            1
        ),
        []
    );
}

#[test]
fn a_new_stream_is_told_what_the_controller_has_to_know() {
    let id = order(0, 0, 0);
    let failure = OrderFailure::Fault(unknown_error());
    for phase in EVERY_PHASE {
        let expected = match phase {
            OrderPhase::WaitingForBoundaries => {
                vec![WorkerAction::ReportStatistics {
                    order: id,
                    statistics: keys(0..3),
                }]
            }
            OrderPhase::ResultsReady => vec![WorkerAction::ReportOutput {
                order: id,
                sizes: OutputSizes::new(),
            }],
            OrderPhase::Failed => vec![WorkerAction::ReportFailure {
                order: id,
                failure: failure.clone(),
            }],
            _ => Vec::new(),
        };
        let mut kernel = at(phase);
        kernel.handle(WorkerEvent::Detached, 5);
        assert_eq!(
            kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 6),
            expected,
            "{phase:?}"
        );
    }
}

#[test]
fn an_older_controller_is_refused_and_a_newer_one_stays() {
    let mut kernel = attached();
    assert_eq!(kernel.handle(WorkerEvent::Attached { epoch: Epoch(3) }, 1), []);
    let refusal = [WorkerAction::RefuseAttach { known: Epoch(3) }];
    assert_eq!(
        kernel.handle(WorkerEvent::Attached { epoch: Epoch(2) }, 2),
        refusal
    );
    assert_eq!(kernel.next_deadline(), None, "the newer one is still there");
}

#[test]
fn a_task_without_a_controller_ends_after_a_minute() {
    let mut kernel = at(OrderPhase::ResultsReady);
    kernel.handle(WorkerEvent::Detached, 1_000);
    assert_eq!(kernel.next_deadline(), Some(1_000 + KEEP_WITHOUT_CONTROLLER_MS));
    assert_eq!(
        kernel.handle(WorkerEvent::Tick, 1_000 + KEEP_WITHOUT_CONTROLLER_MS - 1),
        []
    );
    assert_eq!(
        kernel.handle(WorkerEvent::Tick, 1_000 + KEEP_WITHOUT_CONTROLLER_MS),
        [
            WorkerAction::DeleteOutput {
                order: order(0, 0, 0)
            },
            WorkerAction::End
        ]
    );
    assert_eq!((kernel.is_ended(), kernel.next_deadline()), (true, None));
    assert_eq!(
        kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 99_999),
        []
    );
}

#[test]
fn a_task_whose_controller_never_comes_ends_too() {
    assert_eq!(
        WorkerTaskKernel::new(Epoch(1), 500).next_deadline(),
        Some(500 + KEEP_WITHOUT_CONTROLLER_MS)
    );
}

#[test]
fn a_controller_that_comes_back_keeps_the_task() {
    let mut kernel = at(OrderPhase::ResultsReady);
    kernel.handle(WorkerEvent::Detached, 1_000);
    kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 60_000);
    assert_eq!(kernel.handle(WorkerEvent::Tick, 1_000_000), []);
}

#[test]
fn stopping_drops_what_there_is_at_every_phase() {
    let id = order(0, 0, 0);
    let running = vec![
        WorkerAction::Cancel { order: id },
        WorkerAction::DeleteOutput { order: id },
    ];
    for phase in EVERY_PHASE {
        let expected = match phase {
            OrderPhase::Finished | OrderPhase::Failed => Vec::new(),
            OrderPhase::ResultsReady => vec![WorkerAction::DeleteOutput { order: id }],
            _ => running.clone(),
        };
        assert_eq!(
            at(phase).handle(WorkerEvent::Stop { order: id }, 9),
            expected,
            "{phase:?}"
        );
    }
}

#[test]
fn what_a_stopped_order_still_brings_is_dropped() {
    let id = order(0, 0, 0);
    let dropped = [WorkerAction::DeleteOutput { order: id }];
    for phase in [OrderPhase::Finished, OrderPhase::Failed] {
        let written = WorkerEvent::OutputWritten {
            order: id,
            sizes: OutputSizes::new(),
        };
        assert_eq!(at(phase).handle(written, 9), dropped, "{phase:?}");
        let read = WorkerEvent::InputRead {
            order: id,
            statistics: KeyStatistics::default(),
        };
        assert_eq!(at(phase).handle(read, 9), dropped, "{phase:?}");
    }
}

#[test]
fn a_good_output_is_not_dropped_because_it_is_told_twice() {
    let id = order(0, 0, 0);
    let written = WorkerEvent::OutputWritten {
        order: id,
        sizes: OutputSizes::new(),
    };
    assert_eq!(at(OrderPhase::ResultsReady).handle(written, 9), []);
    let read = WorkerEvent::InputRead {
        order: id,
        statistics: KeyStatistics::default(),
    };
    assert_eq!(at(OrderPhase::WaitingForBoundaries).handle(read, 9), []);
}

#[test]
fn a_newer_attempt_takes_the_place_of_the_older() {
    let mut kernel = at(OrderPhase::WaitingForBoundaries);
    kernel.handle(start(1, 0), 8);
    let older = order(0, 0, 0);
    assert_eq!(
        kernel.handle(start(0, 2), 9),
        [
            WorkerAction::Cancel { order: older },
            WorkerAction::DeleteOutput { order: older },
            WorkerAction::Run {
                order: Box::new(work_order(0, 2))
            },
        ]
    );
    assert_eq!(
        kernel.phase(order(1, 0, 0)),
        Some(OrderPhase::ReadingInput),
        "other stages go on"
    );
}

#[test]
fn an_older_attempt_does_not_start_beside_a_newer() {
    let mut kernel = attached();
    kernel.handle(start(0, 2), 1);
    assert_eq!(kernel.handle(start(0, 1), 2), []);
}

#[test]
fn the_end_drops_everything() {
    let mut kernel = at(OrderPhase::ResultsReady);
    kernel.handle(start(1, 0), 3);
    let (done, running) = (order(0, 0, 0), order(1, 0, 0));
    assert_eq!(
        kernel.handle(WorkerEvent::Finish, 4),
        [
            WorkerAction::Cancel { order: running },
            WorkerAction::DeleteOutput { order: done },
            WorkerAction::DeleteOutput { order: running },
            WorkerAction::End,
        ]
    );
    assert!(kernel.is_ended());
}

#[test]
fn a_question_for_splits_is_repeated_until_it_is_answered() {
    let mut kernel = at(OrderPhase::ReadingInput);
    let id = order(0, 0, 0);
    let begun = |wanted| WorkerEvent::SplitsBegun {
        order: id,
        input: 1,
        wanted,
    };
    let question = |portion, wanted| WorkerAction::AskForSplits {
        order: id,
        input: 1,
        portion,
        wanted,
    };
    let answer = |portion| WorkerEvent::TakeSplits {
        order: id,
        input: 1,
        portion,
        splits: Vec::new(),
        unassigned: 5,
    };
    let added = WorkerAction::AddSplits {
        order: id,
        input: 1,
        splits: Vec::new(),
        unassigned: 5,
    };
    assert_eq!(kernel.handle(begun(3), 3), [question(1, 3)]);
    assert_eq!(kernel.handle(begun(4), 3), [], "one question at a time");
    kernel.handle(WorkerEvent::Detached, 4);
    assert_eq!(
        kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 5),
        [question(1, 3)]
    );
    assert_eq!(kernel.handle(answer(1), 6), [added]);
    assert_eq!(kernel.handle(answer(1), 6), [], "a repeated answer adds nothing");
    assert_eq!(kernel.handle(WorkerEvent::Attached { epoch: Epoch(1) }, 7), []);
    assert_eq!(kernel.handle(begun(1), 8), [question(2, 1)]);
    kernel.handle(WorkerEvent::Stop { order: id }, 9);
    assert_eq!(kernel.handle(answer(2), 10), []);
    assert_eq!(kernel.handle(begun(1), 11), []);
}
