//! One worker task: carries out what its kernel decides, and tells its controller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Epoch, Millis, PartitionNumber, QueryId, WorkOrderId};
use sarsen_kernel::shuffle::{Boundaries, OutputSizes, PartitionSize};
use sarsen_kernel::work_order::{OutputMode, WorkOrder};
use sarsen_kernel::worker::{OrderFailure, WorkerAction, WorkerEvent, WorkerTaskKernel};
use sarsen_proto::v1::worker_command::Command;
use sarsen_proto::v1::worker_event::Event;
use sarsen_proto::{from_kernel, to_kernel, v1};
use sarsen_storage::export::StagedFile;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument;

use crate::counters::OrderCounters;
use crate::cpu::thread_cpu_ns;
use crate::durable;
use crate::environment::TaskEnvironment;
use crate::error::{RunError, classify};
use crate::run::{self, Outcome, Uncut, WrittenSegment};
use crate::shuffle::{Held, Output, OutputKey};
use crate::splits::{self, Feed, SplitsBegun};

/// Time between two reports of counters.
const COUNTERS_EVERY: Duration = Duration::from_millis(250);

/// Messages that may wait for a task.
const QUEUE: usize = 1024;

type Events = mpsc::Sender<Result<v1::WorkerEvent, Status>>;

/// What a task is told.
#[derive(Debug)]
pub enum TaskMessage {
    Attach {
        epoch: u64,
        events: Events,
        answer: oneshot::Sender<Result<(u64, CancellationToken), Status>>,
    },
    Detached {
        connection: u64,
    },
    Command(Command),
    /// The process is going away.
    Draining,
    /// How the task stands, for people.
    Describe(oneshot::Sender<Value>),
}

/// Sends to a task.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    pub epoch: u64,
    messages: mpsc::Sender<TaskMessage>,
    stop: CancellationToken,
}

impl TaskHandle {
    /// # Errors
    /// When the task has ended.
    pub async fn send(&self, message: TaskMessage) -> Result<(), Status> {
        self.messages.send(message).await.map_err(|_| ended())
    }

    /// Stops the task, and waits until it has dropped everything.
    pub async fn end(&self) {
        self.stop.cancel();
        self.messages.closed().await;
    }

    pub fn has_ended(&self) -> bool {
        self.messages.is_closed()
    }

    /// How it stands: whether its controller is connected, and its work orders; null once it has ended.
    pub async fn describe(&self) -> Value {
        let (answer, answered) = oneshot::channel();
        match self.send(TaskMessage::Describe(answer)).await {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// Gives the task a stream to its controller; answers the connection's number and when to stop reading from it.
    ///
    /// # Errors
    /// When a newer controller was there already.
    pub async fn attach(&self, epoch: u64, events: Events) -> Result<(u64, CancellationToken), Status> {
        let (answer, answered) = oneshot::channel();
        self.send(TaskMessage::Attach {
            epoch,
            events,
            answer,
        })
        .await?;
        answered.await.map_err(|_| ended())?
    }
}

fn ended() -> Status {
    Status::failed_precondition("this worker task has ended")
}

/// What a spawned piece of work came to.
enum Done {
    Ran(Box<WorkOrder>, Result<Outcome, RunError>),
    Cut(WorkOrderId, Result<Output, RunError>),
    /// The output lies in deep storage.
    Stored(WorkOrderId, OutputSizes, Result<(), RunError>),
}

/// An order that was started.
struct Order {
    cancel: CancellationToken,
    counters: Arc<OrderCounters>,
    /// Outside data that it reads, by input.
    feeds: Vec<Option<Arc<Feed>>>,
    /// Where the output goes if it is to outlive this worker: an address of [`durable`].
    durable: Option<String>,
    /// Waits for boundaries.
    uncut: Option<(Box<WorkOrder>, Uncut)>,
    segments: Vec<WrittenSegment>,
    files: Vec<StagedFile>,
    /// The controller knows of the segments or files, and answers for them.
    reported: bool,
    running: bool,
}

/// A worker task that runs.
pub struct Task {
    environment: Arc<TaskEnvironment>,
    /// Told to whoever attaches: a controller that knew another instance has lost it.
    instance: String,
    kernel: WorkerTaskKernel,
    messages: mpsc::Receiver<TaskMessage>,
    orders: BTreeMap<WorkOrderId, Order>,
    work: JoinSet<Done>,
    /// Orders that have begun all they have of an input.
    begun: mpsc::UnboundedReceiver<SplitsBegun>,
    questions: mpsc::UnboundedSender<SplitsBegun>,
    /// Orders that pieces of work are for.
    doing: HashMap<tokio::task::Id, WorkOrderId>,
    events: Option<Events>,
    connection: u64,
    connection_closed: CancellationToken,
    stop: CancellationToken,
}

/// Makes a task; it does nothing until it is run.
pub fn create(environment: Arc<TaskEnvironment>, epoch: u64, stop: CancellationToken) -> (TaskHandle, Task) {
    let (sender, messages) = mpsc::channel(QUEUE);
    let (questions, begun) = mpsc::unbounded_channel();
    let task = Task {
        environment,
        instance: uuid::Uuid::new_v4().to_string(),
        kernel: WorkerTaskKernel::new(Epoch(epoch), now()),
        messages,
        orders: BTreeMap::new(),
        work: JoinSet::new(),
        begun,
        questions,
        doing: HashMap::new(),
        events: None,
        connection: 0,
        connection_closed: CancellationToken::new(),
        stop: stop.clone(),
    };
    (
        TaskHandle {
            epoch,
            messages: sender,
            stop,
        },
        task,
    )
}

fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| Millis::try_from(since.as_millis()).unwrap_or(0))
}

