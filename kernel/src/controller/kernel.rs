//! The query's state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assign::{self, Producing, Spread};
use super::check::check;
use super::dirty::Dirty;
use super::event::{ControllerAction, ControllerEvent};
use super::limits::Limits;
use super::phase::StagePhase;
use super::stage::{Order, OrderStatus, StageState};
use crate::fault::{Fault, FaultReport};
use crate::ids::{Epoch, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use crate::query::{QueryDefinition, QueryKind, StageDefinition, StageInput};
use crate::shuffle::{Boundaries, ShuffleKind};
use crate::statistics::{KeyStatistics, cut_buckets, cut_ranges};
use crate::work_order::{InputSlice, OutputMode, Producer, WorkOrder};

/// Decides for one query. Every event is followed by [`ControllerKernel::settle`], which alone says what may start, what
/// is decided and what may be cleaned; what a loss undoes is in `recover.rs`.
#[derive(Debug, Clone)]
pub struct ControllerKernel {
    pub(super) query: QueryDefinition,
    pub(super) limits: Limits,
    pub(super) epoch: Epoch,
    pub(super) workers: Vec<WorkerState>,
    pub(super) stages: Vec<StageState>,
    /// Decided numbers of partitions by group.
    pub(super) groups: BTreeMap<u32, u32>,
    /// Decided alternatives by choice.
    pub(super) choices: Vec<Option<u32>>,
    pub(super) relaunches: u32,
    /// Stages that the next settling has to look at, and what else may have changed.
    pub(super) dirty: Dirty,
    started: Option<Millis>,
    /// Time of the event that is being handled.
    pub(super) now: Millis,
    ending: Ending,
}

#[derive(Debug, Clone)]
pub(super) struct WorkerState {
    pub incarnation: Incarnation,
    pub ready: bool,
    pub launched: Option<Millis>,
    pub relaunches: u32,
}

/// How far the query's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Running,
    /// Results are being read or published.
    Handing,
    Finished,
}

/// What a report shows of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageView {
    pub phase: Option<StagePhase>,
    pub skipped: bool,
    pub worker_count: Option<u32>,
    pub partition_count: Option<u32>,
    pub started: Option<Millis>,
    pub ended: Option<Millis>,
    pub boundaries: Option<Arc<Boundaries>>,
}

/// Counts of what a kernel holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    pub orders: usize,
    /// Splits that no order has yet.
    pub unassigned: usize,
    /// Partitions whose sizes are known.
    pub weights: usize,
    /// Partitions whose boundaries are known.
    pub boundaries: usize,
    /// Sampled keys.
    pub samples: usize,
    /// Attempts that are remembered as read.
    pub attempts: usize,
}

impl ControllerKernel {
    /// A kernel for `query` over `workers` worker tasks.
    ///
    /// # Errors
    /// When the definition cannot run or passes a limit.
    pub fn new(query: QueryDefinition, limits: Limits, workers: u32, epoch: Epoch) -> Result<Self, Fault> {
        check(&query, &limits, workers)?;
        let stages = query
            .stages
            .iter()
            .map(|stage| StageState::new(stage.number))
            .collect();
        let choices = vec![None; query.choices.len()];
        let query_inputs: Vec<_> = query.stages.iter().map(StageDefinition::input_stages).collect();
        let worker = WorkerState {
            incarnation: Incarnation(0),
            ready: false,
            launched: None,
            relaunches: 0,
        };
        Ok(ControllerKernel {
            query,
            limits,
            epoch,
            workers: vec![worker; workers as usize],
            stages,
            groups: BTreeMap::new(),
            choices,
            relaunches: 0,
            dirty: Dirty::new(&query_inputs),
            started: None,
            now: 0,
            ending: Ending::Running,
        })
    }

    pub fn query(&self) -> &QueryDefinition {
        &self.query
    }

    /// Where outputs are kept.
    pub fn output_mode(&self) -> OutputMode {
        self.limits.output
    }

