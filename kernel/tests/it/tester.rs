//! Drives a controller's kernel by hand, and fast-forwards its stages.

use std::collections::BTreeMap;

use sarsen_kernel::controller::{ControllerAction, ControllerEvent, ControllerKernel, Limits, StagePhase};
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Epoch, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::QueryDefinition;
use sarsen_kernel::shuffle::OutputSizes;
use sarsen_kernel::statistics::{KeyStatistics, KeyStatisticsCollector};
use sarsen_kernel::work_order::WorkOrder;

use crate::builders::{sizes, worker_failed};

/// A kernel with what it has asked for.
pub struct Tester {
    pub kernel: ControllerKernel,
    pub now: Millis,
    /// Latest order of each stage and worker.
    pub sent: BTreeMap<(u32, u32), WorkOrder>,
    incarnations: BTreeMap<u32, Incarnation>,
    /// How the query ended.
    pub end: Option<Result<(), FaultReport>>,
}

impl Tester {
    /// A query whose workers have not been asked for.
    pub fn unstarted(query: QueryDefinition, limits: Limits, workers: u32) -> Self {
        let kernel = ControllerKernel::new(query, limits, workers, Epoch(1)).unwrap();
        Tester {
            kernel,
            now: 1_000,
            sent: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            end: None,
        }
    }

    /// A query whose workers are all ready.
    pub fn with_limits(query: QueryDefinition, limits: Limits, workers: u32) -> Self {
        let mut tester = Tester::unstarted(query, limits, workers);
        tester.event(ControllerEvent::Started);
        for worker in 0..workers {
            tester.ready(worker);
        }
        tester
    }

    pub fn new(query: QueryDefinition, workers: u32) -> Self {
        Tester::with_limits(query, Limits::default(), workers)
    }

    pub fn event(&mut self, event: ControllerEvent) -> Vec<ControllerAction> {
        self.now += 1;
        let actions = self.kernel.handle(event, self.now);
        for action in &actions {
            match action {
                ControllerAction::SendWorkOrder { incarnation, order } => {
                    assert_eq!(
                        Some(incarnation),
                        self.incarnations.get(&order.id.worker.0),
                        "sent to a lost worker"
                    );
                    self.sent
                        .insert((order.id.stage.0, order.id.worker.0), order.as_ref().clone());
                }
                ControllerAction::LaunchWorker { worker, incarnation } => {
                    self.incarnations.insert(worker.0, *incarnation);
                }
                ControllerAction::QueryFinished { result } => {
                    assert_eq!(self.end, None, "the end is told once");
                    self.end = Some(result.clone());
                }
                _ => {}
            }
        }
        actions
    }

    /// The current order of a stage on a worker.
    pub fn order(&self, stage: u32, worker: u32) -> WorkOrderId {
        self.sent[&(stage, worker)].id
    }

    /// Workers that have an order of the stage.
    pub fn workers_of(&self, stage: u32) -> Vec<u32> {
        self.sent
            .keys()
            .filter(|(of, _)| *of == stage)
            .map(|(_, worker)| *worker)
            .collect()
    }

    pub fn ready(&mut self, worker: u32) -> Vec<ControllerAction> {
        let incarnation = self.incarnations[&worker];
        self.event(ControllerEvent::WorkerReady {
            worker: WorkerNumber(worker),
            incarnation,
        })
    }

    /// The process that plays the worker is gone.
    pub fn lose(&mut self, worker: u32) -> Vec<ControllerAction> {
        let incarnation = self.incarnations[&worker];
        self.event(ControllerEvent::WorkerLost {
            worker: WorkerNumber(worker),
            incarnation,
            reason: worker_failed(),
        })
    }

    /// The process is gone, and another one takes its place.
    pub fn replace(&mut self, worker: u32) -> Vec<ControllerAction> {
        let mut actions = self.lose(worker);
        actions.extend(self.ready(worker));
        actions
    }

    pub fn counted(&mut self, stage: u32, worker: u32, statistics: KeyStatistics) -> Vec<ControllerAction> {
        let order = self.order(stage, worker);
        self.event(ControllerEvent::Statistics { order, statistics })
    }

    pub fn output(&mut self, stage: u32, worker: u32, sizes: OutputSizes) -> Vec<ControllerAction> {
        let order = self.order(stage, worker);
        self.event(ControllerEvent::OutputReady { order, sizes })
    }

    /// All workers of a stage have their outputs.
    pub fn outputs(&mut self, stage: u32) -> Vec<ControllerAction> {
        let mut actions = Vec::new();
        for worker in self.workers_of(stage) {
            let partitions = self
                .kernel
                .stage_view(StageNumber(stage))
                .unwrap()
                .partition_count
                .unwrap_or(1);
            actions.extend(self.output(stage, worker, sizes(partitions, 10)));
        }
        actions
    }

    pub fn unavailable(&mut self, consumer: WorkOrderId, producer: WorkOrderId) -> Vec<ControllerAction> {
        self.event(ControllerEvent::OutputUnavailable {
            consumer: Some(consumer),
            producer,
        })
    }

    pub fn cancel(&mut self) -> Vec<ControllerAction> {
        self.event(ControllerEvent::Cancel {
            fault: Fault::Canceled {}.into(),
        })
    }

