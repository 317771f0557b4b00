//! What a loss undoes: which work orders run again, and which of their readers.

use std::sync::Arc;

use super::event::ControllerAction;
use super::kernel::{ControllerKernel, WorkerState};
use super::phase::StagePhase;
use super::stage::{Attempts, Order, OrderStatus, StageState};
use crate::fault::{Fault, FaultReport};
use crate::ids::{Attempt, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use crate::query::StageDefinition;
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
        let is_current =
            |state: &&mut WorkerState| state.incarnation == incarnation && state.launched.is_some();
        let Some(state) = self.workers.get_mut(worker.0 as usize).filter(is_current) else {
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
            let Some(state) = self.stages.get(position) else {
                continue;
            };
            let Some(order) = state.orders.get(&worker) else {
                continue;
            };
            let lost_output = order.status == OrderStatus::Ready && limits.output != OutputMode::Durable;
            let (number, is_needed) = (state.number, self.is_needed(state));
            if order.is_running() || (lost_output && is_needed) {
                self.reset(number, worker);
            } else if lost_output && let Some(order) = self.order_mut(number, worker) {
                // All have read it. Should one of them have to begin again, it is made again like any that was cleaned.
                order.status = OrderStatus::Cleaned;
            }
        }
        self.dirty.disturb();
        self.dirty.mark_all();
        Ok(())
    }

    /// Whether somebody has yet to read a stage's output to the end.
    fn is_needed(&self, state: &StageState) -> bool {
        let is_last = self.last_living().is_some_and(|last| last.number == state.number);
        let has_read_all =
            |reader: &StageState| reader.has_started() && reader.orders.values().all(Order::has_read);
        is_last || !self.consumers(state.number).all(has_read_all)
    }

    fn order_mut(&mut self, stage: StageNumber, worker: WorkerNumber) -> Option<&mut Order> {
        self.stages.get_mut(stage.0 as usize)?.orders.get_mut(&worker)
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
        let Some(order) = self.order_mut(stage, worker) else {
            return Ok(());
        };
        let (attempt, incarnation) = (order.attempt, order.incarnation);
        order.reruns += 1;
        if order.reruns >= attempts {
            return Err(Fault::TooManyAttemptsForWorker {
                max_per_worker_relaunch_count: u64::from(attempts),
                task_id: self.query.query_id.worker_task_id(worker, incarnation),
                worker_number: u64::from(worker.0),
                root_error_message: reason.fault.message(),
            }
            .into());
        }
        let id = WorkOrderId {
            stage,
            worker,
            attempt,
        };
        actions.push(ControllerAction::StopWorkOrder { order: id });
        self.reset(stage, worker);
        Ok(())
    }

    /// The order's next attempt waits to be sent.
    fn reset(&mut self, stage: StageNumber, worker: WorkerNumber) {
        let is_last = self.last_living().is_some_and(|last| last.number == stage);
        let now = self.now;
        if let Some(state) = self.stages.get_mut(stage.0 as usize) {
            let boundaries_stand = state.boundaries.is_some();
            if let Some(order) = state.orders.get_mut(&worker) {
                order.attempt = Attempt(order.attempt.0 + 1);
                order.status = OrderStatus::Waiting;
                if !boundaries_stand {
                    order.reads.clear();
                    order.statistics = None;
                }
            }
        }
        if let Some(state) = self.stages.get_mut(stage.0 as usize) {
            state.forget_attempts();
        }
        self.dirty.disturb();
        self.dirty.mark(stage);
        self.register(stage, StagePhase::Retrying, now);
        if is_last {
            self.take_back_results();
        }
    }

    /// Whether a second run of this stage's orders may place or choose rows otherwise than the first: by itself, or
    /// because of what it reads.
    fn is_unstable(&self, stage: StageNumber) -> bool {
        self.query.stage(stage).is_some_and(|definition| {
            let order_dependent = definition
                .shuffle
                .as_ref()
                .is_some_and(|shuffle| shuffle.kind.is_order_dependent());
            order_dependent || !definition.deterministic || self.has_unstable_input(stage)
        })
    }

    fn has_unstable_input(&self, stage: StageNumber) -> bool {
        let inputs = self
            .query
            .stage(stage)
            .map(|definition| definition.input_stages())
            .unwrap_or_default();
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
                    // What was read to the end stays good when the new attempt gives the same rows in the same places.
                    let stale = self
                        .superseded(order)
                        .any(|stage| !order.has_read() || self.is_unstable(stage));
                    if stale {
                        resets.push((state.number, *worker));
                    }
                }
            }
            resets.extend(self.forget_boundaries());
            resets.sort_unstable();
            resets.dedup();
            if resets.is_empty() {
                return Ok(());
            }
            for (stage, worker) in resets {
                let Some(state) = self.stages.get(stage.0 as usize) else {
                    continue;
                };
                let Some(order) = state.orders.get(&worker) else {
                    continue;
                };
                if order.is_running() || order.status == OrderStatus::Ready {
                    let id = WorkOrderId {
                        stage,
                        worker,
                        attempt: order.attempt,
                    };
                    actions.push(ControllerAction::StopWorkOrder { order: id });
                }
                self.reset(stage, worker);
            }
        }
    }

    /// Stages of which the order read an attempt that is no more.
    fn superseded(&self, order: &Order) -> impl Iterator<Item = StageNumber> {
        let stands = |stage: &StageNumber, read: &Arc<Attempts>| {
            self.stages
                .get(stage.0 as usize)
                .is_some_and(|state| state.has_attempts(read))
        };
        let reads = order.reads.iter();
        reads
            .filter(move |(stage, read)| !stands(stage, read))
            .map(|(stage, _)| *stage)
    }

    /// Boundaries that were cut from rows which may now be others are forgotten: all orders of such a stage begin again,
    /// and the partitions that come of it are spread anew over its readers.
    fn forget_boundaries(&mut self) -> Vec<(StageNumber, WorkerNumber)> {
        let is_void = |definition: &StageDefinition, state: &StageState| {
            let mut waiting = state
                .orders
                .values()
                .filter(|order| order.status == OrderStatus::Waiting);
            let other_rows = |order: &Order| self.superseded(order).any(|stage| self.is_unstable(stage));
            state.boundaries.is_some() && waiting.any(|order| !definition.deterministic || other_rows(order))
        };
        let stages = self.query.stages.iter().zip(&self.stages);
        let void: Vec<StageNumber> = stages
            .filter(|(definition, state)| is_void(definition, state))
            .map(|(_, state)| state.number)
            .collect();
        let mut also = Vec::new();
        for stage in void {
            if let Some(state) = self.stages.get_mut(stage.0 as usize) {
                state.boundaries = None;
                state.forget_weights();
                also.extend(state.orders.keys().map(|worker| (stage, *worker)));
            }
            for (definition, reader) in self.query.stages.iter().zip(&mut self.stages) {
                reader.inputs_changed |= reader.has_started() && definition.input_stages().contains(&stage);
            }
        }
        also
    }

    /// Orders whose cleaned output one of these inputs needs.
    fn cleaned_inputs(&self, inputs: &[InputSlice]) -> Vec<(StageNumber, WorkerNumber)> {
        let mut cleaned = Vec::new();
        for input in inputs {
            let InputSlice::Partitions { stage, .. } = input else {
                continue;
            };
            let Some(state) = self.stages.get(stage.0 as usize) else {
                continue;
            };
            let gone = state
                .orders
                .iter()
                .filter(|(_, order)| order.status == OrderStatus::Cleaned);
            cleaned.extend(gone.map(|(worker, _)| (*stage, *worker)));
        }
        cleaned
    }
}