    /// How many things of each kind it holds, for judging how its memory grows.
    pub fn footprint(&self) -> Footprint {
        let mut footprint = Footprint::default();
        let mut shared = BTreeSet::new();
        for state in &self.stages {
            footprint.orders += state.orders.len();
            footprint.unassigned += state
                .queues
                .values()
                .map(|queue| queue.len() as usize)
                .sum::<usize>();
            footprint.weights += state.weights.len();
            footprint.boundaries += state
                .boundaries
                .as_ref()
                .map_or(0, |known| known.partition_count());
            for order in state.orders.values() {
                footprint.samples += order.statistics.as_ref().map_or(0, KeyStatistics::sample_count);
                for read in order.reads.values() {
                    if shared.insert(Arc::as_ptr(read)) {
                        footprint.attempts += read.len();
                    }
                }
            }
        }
        footprint
    }

    /// Worker numbers of the query.
    pub fn worker_count(&self) -> u32 {
        u32::try_from(self.workers.len()).unwrap_or(u32::MAX)
    }

    /// Whether the end was told.
    pub fn is_finished(&self) -> bool {
        self.ending == Ending::Finished
    }

    /// What follows from an event.
    pub fn handle(&mut self, event: ControllerEvent, now: Millis) -> Vec<ControllerAction> {
        let mut actions = Vec::new();
        if self.is_finished() {
            return actions;
        }
        self.now = now;
        let outcome = self
            .apply(event, now, &mut actions)
            .and_then(|()| self.settle(now, &mut actions));
        if let Err(fault) = outcome {
            self.finish(Err(fault), now, &mut actions);
        }
        actions
    }

    fn apply(
        &mut self,
        event: ControllerEvent,
        now: Millis,
        actions: &mut Vec<ControllerAction>,
    ) -> Result<(), FaultReport> {
        if self.is_publishing() && event.is_of_order() {
            return Ok(());
        }
        match event {
            ControllerEvent::Started if self.started.is_some() => {}
            ControllerEvent::Started => {
                self.dirty.mark_all();
                self.started = Some(now);
                for (worker, state) in (0_u32..).zip(&mut self.workers) {
                    state.launched = Some(now);
                    let incarnation = state.incarnation;
                    actions.push(ControllerAction::LaunchWorker {
                        worker: WorkerNumber(worker),
                        incarnation,
                    });
                }
            }
            ControllerEvent::WorkerReady { worker, incarnation } => {
                if let Some(state) = self.worker_mut(worker)
                    && state.incarnation == incarnation
                    && state.launched.is_some()
                {
                    state.ready = true;
                    self.dirty.mark_all();
                }
            }
            ControllerEvent::WorkerLost {
                worker,
                incarnation,
                reason,
            } => {
                self.lose_worker(worker, incarnation, &reason, now, actions)?;
            }
            ControllerEvent::SplitsWanted {
                order,
                input,
                portion,
                wanted,
            } => self.answer_for_splits(order, input, portion, wanted, actions),
            ControllerEvent::Statistics { order, statistics } => {
                if let Some(current) = self.current(order)
                    && current.status == OrderStatus::Reading
                {
                    current.status = OrderStatus::Counted;
                    current.given_all = true;
                    self.keep_statistics(order, statistics);
                    self.dirty.mark(order.stage);
                }
            }
            ControllerEvent::OutputReady { order, sizes } => {
                if let Some(current) = self.current(order)
                    && current.is_running()
                {
                    current.status = OrderStatus::Ready;
                    current.given_all = true;
                    if let Some(state) = self.stages.get_mut(order.stage.0 as usize) {
                        state.weigh(order.worker, &sizes);
                    }
                    self.dirty.mark(order.stage);
                }
            }
            ControllerEvent::WorkOrderFailed { order, fault } => {
                if self.current(order).is_some_and(|current| current.is_running()) {
                    if !fault.fault.is_retriable() {
                        return Err(fault);
                    }
                    self.rerun(order.stage, order.worker, &fault, actions)?;
                }
            }
            ControllerEvent::OutputUnavailable { consumer, producer } => {
                let waits = match consumer {
                    Some(consumer) => self.current(consumer).is_some_and(|order| order.is_running()),
                    None => self.ending == Ending::Handing,
                };
                if waits
                    && self
                        .current(producer)
                        .is_some_and(|order| order.status == OrderStatus::Ready)
                {
                    let task = self
                        .query
                        .query_id
                        .worker_task_id(producer.worker, Incarnation(0));
                    let reason = Fault::WorkerRpcFailed {
                        worker_task_id: task,
                        error_msg: Some(format!("the output of {producer} could not be fetched")),
                    };
                    self.rerun(producer.stage, producer.worker, &reason.into(), actions)?;
                }
            }
            ControllerEvent::ResultsRead => {
                if self.ending == Ending::Handing && self.query.kind == QueryKind::Select {
                    self.finish(Ok(()), now, actions);
                }
            }
            ControllerEvent::Published => {
                if self.is_publishing() {
                    self.finish(Ok(()), now, actions);
                }
            }
            ControllerEvent::PublishFailed { fault } | ControllerEvent::Cancel { fault } => {
                return Err(fault);
            }
            ControllerEvent::Tick => self.check_deadlines(now)?,
        }
        Ok(())
    }

