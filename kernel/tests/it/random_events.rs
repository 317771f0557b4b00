//! Events in any order, sensible or not: the kernels never panic, and what is late changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sarsen_kernel::controller::{ControllerAction, ControllerEvent, ControllerKernel, Limits, StagePhase};
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Attempt, Epoch, Incarnation, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::shuffle::{Boundaries, OutputSizes};
use sarsen_kernel::worker::{OrderFailure, OrderPhase, WorkerAction, WorkerEvent, WorkerTaskKernel};

use crate::builders::{order, sizes, unknown_error, worker_failed};
use crate::simulation::draw_query;
use crate::tester::{chunks, keys};
use crate::worker_orders::work_order;

/// An event, told of a place and a time that mostly exist.
#[derive(Debug, Clone)]
struct Told {
    kind: u8,
    stage: u32,
    worker: u32,
    /// How many attempts or incarnations ago.
    ago: u32,
    number: u64,
}

fn told() -> impl Strategy<Value = Told> {
    let ago = prop_oneof![8 => Just(0_u32), 1 => 1..3_u32];
    (0..25_u8, 0..7_u32, 0..4_u32, ago, 0..2_000_u64).prop_map(|(kind, stage, worker, ago, number)| Told {
        kind,
        stage,
        worker,
        ago,
        number,
    })
}

/// What is known from outside of the kernel.
#[derive(Default)]
struct Seen {
    attempts: BTreeMap<(u32, u32), u32>,
    incarnations: BTreeMap<u32, u32>,
    ready: BTreeMap<u32, bool>,
    ends: u32,
}

impl Seen {
    fn order(&self, told: &Told) -> WorkOrderId {
        let attempt = self
            .attempts
            .get(&(told.stage, told.worker))
            .copied()
            .unwrap_or(0);
        order(told.stage, told.worker, attempt.saturating_sub(told.ago))
    }

    fn event(&mut self, told: &Told) -> ControllerEvent {
        let id = self.order(told);
        let worker = WorkerNumber(told.worker);
        let current = self.incarnations.get(&told.worker).copied().unwrap_or(0);
        let incarnation = Incarnation(current.saturating_sub(told.ago));
        match told.kind {
            0..4 => {
                if incarnation.0 == current {
                    self.ready.insert(told.worker, true);
                }
                ControllerEvent::WorkerReady { worker, incarnation }
            }
            4 => ControllerEvent::WorkerLost {
                worker,
                incarnation,
                reason: worker_failed(),
            },
            5..9 => ControllerEvent::Statistics {
                order: id,
                statistics: keys(0..told.number % 30),
            },
            9 => ControllerEvent::Statistics {
                order: id,
                statistics: chunks(&[(1, told.number % 20), (2, told.number % 7)]),
            },
            10..18 => ControllerEvent::OutputReady {
                order: id,
                sizes: sizes(6, told.number % 50),
            },
            18 => ControllerEvent::WorkOrderFailed {
                order: id,
                fault: worker_failed(),
            },
            19 => {
                let mut consumer = told.clone();
                consumer.stage += 1;
                consumer.worker = (told.number % 4) as u32;
                let consumer = (!told.number.is_multiple_of(5)).then(|| self.order(&consumer));
                ControllerEvent::OutputUnavailable {
                    consumer,
                    producer: id,
                }
            }
            20 => ControllerEvent::ResultsRead,
            21 => ControllerEvent::Published,
            22 => ControllerEvent::Tick,
            23 => ControllerEvent::SplitsWanted {
                order: id,
                input: (told.number % 3) as u32,
                portion: (told.number % 4) as u32,
                wanted: told.ago,
            },
            _ => match told.number % 40 {
                0 => ControllerEvent::Cancel {
                    fault: Fault::Canceled {}.into(),
                },
                1 => ControllerEvent::PublishFailed {
                    fault: unknown_error(),
                },
                2 => ControllerEvent::WorkOrderFailed {
                    order: id,
                    fault: unknown_error(),
                },
                _ => ControllerEvent::Started,
            },
        }
    }

    fn notice(&mut self, actions: &[ControllerAction]) {
        for action in actions {
            assert_eq!(self.ends, 0, "nothing follows the end: {action:?}");
            match action {
                ControllerAction::LaunchWorker { worker, incarnation } => {
                    let known = self.incarnations.insert(worker.0, incarnation.0);
                    assert!(
                        known.is_none_or(|known| known < incarnation.0),
                        "a life is launched once"
                    );
                    self.ready.insert(worker.0, false);
                }
                ControllerAction::SendWorkOrder { incarnation, order } => {
                    let id = order.id;
                    assert_eq!(self.incarnations.get(&id.worker.0), Some(&incarnation.0));
                    assert!(self.ready[&id.worker.0], "sent to a worker that is not there");
                    let known = self.attempts.insert((id.stage.0, id.worker.0), id.attempt.0);
                    assert!(
                        known.is_none_or(|known| known < id.attempt.0),
                        "{id} was sent before"
                    );
                }
                ControllerAction::QueryFinished { .. } => self.ends += 1,
                _ => {}
            }
        }
    }
}