impl Task {
    /// Runs until the kernel says that the task is over.
    pub async fn run(mut self) {
        let mut counters = tokio::time::interval(COUNTERS_EVERY);
        counters.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        while !self.kernel.is_ended() {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(message) => self.message(message).await,
                    None => break,
                },
                Some(done) = self.work.join_next_with_id() => match done {
                    Ok((work, done)) => {
                        self.doing.remove(&work);
                        self.done(done).await;
                    }
                    Err(error) => self.broke_off(&error).await,
                },
                Some(SplitsBegun { order, input, wanted }) = self.begun.recv() => {
                    self.event(WorkerEvent::SplitsBegun { order, input, wanted }).await;
                }
                _ = counters.tick() => {
                    self.report_running().await;
                    if self.kernel.next_deadline().is_some_and(|deadline| deadline <= now()) {
                        self.event(WorkerEvent::Tick).await;
                    }
                }
                () = stop.cancelled() => self.event(WorkerEvent::Finish).await,
            }
        }
        self.connection_closed.cancel();
        for order in self.orders.values() {
            order.cancel.cancel();
        }
        while self.work.join_next().await.is_some() {}
    }

    async fn message(&mut self, message: TaskMessage) {
        match message {
            TaskMessage::Attach {
                epoch,
                events,
                answer,
            } => self.attach(epoch, events, answer).await,
            TaskMessage::Detached { connection } if connection == self.connection => {
                self.events = None;
                self.event(WorkerEvent::Detached).await;
            }
            TaskMessage::Detached { .. } => {}
            TaskMessage::Draining => self.tell(Event::Draining(v1::Empty {})).await,
            TaskMessage::Describe(answer) => {
                let _ = answer.send(self.describe());
            }
            TaskMessage::Command(command) => match command_event(command) {
                Ok(Some(event)) => self.event(event).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(query = self.environment.query_id, %error, "unreadable command")
                }
            },
        }
    }

    fn describe(&self) -> Value {
        let orders = self.orders.iter().map(|(id, order)| {
            json!({
                "order": id.to_string(),
                "running": order.running,
                "waitsForBoundaries": order.uncut.is_some(),
                "segments": order.segments.len(),
                "counters": order.counters.snapshot(),
            })
        });
        json!({
            "controllerConnected": self.events.is_some(),
            "workOrders": orders.collect::<Vec<_>>(),
        })
    }

    async fn attach(
        &mut self,
        epoch: u64,
        events: Events,
        answer: oneshot::Sender<Result<(u64, CancellationToken), Status>>,
    ) {
        let actions = self
            .kernel
            .handle(WorkerEvent::Attached { epoch: Epoch(epoch) }, now());
        if let Some(WorkerAction::RefuseAttach { known }) = actions.first() {
            let refusal =
                format!("epoch {epoch} is older than {known}, whose controller this worker task has");
            let _ = answer.send(Err(Status::failed_precondition(refusal)));
            return;
        }
        self.connection_closed.cancel();
        self.connection_closed = CancellationToken::new();
        self.connection += 1;
        self.events = Some(events);
        if answer
            .send(Ok((self.connection, self.connection_closed.clone())))
            .is_err()
        {
            self.events = None;
            self.event(WorkerEvent::Detached).await;
            return;
        }
        self.tell(Event::Attached(v1::Attached {
            instance: self.instance.clone(),
        }))
        .await;
        self.report_all().await;
        self.act(actions).await;
    }

    async fn event(&mut self, event: WorkerEvent) {
        let actions = self.kernel.handle(event, now());
        self.act(actions).await;
    }

    async fn act(&mut self, actions: Vec<WorkerAction>) {
        for action in actions {
            match action {
                WorkerAction::Run { order } => self.start(order),
                WorkerAction::AddSplits {
                    order,
                    input,
                    splits,
                    unassigned,
                } => {
                    if let Some(feed) = self.feed(order, input) {
                        feed.add(splits, unassigned);
                    }
                }
                WorkerAction::Cut { order, boundaries } => self.cut(order, boundaries),
                WorkerAction::Cancel { order } => {
                    if let Some(order) = self.orders.get(&order) {
                        order.cancel.cancel();
                    }
                }
                WorkerAction::DeleteOutput { order } => self.delete_output(order).await,
                WorkerAction::AskForSplits {
                    order,
                    input,
                    portion,
                    wanted,
                } => {
                    self.tell(Event::SplitsWanted(v1::SplitsWantedEvent {
                        order: Some(order.into()),
                        input,
                        portion,
                        wanted,
                    }))
                    .await;
                }
                WorkerAction::ReportStatistics { order, statistics } => {
                    let key_statistics = statistics.to_bytes().into();
                    self.tell(Event::Statistics(v1::StatisticsEvent {
                        order: Some(order.into()),
                        key_statistics,
                    }))
                    .await;
                }
                WorkerAction::ReportOutput { order, sizes } => self.report_output(order, sizes).await,
                WorkerAction::ReportFailure { order, failure } => self.report_failure(order, failure).await,
                // Answered where the stream is attached.
                WorkerAction::RefuseAttach { .. } | WorkerAction::End => {}
            }
        }
    }

    fn start(&mut self, order: Box<WorkOrder>) {
        let environment = Arc::clone(&self.environment);
        let sorts = order
            .shuffle
            .as_ref()
            .is_some_and(|shuffle| shuffle.kind.is_sorted());
        let counters = OrderCounters::new(sorts, order.shuffle.is_none());
        let cancel = CancellationToken::new();
        let feeds = splits::feeds(&order, environment.process.core_count, &self.questions);
        let state = Order {
            cancel: cancel.clone(),
            counters: Arc::clone(&counters),
            feeds: feeds.clone(),
            durable: (order.output == OutputMode::Durable)
                .then(|| durable::address(&environment.query_id, order.epoch.0)),
            uncut: None,
            segments: Vec::new(),
            files: Vec::new(),
            reported: false,
            running: true,
        };
        tracing::debug!(query = environment.query_id, order = %order.id, "work order starts");
        self.orders.insert(order.id, state);
        let cpu = environment.process.cpu.clone();
        let order_id = order.id;
        let span = tracing::info_span!(target: "sarsen_trace", "work-order", order = %order_id);
        let work = async move {
            let started = Instant::now();
            let outcome = run::run(&environment, &order, &feeds, &counters, &cancel).await;
            count(&outcome, started, &counters);
            Done::Ran(
                order,
                outcome.map_err(|error| classify(&error, environment.budget())),
            )
        };
        let work = self.work.spawn_on(work.instrument(span), &cpu);
        self.doing.insert(work.id(), order_id);
    }

    fn feed(&self, order: WorkOrderId, input: u32) -> Option<&Arc<Feed>> {
        self.orders.get(&order)?.feeds.get(input as usize)?.as_ref()
    }

    /// A part of a work order has panicked: the order fails rather than never ends.
    async fn broke_off(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(query = self.environment.query_id, %error, "a work order broke off");
        if let Some(id) = self.doing.remove(&error.id()) {
            let message = format!("a work order broke off: {error}");
            self.failed(id, RunError::Fault(Fault::UnknownError { message }))
                .await;
        }
    }

    fn cut(&mut self, id: WorkOrderId, boundaries: Boundaries) {
        let Some((order, uncut)) = self.orders.get_mut(&id).and_then(|order| order.uncut.take()) else {
            return;
        };
        let counters = self.orders.get(&id).map(|order| Arc::clone(&order.counters));
        let budget = self.environment.budget();
        let work = self.work.spawn_blocking_on(
            move || {
                let before = thread_cpu_ns();
                let cut = uncut
                    .cut(&boundaries, &order)
                    .map_err(|error| classify(&error, budget));
                if let Some(counters) = counters {
                    counters.add_cpu(thread_cpu_ns().saturating_sub(before));
                }
                Done::Cut(id, cut)
            },
            &self.environment.process.cpu,
        );
        self.doing.insert(work.id(), id);
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Ran(order, Ok(Outcome::Uncut(uncut))) => {
                let (id, statistics) = (order.id, uncut.statistics.clone());
                if let Some(state) = self.orders.get_mut(&id) {
                    state.uncut = Some((order, uncut));
                }
                self.event(WorkerEvent::InputRead {
                    order: id,
                    statistics,
                })
                .await;
            }
            Done::Ran(order, Ok(Outcome::Output(output))) => self.output(order.id, output).await,
            Done::Cut(id, Ok(output)) => self.output(id, output).await,
            Done::Ran(order, Ok(Outcome::Files(files))) => {
                let mut sizes = OutputSizes::new();
                for file in &files {
                    let size: &mut PartitionSize = sizes.entry(PartitionNumber(file.partition)).or_default();
                    size.rows += file.rows;
                    size.bytes += file.bytes;
                }
                if let Some(state) = self.orders.get_mut(&order.id) {
                    state
                        .counters
                        .finish_segments(files.iter().map(|file| file.rows).sum());
                    state.files = files;
                }
                self.event(WorkerEvent::OutputWritten {
                    order: order.id,
                    sizes,
                })
                .await;
            }
            Done::Ran(order, Ok(Outcome::Segments(segments))) => {
                let mut sizes = OutputSizes::new();
                for segment in &segments {
                    let size: &mut PartitionSize =
                        sizes.entry(PartitionNumber(segment.partition)).or_default();
                    size.rows += segment.rows;
                    size.bytes += segment.bytes;
                }
                if let Some(state) = self.orders.get_mut(&order.id) {
                    state
                        .counters
                        .finish_segments(segments.iter().map(|segment| segment.rows).sum());
                    state.segments = segments;
                }
                self.event(WorkerEvent::OutputWritten {
                    order: order.id,
                    sizes,
                })
                .await;
            }
            Done::Stored(id, sizes, Ok(())) => {
                self.event(WorkerEvent::OutputWritten { order: id, sizes }).await
            }
            Done::Stored(id, _, Err(error)) => self.failed(id, error).await,
            Done::Ran(order, Err(error)) => self.failed(order.id, error).await,
            Done::Cut(id, Err(error)) => self.failed(id, error).await,
        }
    }

    async fn output(&mut self, id: WorkOrderId, output: Output) {
        let sizes = output.sizes();
        if let Some(state) = self.orders.get_mut(&id) {
            state.counters.finish(sizes.clone());
            if let Some(address) = state.durable.clone() {
                let cancel = state.cancel.clone();
                return self.store_durably(id, address, output, cancel);
            }
        }
        let held = Held {
            output: Arc::new(output),
            ticket_key: self.environment.ticket_key.clone(),
        };
        self.environment.process.store.insert(self.key(id), held);
        self.event(WorkerEvent::OutputWritten { order: id, sizes }).await;
    }

    fn store_durably(&mut self, id: WorkOrderId, address: String, output: Output, cancel: CancellationToken) {
        let (environment, sizes) = (Arc::clone(&self.environment), output.sizes());
        let cpu = environment.process.cpu.clone();
        let work = self.work.spawn_on(
            async move {
                let store = environment.process.deep_storage.object_store();
                let written = tokio::select! {
                    written = durable::write(&store, &address, id, &output) => written,
                    () = cancel.cancelled() => Err(run::cancelled()),
                };
                Done::Stored(
                    id,
                    sizes,
                    written.map_err(|error| classify(&error, environment.budget())),
                )
            },
            &cpu,
        );
        self.doing.insert(work.id(), id);
    }

    async fn failed(&mut self, id: WorkOrderId, error: RunError) {
        let failure = match error {
            RunError::Unavailable(unavailable) => OrderFailure::Unavailable {
                producer: unavailable.producer,
                reason: unavailable.to_string(),
            },
            RunError::Fault(fault) => OrderFailure::Fault(self.fault_report(id, fault)),
        };
        self.event(WorkerEvent::Failed { order: id, failure }).await;
    }

    fn fault_report(&self, id: WorkOrderId, fault: Fault) -> FaultReport {
        let query = QueryId(self.environment.query_id.clone());
        let address = self.environment.process.address.as_str();
        FaultReport {
            task_id: Some(query.worker_task_id(self.environment.worker, self.environment.incarnation)),
            host: Some(
                address
                    .split_once("://")
                    .map_or(address, |(_, host)| host)
                    .to_owned(),
            ),
            stage: Some(id.stage),
            ..FaultReport::from(fault)
        }
    }

    fn key(&self, order: WorkOrderId) -> OutputKey {
        OutputKey {
            query_id: self.environment.query_id.clone(),
            order,
        }
    }

    async fn delete_output(&mut self, id: WorkOrderId) {
        self.environment.process.store.remove(&self.key(id));
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        order.uncut = None;
        // At the task's end its durable outputs stay: they are the controller's to remove.
        if let Some(address) = order.durable.take().filter(|_| !self.kernel.is_ended()) {
            let store = self.environment.process.deep_storage.object_store();
            durable::remove(&store, &address, id).await;
        }
        if order.reported {
            return;
        }
        run::abort_files(&self.environment, &std::mem::take(&mut order.files)).await;
        for segment in std::mem::take(&mut order.segments) {
            if let Err(error) = self.environment.process.deep_storage.delete(&segment.path).await {
                tracing::warn!(path = segment.path, %error, "an unpublished segment stays behind");
            }
        }
    }

    async fn report_output(&mut self, id: WorkOrderId, sizes: OutputSizes) {
        self.report_counters(id).await;
        self.report_warnings(id).await;
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        order.running = false;
        order.reported = true;
        let segments = order.segments.iter().map(segment_output).collect();
        let staged_files = order
            .files
            .iter()
            .filter_map(|file| serde_json::to_string(file).ok())
            .collect();
        match to_kernel(&sizes) {
            Ok(sizes) => {
                let ready = v1::OutputReadyEvent {
                    order: Some(id.into()),
                    sizes: Some(sizes),
                    segments,
                    staged_files,
                };
                self.tell(Event::OutputReady(ready)).await;
            }
            Err(error) => tracing::error!(%error, "output sizes cannot be encoded"),
        }
    }

    async fn report_failure(&mut self, id: WorkOrderId, failure: OrderFailure) {
        self.report_counters(id).await;
        self.report_warnings(id).await;
        if let Some(order) = self.orders.get_mut(&id) {
            order.running = false;
        }
        let event = match failure {
            OrderFailure::Fault(fault) => Event::Failed(v1::FailedEvent {
                order: Some(id.into()),
                fault: to_kernel(&fault).ok(),
            }),
            OrderFailure::Unavailable { producer, reason } => {
                Event::InputUnavailable(v1::InputUnavailableEvent {
                    order: Some(id.into()),
                    producer: Some(producer.into()),
                    reason,
                })
            }
        };
        self.tell(event).await;
    }

    async fn report_running(&self) {
        for (id, order) in &self.orders {
            if order.running {
                self.report_counters(*id).await;
            }
        }
    }

    async fn report_all(&self) {
        for id in self.orders.keys() {
            self.report_counters(*id).await;
            self.report_warnings(*id).await;
        }
    }

    async fn report_counters(&self, id: WorkOrderId) {
        let Some(order) = self.orders.get(&id) else { return };
        if let Ok(counters) = to_kernel(&order.counters.snapshot()) {
            self.tell(Event::Counters(v1::CountersEvent {
                order: Some(id.into()),
                counters: Some(counters),
            }))
            .await;
        }
    }

    async fn report_warnings(&self, id: WorkOrderId) {
        let errors = self
            .orders
            .get(&id)
            .and_then(|order| order.counters.seen_parse_errors());
        for text in errors.map(|errors| errors.texts()).unwrap_or_default() {
            let fault = Fault::CannotParseExternalData { error_message: text };
            let warning = v1::WarningEvent {
                order: Some(id.into()),
                fault: to_kernel(&fault).ok(),
            };
            self.tell(Event::Warning(warning)).await;
        }
    }

    /// Sends to the controller, when there is one; what it misses it is told again when it attaches.
    async fn tell(&self, event: Event) {
        if let Some(events) = &self.events {
            let _ = events.send(Ok(v1::WorkerEvent { event: Some(event) })).await;
        }
    }
}