    pub fn phase(&self, stage: u32) -> StagePhase {
        self.kernel
            .stage_view(StageNumber(stage))
            .unwrap()
            .phase
            .unwrap_or(StagePhase::New)
    }

    pub fn is_skipped(&self, stage: u32) -> bool {
        self.kernel.stage_view(StageNumber(stage)).unwrap().skipped
    }

    pub fn code(&self) -> &'static str {
        match &self.end {
            None => "running",
            Some(Ok(())) => "success",
            Some(Err(report)) => report.fault.code(),
        }
    }

    fn needs_boundaries(&self, stage: u32) -> bool {
        let definition = self.kernel.query().stage(StageNumber(stage)).unwrap();
        definition
            .shuffle
            .as_ref()
            .is_some_and(|shuffle| shuffle.kind.needs_boundaries())
    }

    /// Brings a stage to a phase by the shortest way.
    pub fn bring(&mut self, stage: u32, phase: StagePhase) -> &mut Self {
        if phase != StagePhase::New {
            let inputs = self
                .kernel
                .query()
                .stage(StageNumber(stage))
                .unwrap()
                .input_stages();
            for input in inputs {
                if !self.is_skipped(input.0) && !self.is_done(input.0) {
                    self.bring(input.0, StagePhase::ResultsReady);
                }
            }
        }
        match phase {
            StagePhase::New | StagePhase::ReadingInput => {}
            // The kernel passes through this phase within one event: here all but the last order have counted.
            StagePhase::MergingStatistics => {
                let workers = self.workers_of(stage);
                for worker in &workers[..workers.len() - 1] {
                    self.counted(stage, *worker, keys(0..10));
                }
                return self;
            }
            StagePhase::PostReading => {
                for worker in self.workers_of(stage) {
                    self.counted(stage, worker, keys(0..10));
                }
            }
            StagePhase::ResultsReady => {
                if self.needs_boundaries(stage) && self.phase(stage) == StagePhase::ReadingInput {
                    self.bring(stage, StagePhase::PostReading);
                }
                self.outputs(stage);
            }
            StagePhase::Finished => {
                self.bring(stage, StagePhase::ResultsReady);
                let consumers: Vec<u32> = self.consumers(stage);
                for consumer in consumers {
                    self.bring(consumer, StagePhase::ResultsReady);
                }
            }
            StagePhase::Failed => {
                self.cancel();
            }
            StagePhase::Retrying => {
                self.bring(stage, StagePhase::ReadingInput);
                self.lose(self.workers_of(stage)[0]);
            }
        }
        assert_eq!(self.phase(stage), phase, "stage {stage}");
        self
    }

    fn is_done(&self, stage: u32) -> bool {
        matches!(self.phase(stage), StagePhase::ResultsReady | StagePhase::Finished)
    }

    fn consumers(&self, stage: u32) -> Vec<u32> {
        let reads =
            |of: &&sarsen_kernel::query::StageDefinition| of.input_stages().contains(&StageNumber(stage));
        self.kernel
            .query()
            .stages
            .iter()
            .filter(reads)
            .map(|definition| definition.number.0)
            .collect()
    }
}

/// Statistics of eight-byte keys, ten bytes a row.
pub fn keys(keys: impl IntoIterator<Item = u64>) -> KeyStatistics {
    let mut collector = KeyStatisticsCollector::new(1, 1 << 16, 0);
    for key in keys {
        collector.add(&key.to_be_bytes(), 10);
    }
    collector.finish()
}

/// Rows by one-byte time chunk.
pub fn chunks(rows: &[(u8, u64)]) -> KeyStatistics {
    let mut statistics = KeyStatistics::default();
    for (chunk, rows) in rows {
        statistics.add_bucket(&[*chunk], *rows, *rows);
    }
    statistics
}

pub fn sent(actions: &[ControllerAction]) -> Vec<WorkOrderId> {
    let sent = |action: &ControllerAction| match action {
        ControllerAction::SendWorkOrder { order, .. } => Some(order.id),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

pub fn stopped(actions: &[ControllerAction]) -> Vec<WorkOrderId> {
    let stopped = |action: &ControllerAction| match action {
        ControllerAction::StopWorkOrder { order } => Some(*order),
        _ => None,
    };
    actions.iter().filter_map(stopped).collect()
}

pub fn cleaned(actions: &[ControllerAction]) -> Vec<WorkOrderId> {
    let cleaned = |action: &ControllerAction| match action {
        ControllerAction::CleanUpOutput { order } => Some(*order),
        _ => None,
    };
    actions.iter().filter_map(cleaned).collect()
}

pub fn finished_workers(actions: &[ControllerAction]) -> Vec<(u32, u32)> {
    let finished = |action: &ControllerAction| match action {
        ControllerAction::FinishWorker { worker, incarnation } => Some((worker.0, incarnation.0)),
        _ => None,
    };
    actions.iter().filter_map(finished).collect()
}

pub fn launched(actions: &[ControllerAction]) -> Vec<(u32, u32)> {
    let launched = |action: &ControllerAction| match action {
        ControllerAction::LaunchWorker { worker, incarnation } => Some((worker.0, incarnation.0)),
        _ => None,
    };
    actions.iter().filter_map(launched).collect()
}