    /// The one place where a late event is recognised: the order, if `id` names its current attempt.
    pub(super) fn current(&mut self, id: WorkOrderId) -> Option<&mut Order> {
        self.stages
            .get_mut(id.stage.0 as usize)?
            .orders
            .get_mut(&id.worker)
            .filter(|order| order.attempt == id.attempt)
    }

    fn worker_mut(&mut self, worker: WorkerNumber) -> Option<&mut WorkerState> {
        self.workers.get_mut(worker.0 as usize)
    }

    pub(super) fn register(&mut self, stage: StageNumber, next: StagePhase, now: Millis) {
        let Some(state) = self.stages.get_mut(stage.0 as usize) else {
            return;
        };
        if state.phase == next || !state.phase.can_become(next) {
            return;
        }
        state.phase = next;
        match next {
            StagePhase::ReadingInput => state.started = state.started.or(Some(now)),
            StagePhase::ResultsReady | StagePhase::Failed => state.ended = Some(now),
            StagePhase::Retrying => state.ended = None,
            _ => {}
        }
    }

    /// Brings the query as far as it can go without a further event.
    fn settle(&mut self, now: Millis, actions: &mut Vec<ControllerAction>) -> Result<(), FaultReport> {
        if self.started.is_none() || self.is_finished() {
            return Ok(());
        }
        if self.dirty.take_disturbed() {
            self.restart_readers_of_lost_outputs(actions)?;
            self.dirty.take_disturbed();
            self.dirty.mark_all();
        }
        while let Some(position) = self.dirty.take_first() {
            if self.decide_choices() {
                self.dirty.mark_all();
                self.dirty.unmark(position);
            }
            self.start_stage(position, now)?;
            self.send_orders(position, now, actions);
            self.cut_boundaries(position, now, actions)?;
            self.send_boundaries(position, actions);
            if self.complete_stage(position, now) {
                self.dirty.done(position);
            }
        }
        for position in self.dirty.take_cleanable() {
            self.clean_up(position, now, actions);
        }
        self.hand_over(actions);
        Ok(())
    }

    /// Keeps a work order's statistics within its part of what a stage's may take.
    fn keep_statistics(&mut self, order: WorkOrderId, mut statistics: KeyStatistics) {
        if let Some(state) = self.stages.get_mut(order.stage.0 as usize) {
            statistics.limit(STATISTICS_BYTES / state.orders.len().max(1));
            if let Some(order) = state.orders.get_mut(&order.worker) {
                order.statistics = Some(statistics);
            }
        }
    }

    fn start_stage(&mut self, position: usize, now: Millis) -> Result<(), FaultReport> {
        let (Some(definition), Some(state)) = (self.query.stages.get(position), self.stages.get(position))
        else {
            return Ok(());
        };
        let begins = !state.has_started();
        if !(begins || state.inputs_changed) || state.skipped || !self.is_decided(definition) {
            return Ok(());
        }
        let ready = definition.inputs.iter().all(|input| match input {
            StageInput::Splits { .. } => true,
            StageInput::Stage { candidates, .. } => {
                self.living(candidates).is_some_and(StageState::all_ready)
            }
        });
        if !ready {
            return Ok(());
        }
        let workers = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        let producing = |candidates: &[StageNumber]| {
            let state = self.living(candidates)?;
            let sorted = state
                .shuffle
                .as_ref()
                .is_some_and(|shuffle| shuffle.kind.is_sorted());
            Some(Producing { state, sorted })
        };
        if !begins {
            let count = u32::try_from(state.orders.len()).unwrap_or(u32::MAX);
            let assigned = assign::orders(definition, Spread::Over(count), producing);
            if let Some(state) = self.stages.get_mut(position) {
                state.replace_partitions(assigned);
            }
            return Ok(());
        }
        let assigned = assign::orders(definition, Spread::UpTo(workers), producing);
        let number = definition.number;
        let shuffle = self.decided_shuffle(position)?;
        if let Some(state) = self.stages.get_mut(position) {
            state.orders = assigned.orders;
            state.queues = assigned.queues;
            state.shuffle = shuffle;
        }
        self.register(number, StagePhase::ReadingInput, now);
        Ok(())
    }