/// Counts a work order whose fragment has run.
fn count<E>(outcome: &Result<Outcome, E>, started: Instant, counters: &OrderCounters) {
    let state = if outcome.is_ok() { "success" } else { "failed" };
    metrics::counter!("sarsen_work_orders", "state" => state).increment(1);
    metrics::histogram!("sarsen_work_order_time", "state" => state).record(started.elapsed());
    metrics::counter!("sarsen_spilled_bytes").increment(counters.snapshot().spilled_bytes);
}

fn segment_output(segment: &WrittenSegment) -> v1::SegmentOutput {
    v1::SegmentOutput {
        interval: Some(v1::Interval {
            start_ms: segment.start_ms,
            end_ms: segment.end_ms,
        }),
        partition: segment.partition,
        path: segment.path.clone(),
        bytes: segment.bytes,
        rows: segment.rows,
        columns: Vec::new(),
    }
}

/// The kernel's event for a command; `None` for one that only shows life.
fn command_event(command: Command) -> Result<Option<WorkerEvent>, sarsen_proto::DecodeError> {
    let event = match command {
        Command::Attach(_) | Command::Ping(_) => return Ok(None),
        Command::Start(start) => {
            let mut order: WorkOrder = from_kernel(start.order.as_ref(), "StartWorkOrder", "order")?;
            order.fragment = start.fragment.into();
            WorkerEvent::Start {
                order: Box::new(order),
            }
        }
        Command::Splits(more) => WorkerEvent::TakeSplits {
            order: order_id(more.order.as_ref(), "MoreSplits")?,
            input: more.input,
            portion: more.portion,
            splits: from_kernel(more.splits.as_ref(), "MoreSplits", "splits")?,
            unassigned: more.unassigned,
        },
        Command::Boundaries(set) => WorkerEvent::SetBoundaries {
            order: order_id(set.order.as_ref(), "SetBoundaries")?,
            boundaries: from_kernel(set.boundaries.as_ref(), "SetBoundaries", "boundaries")?,
        },
        Command::Stop(order) => WorkerEvent::Stop {
            order: (&order).into(),
        },
        Command::CleanUp(order) => WorkerEvent::CleanUp {
            order: (&order).into(),
        },
        Command::Finish(_) => WorkerEvent::Finish,
    };
    Ok(Some(event))
}

fn order_id(
    order: Option<&v1::WorkOrderRef>,
    message: &'static str,
) -> Result<WorkOrderId, sarsen_proto::DecodeError> {
    order
        .map(WorkOrderId::from)
        .ok_or(sarsen_proto::DecodeError::Missing {
            message,
            field: "order",
        })
}
