//! What a loss undoes: which work orders run again, and which of their readers.

use super::event::ControllerAction;
use super::kernel::ControllerKernel;
use super::phase::StagePhase;
use super::stage::OrderStatus;
use crate::fault::{Fault, FaultReport};
use crate::ids::{Attempt, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use crate::work_order::{InputSlice, OutputMode};

impl ControllerKernel {
    /// A worker died: it is launched anew, and what it ran or still held for others runs again.
    pub(super) fn lose_worker(
        &mut self,
        worker: WorkerNumber,
        incarnation: Incarnation,
        reason: &FaultReport,
        now: Millis,
        actions: &mut Vec<ControllerAction>,
    ) -> Result<(), FaultReport> {
        let is_publishing = self.is_publishing();
        let limits = self.limits.clone();
        let task_id = self.query.query_id.worker_task_id(worker, incarnation);
        let Some(state) = self.workers.get_mut(worker.0 as usize).filter(|state| state.incarnation == incarnation)
        else {
            return Ok(());
        };
        state.ready = false;
        if is_publishing {
            return Ok(());
        }
        let root_error_message = reason.fault.message();
        state.relaunches += 1;
        if state.relaunches > limits.worker_relaunches {
            return Err(Fault::TooManyAttemptsForWorker {
                max_per_worker_relaunch_count: u64::from(limits.worker_relaunches),
                task_id,
                worker_number: u64::from(worker.0),
                root_error_message,
            }
            .into());
        }
        state.incarnation = Incarnation(incarnation.0 + 1);
        state.launched = Some(now);
        let incarnation = state.incarnation;
        self.relaunches += 1;
        if self.relaunches > limits.job_relaunches {
            return Err(Fault::TooManyAttemptsForJob {
                max_relaunch_count: u64::from(limits.job_relaunches),
                current_relaunch_count: u64::from(self.relaunches),
                task_id,
                root_error_message,
            }
            .into());
        }
        actions.push(ControllerAction::LaunchWorker { worker, incarnation });
        for position in 0..self.stages.len() {
            let Some(state) = self.stages.get(position) else { continue };
            let Some(order) = state.orders.get(&worker) else { continue };
            let lost_output = order.status == OrderStatus::Ready && limits.output != OutputMode::Durable;
            if order.is_running() || lost_output {
                let number = state.number;
                self.reset(number, worker);
            }
        }
        Ok(())
    }

    /// Runs one work order again on the worker that has it.
    pub(super) fn rerun(
        &mut self,
        stage: StageNumber,
        worker: WorkerNumber,
        reason: &FaultReport,
        actions: &mut Vec<ControllerAction>,
    ) -> Result<(), FaultReport> {
        let attempts = self.limits.order_attempts;
        let Some(order) = self.stages.get(stage.0 as usize).and_then(|state| state.orders.get(&worker)) else {
            return Ok(());
        };
        if order.attempt.0 + 1 >= attempts {
            return Err(Fault::TooManyAttemptsForWorker {
                max_per_worker_relaunch_count: u64::from(attempts),
                task_id: self.query.query_id.worker_task_id(worker, order.incarnation),
                worker_number: u64::from(worker.0),
                root_error_message: reason.fault.message(),
            }
            .into());
        }
        let id = WorkOrderId { stage, worker, attempt: order.attempt };
        actions.push(ControllerAction::StopWorkOrder { order: id });
        self.reset(stage, worker);
        Ok(())
    }

    /// The order's next attempt waits to be sent.
    fn reset(&mut self, stage: StageNumber, worker: WorkerNumber) {
        let is_last = stage.0 as usize + 1 == self.stages.len();
        let now = self.now;
        if let Some(state) = self.stages.get_mut(stage.0 as usize) {
            let boundaries_stand = state.boundaries.is_some();
            if let Some(order) = state.orders.get_mut(&worker) {
                order.attempt = Attempt(order.attempt.0 + 1);
                order.status = OrderStatus::Waiting;
                order.reads.clear();
                order.sizes.clear();
                if !boundaries_stand {
                    order.statistics = None;
                }
            }
        }
        self.register(stage, StagePhase::Retrying, now);
        if is_last {
            self.take_back_results();
        }
    }

    /// Whether a second run of this stage's orders may place or choose rows otherwise than the first: by itself, or
    /// because of what it reads.
    fn is_unstable(&self, stage: StageNumber) -> bool {
        self.query.stage(stage).is_some_and(|definition| {
            let order_dependent =
                definition.shuffle.as_ref().is_some_and(|shuffle| shuffle.kind.is_order_dependent());
            order_dependent || !definition.deterministic || self.has_unstable_input(stage)
        })
    }

    fn has_unstable_input(&self, stage: StageNumber) -> bool {
        let inputs = self.query.stage(stage).map(|definition| definition.input_stages()).unwrap_or_default();
        inputs.into_iter().any(|input| self.is_unstable(input))
    }

    /// Until nothing changes: an order that reads an attempt that is no more begins again; an order that must read a
    /// cleaned output has it made again.
    pub(super) fn restart_readers_of_lost_outputs(
        &mut self,
        actions: &mut Vec<ControllerAction>,
    ) -> Result<(), FaultReport> {
        loop {
            let mut resets: Vec<(StageNumber, WorkerNumber)> = Vec::new();
            for state in &self.stages {
                for (worker, order) in &state.orders {
                    if order.status == OrderStatus::Waiting {
                        resets.extend(self.cleaned_inputs(&order.inputs));
                        continue;
                    }
                    let stale = order.reads.iter().any(|((stage, producer), attempt)| {
                        let current = self
                            .stages
                            .get(stage.0 as usize)
                            .and_then(|state| state.orders.get(producer))
                            .map(|order| order.attempt);
                        // What was read to the end stays good when the new attempt gives the same rows in the same
                        // places.
                        current != Some(*attempt) && (!order.has_read() || self.is_unstable(*stage))
                    });
                    if stale {
                        resets.push((state.number, *worker));
                    }
                }
            }
            resets.extend(self.forget_boundaries(&resets));
            resets.sort_unstable();
            resets.dedup();
            if resets.is_empty() {
                return Ok(());
            }
            for (stage, worker) in resets {
                let Some(state) = self.stages.get(stage.0 as usize) else { continue };
                let Some(order) = state.orders.get(&worker) else { continue };
                if order.is_running() || order.status == OrderStatus::Ready {
                    let id = WorkOrderId { stage, worker, attempt: order.attempt };
                    actions.push(ControllerAction::StopWorkOrder { order: id });
                }
                self.reset(stage, worker);
            }
        }
    }

    /// Boundaries that were cut from rows which may now be others are forgotten, and all orders of such a stage begin
    /// again.
    fn forget_boundaries(&mut self, resets: &[(StageNumber, WorkerNumber)]) -> Vec<(StageNumber, WorkerNumber)> {
        let mut also = Vec::new();
        for (stage, _) in resets {
            if !self.has_unstable_input(*stage) {
                continue;
            }
            let Some(state) = self.stages.get_mut(stage.0 as usize) else { continue };
            if state.boundaries.take().is_some() {
                also.extend(state.orders.keys().map(|worker| (*stage, *worker)));
            }
        }
        also
    }

    /// Orders whose cleaned output one of these inputs needs.
    fn cleaned_inputs(&self, inputs: &[InputSlice]) -> Vec<(StageNumber, WorkerNumber)> {
        let mut cleaned = Vec::new();
        for input in inputs {
            let InputSlice::Partitions { stage, .. } = input else { continue };
            let Some(state) = self.stages.get(stage.0 as usize) else { continue };
            let gone = state.orders.iter().filter(|(_, order)| order.status == OrderStatus::Cleaned);
            cleaned.extend(gone.map(|(worker, _)| (*stage, *worker)));
        }
        cleaned
    }
}