    fn send_orders(&mut self, position: usize, now: Millis, actions: &mut Vec<ControllerAction>) {
        let waiting: Vec<WorkerNumber> = self
            .stages
            .get(position)
            .into_iter()
            .flat_map(|state| &state.orders)
            .filter(|(_, order)| order.status == OrderStatus::Waiting)
            .map(|(worker, _)| *worker)
            .collect();
        for worker in waiting {
            let Some(incarnation) = self
                .workers
                .get(worker.0 as usize)
                .filter(|state| state.ready)
                .map(|state| state.incarnation)
            else {
                continue;
            };
            let Some((inputs, reads)) = self.resolve_inputs(position, worker) else {
                continue;
            };
            let Some(state) = self.stages.get_mut(position) else {
                continue;
            };
            let (shuffle, boundaries, number) = (
                state.shuffle.clone(),
                state.boundaries.as_deref().cloned(),
                state.number,
            );
            let Some(order) = state.orders.get_mut(&worker) else {
                continue;
            };
            order.status = OrderStatus::Reading;
            order.portions.clear();
            order.incarnation = incarnation;
            order.reads = reads;
            let id = WorkOrderId {
                stage: number,
                worker,
                attempt: order.attempt,
            };
            actions.push(ControllerAction::SendWorkOrder {
                incarnation,
                order: Box::new(WorkOrder {
                    query_id: self.query.query_id.clone(),
                    id,
                    epoch: self.epoch,
                    inputs,
                    fragment: Vec::new(),
                    shuffle,
                    boundaries,
                    output: self.limits.output,
                }),
            });
            self.register(number, StagePhase::ReadingInput, now);
        }
    }

    /// The order's inputs with their producers, when all of those are there.
    fn resolve_inputs(&mut self, position: usize, worker: WorkerNumber) -> Option<(Vec<InputSlice>, Reads)> {
        let state = self.stages.get(position).filter(|state| !state.inputs_changed)?;
        let (stage, mut inputs) = (state.number, state.orders.get(&worker)?.inputs.clone());
        let mut reads = BTreeMap::new();
        for input in &mut inputs {
            let InputSlice::Partitions { stage, producers, .. } = input else {
                continue;
            };
            let producing = self.stages.get_mut(stage.0 as usize)?;
            if !producing.all_ready() {
                return None;
            }
            *producers = producing
                .orders
                .iter()
                .map(|(worker, order)| Producer {
                    worker: *worker,
                    incarnation: order.incarnation,
                    attempt: order.attempt,
                    address: String::new(),
                })
                .collect();
            reads.insert(*stage, producing.attempts());
        }
        for (number, input) in inputs.iter_mut().enumerate() {
            if let InputSlice::Splits { splits, unassigned } = input {
                *unassigned = self.first_portion(stage, worker, number, splits);
            }
        }
        Some((inputs, reads))
    }

    fn cut_boundaries(
        &mut self,
        position: usize,
        now: Millis,
        actions: &mut Vec<ControllerAction>,
    ) -> Result<(), FaultReport> {
        let Some(state) = self.stages.get(position) else {
            return Ok(());
        };
        let Some(shuffle) = state
            .shuffle
            .as_ref()
            .filter(|shuffle| shuffle.kind.needs_boundaries())
        else {
            return Ok(());
        };
        let complete =
            !state.orders.is_empty() && state.orders.values().all(|order| order.statistics.is_some());
        if state.boundaries.is_some() || !complete {
            return Ok(());
        }
        let number = state.number;
        let max_partitions = self.limits.max_partitions;
        let boundaries = match shuffle.kind {
            ShuffleKind::GlobalSort(target) => {
                let mut merged = KeyStatistics::default();
                for statistics in state
                    .orders
                    .values()
                    .filter_map(|order| order.statistics.as_ref())
                {
                    merged.merge(statistics);
                }
                let cut = cut_ranges(&merged, target, max_partitions)?;
                for heavy in &cut.heavy_keys {
                    let message = format!(
                        "one key has about {} rows, more than a partition should hold; it has a partition of its own",
                        heavy.rows
                    );
                    actions.push(ControllerAction::Warn {
                        stage: number,
                        message,
                    });
                }
                Boundaries::Ranges(cut.ranges)
            }
            ShuffleKind::Bucket { target_rows } => {
                let counts = state
                    .orders
                    .iter()
                    .filter_map(|(worker, order)| Some((*worker, order.statistics.as_ref()?.bucket_rows())))
                    .collect();
                Boundaries::Buckets(cut_buckets(&counts, target_rows, max_partitions)?)
            }
            _ => return Ok(()),
        };
        self.register(number, StagePhase::MergingStatistics, now);
        if let Some(state) = self.stages.get_mut(position) {
            state.boundaries = Some(Arc::new(boundaries));
            state
                .orders
                .values_mut()
                .for_each(|order| order.statistics = None);
        }
        self.register(number, StagePhase::PostReading, now);
        Ok(())
    }

