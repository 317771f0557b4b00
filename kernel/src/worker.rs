//! The state machine of one worker task: its work orders, and what its controller has to be told of them.

use std::collections::BTreeMap;

use crate::fault::FaultReport;
use crate::ids::{Epoch, Millis, WorkOrderId};
use crate::query::InputSplit;
use crate::shuffle::{Boundaries, OutputSizes};
use crate::statistics::KeyStatistics;
use crate::work_order::WorkOrder;

/// Where a work order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderPhase {
    /// The fragment runs.
    ReadingInput,
    /// The input is read; where to cut is not known yet.
    WaitingForBoundaries,
    /// The output is being cut.
    WritingOutput,
    /// The output can be read.
    ResultsReady,
    /// Stopped, or its output is gone.
    Finished,
    Failed,
}

impl OrderPhase {
    /// Whether an order may go from this phase to `next`.
    pub fn can_become(self, next: OrderPhase) -> bool {
        use OrderPhase::{Failed, Finished, ReadingInput, ResultsReady, WaitingForBoundaries, WritingOutput};
        match (self, next) {
            (Finished | Failed, _) => false,
            (_, Finished | Failed) => true,
            (ReadingInput, WaitingForBoundaries | ResultsReady) => true,
            (WaitingForBoundaries, WritingOutput) => true,
            (WritingOutput, ResultsReady) => true,
            _ => false,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    /// The controller opened a stream.
    Attached {
        epoch: Epoch,
    },
    /// The stream dropped.
    Detached,
    Start {
        order: Box<WorkOrder>,
    },
    /// All splits of an input that were there are begun, and `wanted` more could be.
    SplitsBegun {
        order: WorkOrderId,
        input: u32,
        wanted: u32,
    },
    /// The controller gives more of an input; see [`crate::controller::ControllerAction::SendSplits`].
    TakeSplits {
        order: WorkOrderId,
        input: u32,
        portion: u32,
        splits: Vec<InputSplit>,
        unassigned: u32,
    },
    InputRead {
        order: WorkOrderId,
        statistics: KeyStatistics,
    },
    SetBoundaries {
        order: WorkOrderId,
        boundaries: Boundaries,
    },
    OutputWritten {
        order: WorkOrderId,
        sizes: OutputSizes,
    },
    Failed {
        order: WorkOrderId,
        failure: OrderFailure,
    },
    Stop {
        order: WorkOrderId,
    },
    CleanUp {
        order: WorkOrderId,
    },
    /// The worker task ends.
    Finish,
    Tick,
}

/// How a work order failed.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderFailure {
    Fault(FaultReport),
    /// What `producer` made could not be fetched.
    Unavailable {
        producer: WorkOrderId,
        reason: String,
    },
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerAction {
    Run {
        order: Box<WorkOrder>,
    },
    AddSplits {
        order: WorkOrderId,
        input: u32,
        splits: Vec<InputSplit>,
        unassigned: u32,
    },
    Cut {
        order: WorkOrderId,
        boundaries: Boundaries,
    },
    /// Stop the fragment and drop what it wrote.
    Cancel {
        order: WorkOrderId,
    },
    DeleteOutput {
        order: WorkOrderId,
    },
    /// Ask for more of an input; see [`crate::controller::ControllerEvent::SplitsWanted`].
    AskForSplits {
        order: WorkOrderId,
        input: u32,
        portion: u32,
        wanted: u32,
    },
    ReportStatistics {
        order: WorkOrderId,
        statistics: KeyStatistics,
    },
    ReportOutput {
        order: WorkOrderId,
        sizes: OutputSizes,
    },
    ReportFailure {
        order: WorkOrderId,
        failure: OrderFailure,
    },
    /// The stream of an older epoch is refused.
    RefuseAttach {
        known: Epoch,
    },
    /// Drop everything: the task is over.
    End,
}

/// How long outputs are kept without a controller.
pub const KEEP_WITHOUT_CONTROLLER_MS: Millis = 60_000;

/// Decides for one worker task. Commands may come twice and reports may get lost: a repeated command changes nothing,
/// and a new stream is told everything that the controller still has to know.
#[derive(Debug)]
pub struct WorkerTaskKernel {
    epoch: Epoch,
    orders: BTreeMap<WorkOrderId, OrderState>,
    /// When the controller was lost; `None` while it is there.
    detached: Option<Millis>,
    ended: bool,
}

#[derive(Debug)]
struct OrderState {
    phase: OrderPhase,
    /// Questions for more splits, by input.
    questions: BTreeMap<u32, Question>,
    statistics: Option<KeyStatistics>,
    sizes: Option<OutputSizes>,
    failure: Option<OrderFailure>,
}

/// The last question about an input.
#[derive(Debug, Clone, Copy, Default)]
struct Question {
    portion: u32,
    wanted: u32,
    is_open: bool,
}

impl Question {
    fn about(self, order: WorkOrderId, input: u32) -> WorkerAction {
        WorkerAction::AskForSplits {
            order,
            input,
            portion: self.portion,
            wanted: self.wanted,
        }
    }
}

impl WorkerTaskKernel {
    pub fn new(epoch: Epoch, now: Millis) -> Self {
        WorkerTaskKernel {
            epoch,
            orders: BTreeMap::new(),
            detached: Some(now),
            ended: false,
        }
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Phase of an order that was ever started.
    pub fn phase(&self, order: WorkOrderId) -> Option<OrderPhase> {
        self.orders.get(&order).map(|state| state.phase)
    }

    /// What follows from an event.
    pub fn handle(&mut self, event: WorkerEvent, now: Millis) -> Vec<WorkerAction> {
        if self.ended {
            return Vec::new();
        }
        match event {
            WorkerEvent::Attached { epoch } => self.attach(epoch),
            WorkerEvent::Detached => {
                self.detached = Some(now);
                Vec::new()
            }
            WorkerEvent::Start { order } => self.start(order),
            WorkerEvent::SplitsBegun { order, input, wanted } => self.ask(order, input, wanted),
            WorkerEvent::TakeSplits {
                order,
                input,
                portion,
                splits,
                unassigned,
            } => {
                let answered = |question: &&mut Question| question.is_open && question.portion == portion;
                let Some(question) = self.question(order, input).filter(answered) else {
                    return Vec::new();
                };
                question.is_open = false;
                vec![WorkerAction::AddSplits {
                    order,
                    input,
                    splits,
                    unassigned,
                }]
            }
            WorkerEvent::InputRead { order, statistics } => {
                if !self.advance(order, OrderPhase::WaitingForBoundaries) {
                    return self.drop_unwanted(order);
                }
                self.remember(order, |state| state.statistics = Some(statistics.clone()));
                vec![WorkerAction::ReportStatistics { order, statistics }]
            }
            WorkerEvent::SetBoundaries { order, boundaries } => {
                if !self.advance(order, OrderPhase::WritingOutput) {
                    return Vec::new();
                }
                vec![WorkerAction::Cut { order, boundaries }]
            }
            WorkerEvent::OutputWritten { order, sizes } => {
                if !self.advance(order, OrderPhase::ResultsReady) {
                    return self.drop_unwanted(order);
                }
                self.remember(order, |state| state.sizes = Some(sizes.clone()));
                vec![WorkerAction::ReportOutput { order, sizes }]
            }
            WorkerEvent::Failed { order, failure } => {
                if !self.advance(order, OrderPhase::Failed) {
                    return Vec::new();
                }
                self.remember(order, |state| state.failure = Some(failure.clone()));
                vec![
                    WorkerAction::DeleteOutput { order },
                    WorkerAction::ReportFailure { order, failure },
                ]
            }
            WorkerEvent::Stop { order } | WorkerEvent::CleanUp { order } => self.stop(order),
            WorkerEvent::Finish => self.end(),
            WorkerEvent::Tick => match self.detached {
                Some(since) if now >= since + KEEP_WITHOUT_CONTROLLER_MS => self.end(),
                _ => Vec::new(),
            },
        }
    }

    /// When a [`WorkerEvent::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.ended {
            return None;
        }
        self.detached.map(|since| since + KEEP_WITHOUT_CONTROLLER_MS)
    }

    fn attach(&mut self, epoch: Epoch) -> Vec<WorkerAction> {
        if epoch < self.epoch {
            return vec![WorkerAction::RefuseAttach { known: self.epoch }];
        }
        self.epoch = epoch;
        self.detached = None;
        let mut reports = Vec::new();
        for (order, state) in &self.orders {
            let order = *order;
            match state.phase {
                OrderPhase::WaitingForBoundaries => {
                    let statistics = state.statistics.clone().unwrap_or_default();
                    reports.push(WorkerAction::ReportStatistics { order, statistics });
                }
                OrderPhase::ResultsReady => {
                    let sizes = state.sizes.clone().unwrap_or_default();
                    reports.push(WorkerAction::ReportOutput { order, sizes });
                }
                OrderPhase::Failed => {
                    if let Some(failure) = state.failure.clone() {
                        reports.push(WorkerAction::ReportFailure { order, failure });
                    }
                }
                OrderPhase::ReadingInput => {
                    let open = state.questions.iter().filter(|(_, question)| question.is_open);
                    reports.extend(open.map(|(input, question)| question.about(order, *input)));
                }
                OrderPhase::WritingOutput | OrderPhase::Finished => {}
            }
        }
        reports
    }

    fn start(&mut self, order: Box<WorkOrder>) -> Vec<WorkerAction> {
        let is_known =
            |known: &WorkOrderId| known.stage == order.id.stage && known.attempt >= order.id.attempt;
        if self.orders.keys().any(is_known) {
            return Vec::new();
        }
        // A newer attempt takes the place of every older one of the same stage.
        let older: Vec<WorkOrderId> = self
            .orders
            .keys()
            .filter(|known| known.stage == order.id.stage && known.attempt < order.id.attempt)
            .copied()
            .collect();
        let mut actions: Vec<WorkerAction> = older.into_iter().flat_map(|known| self.stop(known)).collect();
        let state = OrderState {
            phase: OrderPhase::ReadingInput,
            questions: BTreeMap::new(),
            statistics: None,
            sizes: None,
            failure: None,
        };
        self.orders.insert(order.id, state);
        actions.push(WorkerAction::Run { order });
        actions
    }

    /// One question about an input at a time.
    fn ask(&mut self, order: WorkOrderId, input: u32, wanted: u32) -> Vec<WorkerAction> {
        let Some(question) = self.question(order, input).filter(|question| !question.is_open) else {
            return Vec::new();
        };
        *question = Question {
            portion: question.portion + 1,
            wanted,
            is_open: true,
        };
        vec![question.about(order, input)]
    }

    /// The question about an input of an order that reads.
    fn question(&mut self, order: WorkOrderId, input: u32) -> Option<&mut Question> {
        let reading = |state: &&mut OrderState| state.phase == OrderPhase::ReadingInput;
        let state = self.orders.get_mut(&order).filter(reading)?;
        Some(state.questions.entry(input).or_default())
    }

    fn stop(&mut self, order: WorkOrderId) -> Vec<WorkerAction> {
        let was = self.phase(order);
        if !self.advance(order, OrderPhase::Finished) {
            return Vec::new();
        }
        self.remember(order, |state| {
            state.statistics = None;
            state.sizes = None;
        });
        match was {
            Some(OrderPhase::ResultsReady) => vec![WorkerAction::DeleteOutput { order }],
            _ => vec![
                WorkerAction::Cancel { order },
                WorkerAction::DeleteOutput { order },
            ],
        }
    }

    /// What an order brings that was stopped meanwhile is nobody's.
    fn drop_unwanted(&self, order: WorkOrderId) -> Vec<WorkerAction> {
        match self.phase(order) {
            None | Some(OrderPhase::Finished | OrderPhase::Failed) => {
                vec![WorkerAction::DeleteOutput { order }]
            }
            Some(_) => Vec::new(),
        }
    }

    fn end(&mut self) -> Vec<WorkerAction> {
        self.ended = true;
        let running = self.orders.iter().filter(|(_, state)| {
            matches!(
                state.phase,
                OrderPhase::ReadingInput | OrderPhase::WaitingForBoundaries | OrderPhase::WritingOutput
            )
        });
        let mut actions: Vec<WorkerAction> = running
            .map(|(order, _)| WorkerAction::Cancel { order: *order })
            .collect();
        actions.extend(
            self.orders
                .keys()
                .map(|order| WorkerAction::DeleteOutput { order: *order }),
        );
        actions.push(WorkerAction::End);
        actions
    }

    /// Registers a phase change; false for one that is not allowed, which is how late and doubled messages end.
    fn advance(&mut self, order: WorkOrderId, next: OrderPhase) -> bool {
        match self.orders.get_mut(&order) {
            Some(state) if state.phase.can_become(next) => {
                state.phase = next;
                true
            }
            _ => false,
        }
    }

    fn remember(&mut self, order: WorkOrderId, change: impl FnOnce(&mut OrderState)) {
        if let Some(state) = self.orders.get_mut(&order) {
            change(state);
        }
    }
}