/// The kernel but for the time of its last event.
fn state(kernel: &ControllerKernel) -> String {
    format!("{kernel:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_is_handled(seed in 0..10_000_u64, events in prop::collection::vec(told(), 0..300), start in 0..3_usize) {
        let query = draw_query(seed);
        let stages = query.stages.len() as u32;
        let mut kernel = ControllerKernel::new(query, Limits::default(), 4, Epoch(1)).unwrap();
        let mut seen = Seen::default();
        let mut now = 0;
        for (position, told) in events.iter().enumerate() {
            now += i64::from(told.ago);
            if position == start {
                let actions = kernel.handle(ControllerEvent::Started, now);
                seen.notice(&actions);
            }
            let before: Vec<StagePhase> = phases(&kernel, stages);
            let event = seen.event(told);
            let lost = matches!(event, ControllerEvent::WorkerLost { .. });
            let actions = kernel.handle(event, now);
            seen.notice(&actions);
            prop_assert_eq!(seen.ends == 1, kernel.is_finished());
            if !lost {
                for (before, after) in before.into_iter().zip(phases(&kernel, stages)) {
                    prop_assert!(!(before == StagePhase::Failed && after != StagePhase::Failed));
                    prop_assert!(!(before != StagePhase::New && after == StagePhase::New));
                }
            }
        }
    }

    #[test]
    fn an_event_of_an_older_attempt_changes_nothing(seed in 0..10_000_u64, events in prop::collection::vec(told(), 0..200)) {
        let query = draw_query(seed);
        let mut kernel = ControllerKernel::new(query, Limits::default(), 4, Epoch(1)).unwrap();
        let mut seen = Seen::default();
        seen.notice(&kernel.handle(ControllerEvent::Started, 0));
        for told in &events {
            let event = seen.event(told);
            seen.notice(&kernel.handle(event, 0));
        }
        let before = state(&kernel);
        for ((stage, worker), attempt) in &seen.attempts {
            for attempt in 0..*attempt {
                let late = order(*stage, *worker, attempt);
                for event in [
                    ControllerEvent::Statistics { order: late, statistics: keys(0..9) },
                    ControllerEvent::OutputReady { order: late, sizes: OutputSizes::new() },
                    ControllerEvent::WorkOrderFailed { order: late, fault: unknown_error() },
                    ControllerEvent::OutputUnavailable { consumer: Some(late), producer: order(0, 0, 0) },
                    ControllerEvent::OutputUnavailable { consumer: None, producer: late },
                ] {
                    prop_assert_eq!(kernel.handle(event, 0), []);
                }
            }
        }
        for (worker, incarnation) in &seen.incarnations {
            for incarnation in (0..*incarnation).map(Incarnation) {
                let worker = WorkerNumber(*worker);
                let reason: FaultReport = worker_failed();
                prop_assert_eq!(kernel.handle(ControllerEvent::WorkerReady { worker, incarnation }, 0), []);
                prop_assert_eq!(kernel.handle(ControllerEvent::WorkerLost { worker, incarnation, reason }, 0), []);
            }
        }
        prop_assert_eq!(state(&kernel), before);
    }

    #[test]
    fn any_order_of_commands_is_handled(events in prop::collection::vec((0..12_u8, 0..3_u32, 0..3_u32, 0..5_000_i64), 0..200)) {
        let mut kernel = WorkerTaskKernel::new(Epoch(1), 0);
        let mut now = 0;
        let mut running: BTreeMap<WorkOrderId, bool> = BTreeMap::new();
        for (kind, stage, attempt, pause) in events {
            now += pause;
            let id = order(stage, 0, attempt);
            let event = match kind {
                0 => WorkerEvent::Attached { epoch: Epoch(1) },
                1 => WorkerEvent::Detached,
                2..5 => WorkerEvent::Start { order: Box::new(work_order(stage, attempt)) },
                5 => WorkerEvent::InputRead { order: id, statistics: keys(0..3) },
                6 => WorkerEvent::SetBoundaries { order: id, boundaries: Boundaries::Ranges(Vec::new()) },
                7 => WorkerEvent::OutputWritten { order: id, sizes: OutputSizes::new() },
                8 => WorkerEvent::Failed { order: id, failure: OrderFailure::Fault(unknown_error()) },
                9 => WorkerEvent::Stop { order: id },
                10 => WorkerEvent::CleanUp { order: id },
                _ => WorkerEvent::Tick,
            };
            for action in kernel.handle(event, now) {
                match action {
                    WorkerAction::Run { order } => {
                        prop_assert!(running.insert(order.id, true).is_none(), "{} runs once", order.id);
                    }
                    WorkerAction::Cancel { order } | WorkerAction::DeleteOutput { order } => {
                        if let Some(running) = running.get_mut(&order) {
                            *running = false;
                        }
                    }
                    _ => {}
                }
            }
            for stage in 0..3 {
                let live = |attempt: &u32| {
                    let phase = kernel.phase(WorkOrderId { stage: StageNumber(stage), worker: WorkerNumber(0), attempt: Attempt(*attempt) });
                    !kernel.is_ended() && phase.is_some_and(|phase| !matches!(phase, OrderPhase::Finished | OrderPhase::Failed))
                };
                prop_assert!((0..3).filter(live).count() <= 1, "two attempts of stage {stage} run at once");
            }
        }
        kernel.handle(WorkerEvent::Finish, now).into_iter().for_each(|action| {
            if let WorkerAction::DeleteOutput { order } = action {
                running.insert(order, false);
            }
        });
        prop_assert!(kernel.is_ended());
        prop_assert!(running.values().all(|running| !running), "all outputs are dropped at the end");
    }
}

fn phases(kernel: &ControllerKernel, stages: u32) -> Vec<StagePhase> {
    let phase = |stage| {
        kernel
            .stage_view(StageNumber(stage))
            .and_then(|view| view.phase)
            .unwrap_or(StagePhase::New)
    };
    (0..stages).map(phase).collect()
}