    fn send_boundaries(&mut self, position: usize, actions: &mut Vec<ControllerAction>) {
        let Some(state) = self.stages.get_mut(position) else {
            return;
        };
        let Some(boundaries) = state.boundaries.clone() else {
            return;
        };
        for (worker, order) in &mut state.orders {
            if order.status == OrderStatus::Counted {
                order.status = OrderStatus::Cutting;
                let id = WorkOrderId {
                    stage: state.number,
                    worker: *worker,
                    attempt: order.attempt,
                };
                actions.push(ControllerAction::SendBoundaries {
                    order: id,
                    boundaries: boundaries.clone(),
                });
            }
        }
    }

    /// Whether all outputs of a stage are, or were, complete.
    fn complete_stage(&mut self, position: usize, now: Millis) -> bool {
        let Some(state) = self.stages.get(position).filter(|state| state.all_done()) else {
            return false;
        };
        self.register(state.number, StagePhase::ResultsReady, now);
        true
    }

    /// Cleans a stage's outputs when nobody will read them again.
    fn clean_up(&mut self, position: usize, now: Millis, actions: &mut Vec<ControllerAction>) {
        let last = self.stages.len().saturating_sub(1);
        if position < last && self.is_read_by_all(position) {
            let Some(state) = self.stages.get_mut(position) else {
                return;
            };
            state.weights = Vec::new();
            for (worker, order) in &mut state.orders {
                if order.status == OrderStatus::Ready {
                    order.status = OrderStatus::Cleaned;
                    let order = WorkOrderId {
                        stage: state.number,
                        worker: *worker,
                        attempt: order.attempt,
                    };
                    actions.push(ControllerAction::CleanUpOutput { order });
                }
            }
            let number = state.number;
            self.register(number, StagePhase::Finished, now);
        }
    }

    /// Whether every living consumer of a stage has all its outputs.
    pub(super) fn is_read_by_all(&self, position: usize) -> bool {
        let Some(state) = self.stages.get(position).filter(|state| state.all_done()) else {
            return false;
        };
        let mut consumers = self.consumers(state.number).peekable();
        consumers.peek().is_some() && consumers.all(StageState::all_done)
    }

    /// Stages that read, or may yet read, the output of a stage.
    pub(super) fn consumers(&self, number: StageNumber) -> impl Iterator<Item = &StageState> {
        self.query
            .stages
            .iter()
            .zip(&self.stages)
            .filter(move |(definition, state)| !state.skipped && definition.input_stages().contains(&number))
            .map(|(_, state)| state)
    }

    /// The stage whose output is the query's.
    pub(super) fn last_living(&self) -> Option<&StageState> {
        self.stages.iter().rev().find(|stage| !stage.skipped)
    }

    /// Whether a stage's output is the query's.
    pub fn is_last(&self, stage: StageNumber) -> bool {
        self.last_living().is_some_and(|last| last.number == stage)
    }

    /// Once the last stage is done, its rows are read or its segments published.
    fn hand_over(&mut self, actions: &mut Vec<ControllerAction>) {
        let Some(last) = self.last_living() else { return };
        if self.ending != Ending::Running || !last.all_ready() {
            return;
        }
        let orders = last
            .orders
            .keys()
            .filter_map(|worker| last.order_id(*worker))
            .collect();
        actions.push(match self.query.kind {
            QueryKind::Select => ControllerAction::ReadResults {
                orders,
                partitions: last.partition_count().unwrap_or(1),
                sorted: last
                    .shuffle
                    .as_ref()
                    .is_some_and(|shuffle| shuffle.kind.is_sorted()),
            },
            QueryKind::Ingest(_) | QueryKind::Export(_) | QueryKind::DurableSelect(_) => {
                ControllerAction::Publish { orders }
            }
        });
        self.ending = Ending::Handing;
    }

    /// Results have to be read again.
    pub(super) fn take_back_results(&mut self) {
        if self.ending == Ending::Handing && self.query.kind == QueryKind::Select {
            self.ending = Ending::Running;
        }
    }

    /// Whether what the workers hold no longer matters.
    pub fn is_publishing(&self) -> bool {
        self.ending == Ending::Handing && self.query.kind != QueryKind::Select
    }

    fn finish(&mut self, result: Result<(), FaultReport>, now: Millis, actions: &mut Vec<ControllerAction>) {
        let last = if result.is_ok() {
            StagePhase::Finished
        } else {
            StagePhase::Failed
        };
        for position in 0..self.stages.len() {
            let Some(state) = self.stages.get(position).filter(|state| state.has_started()) else {
                continue;
            };
            self.register(state.number, last, now);
        }
        for (worker, state) in (0_u32..).zip(&self.workers) {
            if state.launched.is_some() {
                let (worker, incarnation) = (WorkerNumber(worker), state.incarnation);
                actions.push(ControllerAction::FinishWorker { worker, incarnation });
            }
        }
        actions.push(ControllerAction::QueryFinished { result });
        self.ending = Ending::Finished;
    }

    fn check_deadlines(&self, now: Millis) -> Result<(), FaultReport> {
        if let (Some(started), Some(timeout)) = (self.started, self.limits.timeout_ms)
            && now >= started + timeout - self.limits.waited_ms
        {
            return Err(Fault::QueryTimeout {
                timeout_ms: timeout.unsigned_abs(),
                reason: "QUERY_TIMEOUT".to_owned(),
            }
            .into());
        }
        let pending = self
            .launch_deadlines()
            .filter(|deadline| now >= *deadline)
            .count() as u64;
        if pending > 0 {
            return Err(Fault::TaskStartTimeout {
                pending_tasks: pending,
                total_tasks: self.workers.len() as u64,
                timeout: self.limits.launch_timeout_ms.unsigned_abs(),
            }
            .into());
        }
        Ok(())
    }

    /// When a [`ControllerEvent::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.is_finished() {
            return None;
        }
        let query = self
            .started
            .zip(self.limits.timeout_ms)
            .map(|(started, timeout)| started + timeout - self.limits.waited_ms);
        self.launch_deadlines().chain(query).min()
    }

    /// When each worker that does not answer yet must do so; nobody waits for workers during a publish.
    fn launch_deadlines(&self) -> impl Iterator<Item = Millis> {
        let waited_for = if self.is_publishing() {
            &[]
        } else {
            self.workers.as_slice()
        };
        let launches = waited_for
            .iter()
            .filter(|worker| !worker.ready)
            .filter_map(|worker| worker.launched);
        launches.map(|launched| launched + self.limits.launch_timeout_ms)
    }

    /// The stage that the final one reads, as it stands; of an ingestion the one whose partitions become segments.
    pub fn final_input(&self) -> Option<(&StageDefinition, StageView)> {
        let read = self.query().final_stage()?.input_stages().into_iter().next()?;
        Some((self.query().stage(read)?, self.stage_view(read)?))
    }

    /// A stage as reports show it.
    pub fn stage_view(&self, stage: StageNumber) -> Option<StageView> {
        let state = self.stages.get(stage.0 as usize)?;
        let started = state.has_started();
        Some(StageView {
            phase: started.then_some(state.phase),
            skipped: state.skipped,
            worker_count: started.then(|| u32::try_from(state.orders.len()).unwrap_or(u32::MAX)),
            partition_count: state.partition_count(),
            started: state.started,
            ended: state.ended,
            boundaries: state.boundaries.clone(),
        })
    }
}

/// Bytes that the key statistics of one stage may take, of all its workers together.
const STATISTICS_BYTES: usize = 64 << 20;

/// Attempts that an order reads, by producing stage.
type Reads = BTreeMap<StageNumber, Arc<super::stage::Attempts>>;
