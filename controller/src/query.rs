//! A planned query while it runs: the interpreter of the controller's kernel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sarsen_kernel::controller::{ControllerAction, ControllerEvent, ControllerKernel};
use sarsen_kernel::counters::CounterSnapshot;
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::{ExportTarget, IngestTarget, QueryKind};
use sarsen_kernel::report::{QueryReport, ReportStatus, SegmentLoadReport};
use sarsen_kernel::shuffle::Boundaries;
use sarsen_kernel::statistics::KeyStatistics;
use sarsen_kernel::work_order::{InputSlice, OutputMode, Producer, WorkOrder};
use sarsen_proto::v1::worker_command::Command;
use sarsen_proto::v1::worker_event::Event;
use sarsen_proto::{DecodeError, from_kernel, to_kernel, v1};
use sarsen_storage::export::StagedFile;
use sarsen_worker::ticket::TicketKey;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::export::Exported;
use crate::leftovers::Leftovers;
use crate::publish::{Publication, Published, publish};
use crate::query_limits::{Meter, QueryLimits};
use crate::report::{Ending, report};
use crate::results::{self, REPORT_ROWS, ReadError, ReadRequest, Results};
use crate::sharding::Sharding;
use crate::state::QueryState;
use crate::task::{Prepared, Task, TaskEnvironment, acquire, now};
use crate::worker_link::{FromLink, LinkEvent, WorkerLink};
use crate::{context, durable, export, log};

/// Events of workers that may wait.
const QUEUE: usize = 4096;

/// How long workers have to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a query ended.
pub struct End {
    pub report: QueryReport,
    pub results: Results,
    /// What is left to do once the end is told.
    pub cleaning: BoxFuture<'static, ()>,
}

/// What a piece of work aside came to.
enum Aside {
    Acquired(
        WorkerNumber,
        Incarnation,
        Result<Vec<v1::WorkerAssignment>, Fault>,
    ),
    Read(Result<Results, ReadError>),
    Published(Result<(Published, Vec<String>), Fault>),
    Exported(Result<Exported, Fault>),
}

/// See the module.
pub struct Query<'a> {
    task: &'a mut Task,
    environment: Arc<TaskEnvironment>,
    kernel: ControllerKernel,
    ticket_key: TicketKey,
    state: QueryState,
    limits: QueryLimits,
    meter: Meter,
    /// The boundaries that were sent last.
    encoded: Option<(Arc<Boundaries>, v1::KernelValue)>,
    target: Option<IngestTarget>,
    export: Option<ExportTarget>,
    exported: Option<Exported>,
    /// First processes, by worker number.
    assignments: BTreeMap<WorkerNumber, v1::Node>,
    links: BTreeMap<(WorkerNumber, Incarnation), WorkerLink>,
    link_tasks: JoinSet<()>,
    events: mpsc::Receiver<FromLink>,
    event_sender: mpsc::Sender<FromLink>,
    aside: JoinSet<Aside>,
    results: Results,
    published: Vec<String>,
    end: Option<Result<(), FaultReport>>,
}

impl<'a> Query<'a> {
    pub fn new(task: &'a mut Task, prepared: Prepared, started: Millis) -> Self {
        let (event_sender, events) = mpsc::channel(QUEUE);
        let (target, export) = match &prepared.planned.definition.kind {
            QueryKind::Select => (None, None),
            QueryKind::Ingest(target) => (Some(target.clone()), None),
            QueryKind::Export(target) | QueryKind::DurableSelect(target) => (None, Some(target.clone())),
        };
        let assigned = |assignment: v1::WorkerAssignment| {
            let node = assignment.node?;
            Some((WorkerNumber(assignment.worker), node))
        };
        Query {
            environment: Arc::clone(&task.environment),
            task,
            meter: Meter::new(prepared.limits, prepared.kernel.query()),
            limits: prepared.limits,
            encoded: None,
            ticket_key: prepared.ticket_key,
            kernel: prepared.kernel,
            state: QueryState::new(started).inferring(prepared.inferred),
            target,
            export,
            exported: None,
            assignments: prepared.assignments.into_iter().filter_map(assigned).collect(),
            links: BTreeMap::new(),
            link_tasks: JoinSet::new(),
            events,
            event_sender,
            aside: JoinSet::new(),
            results: Results::default(),
            published: Vec::new(),
            end: None,
        }
    }

    /// Runs to the end.
    pub async fn run(mut self) -> End {
        self.event(ControllerEvent::Started).await;
        let (cancel, preempt) = (self.task.cancel.clone(), self.task.preempt.clone());
        // Once segments are being published only the Overlord knows whether that can still be stopped.
        let mut cancelled = false;
        let end = loop {
            if let Some(end) = self.end.take() {
                break end;
            }
            let deadline = self
                .kernel
                .next_deadline()
                .map_or(Millis::MAX, |deadline| deadline - now());
            let deadline = Duration::from_millis(u64::try_from(deadline).unwrap_or(0).min(60_000));
            tokio::select! {
                Some(event) = self.events.recv() => self.link_event(event).await,
                Some(done) = self.aside.join_next() => match done {
                    Ok(done) => self.done(done).await,
                    Err(error) => tracing::error!(%error, "a part of the controller task broke off"),
                },
                Some(answer) = self.task.reports.recv() => {
                    let _ = answer.send(report(&self.state, &self.kernel, now(), Ending::running()));
                }
                () = cancel.cancelled(), if !cancelled && !self.kernel.is_publishing() => {
                    cancelled = true;
                    self.cancel(Fault::Canceled {}).await;
                }
                () = preempt.cancelled(), if !cancelled && !self.kernel.is_publishing() => {
                    cancelled = true;
                    self.cancel(Fault::InsertLockPreempted {}).await;
                }
                () = tokio::time::sleep(deadline) => self.event(ControllerEvent::Tick).await,
            }
        };
        self.finish(end)
    }

    fn finish(mut self, end: Result<(), FaultReport>) -> End {
        let ending = match &end {
            Ok(()) => Ending {
                status: ReportStatus::Success,
                error: None,
            },
            Err(fault) => Ending {
                status: ReportStatus::Failed,
                error: Some(fault.clone()),
            },
        };
        let report = report(&self.state, &self.kernel, now(), ending);
        let leftovers = Leftovers {
            told: self.state.segments.values().flatten().cloned().collect(),
            published: self.published.iter().cloned().collect(),
            may_hide: self.task.earlier.is_some()
                || self
                    .state
                    .workers
                    .values()
                    .flatten()
                    .any(|life| life.lost.is_some()),
        };
        let told_files: Vec<StagedFile> = self.state.files.values().flatten().cloned().collect();
        let (export, exported) = (self.export.take(), self.exported.take());
        let is_durable = self.kernel.output_mode() == OutputMode::Durable;
        let environment = Arc::clone(&self.environment);
        let (datasource, query_id) = (
            self.target.map(|target| target.datasource),
            self.task.spec.query_id.clone(),
        );
        let (mut links, mut link_tasks, mut events) = (self.links, self.link_tasks, self.events);
        self.aside.abort_all();
        let cleaning = async move {
            // The links still tell what workers say until they are gone; nobody needs it any more.
            let farewell = async {
                loop {
                    tokio::select! {
                        ended = link_tasks.join_next() => if ended.is_none() { return },
                        _ = events.recv() => {}
                    }
                }
            };
            if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                for link in links.values_mut() {
                    link.close();
                }
            }
            if let Some(datasource) = datasource {
                leftovers.remove(&environment, &datasource, &query_id).await;
            }
            if let Some(target) = export {
                export::clean_up(&environment, &target, &query_id, &told_files, exported.as_ref()).await;
            }
            if is_durable {
                durable::clean_up(&environment, &query_id).await;
            }
        };
        End {
            report,
            results: self.results,
            cleaning: Box::pin(cleaning),
        }
    }

    fn fault(&self, fault: Fault) -> FaultReport {
        let host = self
            .environment
            .address
            .split_once("://")
            .map(|(_, host)| host.to_owned());
        FaultReport {
            task_id: Some(self.task.task_id.clone()),
            host,
            ..FaultReport::from(fault)
        }
    }

    async fn cancel(&mut self, fault: Fault) {
        let fault = self.fault(fault);
        self.event(ControllerEvent::Cancel { fault }).await;
    }

    async fn event(&mut self, event: ControllerEvent) {
        let actions = self.kernel.handle(event, now());
        for action in actions {
            self.act(action).await;
        }
    }

    async fn act(&mut self, action: ControllerAction) {
        log::action(&action);
        match action {
            ControllerAction::LaunchWorker { worker, incarnation } => self.launch(worker, incarnation),
            ControllerAction::SendWorkOrder { incarnation, order } => {
                self.send_order(incarnation, *order).await
            }
            ControllerAction::SendSplits {
                order,
                input,
                portion,
                splits,
                unassigned,
            } => match to_kernel(&splits) {
                Ok(splits) => {
                    let more = v1::MoreSplits {
                        order: Some(order.into()),
                        input,
                        portion,
                        splits: Some(splits),
                        unassigned,
                    };
                    self.send(order.worker, Command::Splits(more)).await;
                }
                Err(error) => tracing::error!(%error, %order, "splits cannot be encoded"),
            },
            ControllerAction::SendBoundaries { order, boundaries } => match self.encoded(boundaries) {
                Ok(boundaries) => {
                    let set = v1::SetBoundaries {
                        order: Some(order.into()),
                        boundaries: Some(boundaries),
                    };
                    self.send(order.worker, Command::Boundaries(set)).await;
                }
                Err(error) => tracing::error!(%error, "boundaries cannot be encoded"),
            },
            ControllerAction::StopWorkOrder { order } => {
                self.send(order.worker, Command::Stop(order.into())).await
            }
            ControllerAction::CleanUpOutput { order } => {
                self.send(order.worker, Command::CleanUp(order.into())).await
            }
            ControllerAction::ReadResults {
                orders, partitions, ..
            } => self.read_results(&orders, partitions),
            ControllerAction::Publish { orders } => self.publish(&orders),
            ControllerAction::Warn { stage, message } => {
                let fault = Fault::UnknownError { message };
                let notice = FaultReport {
                    stage: Some(stage),
                    ..self.fault(fault)
                };
                self.state.notice(notice);
            }
            ControllerAction::FinishWorker { worker, incarnation } => {
                if let Some(link) = self.links.get(&(worker, incarnation)) {
                    link.send(Command::Finish(v1::Empty {})).await;
                }
            }
            ControllerAction::QueryFinished { result } => self.end = Some(result),
        }
    }

    /// Boundaries as they are sent: encoded once for all workers of a stage.
    fn encoded(&mut self, boundaries: Arc<Boundaries>) -> Result<v1::KernelValue, DecodeError> {
        if let Some((known, encoded)) = &self.encoded
            && Arc::ptr_eq(known, &boundaries)
        {
            return Ok(encoded.clone());
        }
        let encoded = to_kernel(boundaries.as_ref())?;
        self.encoded = Some((boundaries, encoded.clone()));
        Ok(encoded)
    }

    /// The first processes were asked for before the query began; later ones are asked for one by one.
    fn launch(&mut self, worker: WorkerNumber, incarnation: Incarnation) {
        self.state.launch(worker, incarnation, now());
        if let Some(node) = self.assignments.remove(&worker) {
            self.connect(worker, incarnation, &node);
            return;
        }
        let lost = self
            .state
            .workers
            .values()
            .flatten()
            .filter(|life| life.lost.is_some());
        let request = v1::AcquireWorkersRequest {
            task_id: self.task.task_id.clone(),
            epoch: self.task.epoch,
            workers: vec![worker.0],
            avoid: lost.map(|life| life.node_id.clone()).collect(),
            partial: false,
        };
        let (environment, slots) = (Arc::clone(&self.environment), self.task.slots.clone());
        self.aside.spawn(async move {
            let acquired = acquire(&environment, &slots, request).await;
            Aside::Acquired(worker, incarnation, acquired)
        });
    }

    fn connect(&mut self, worker: WorkerNumber, incarnation: Incarnation, node: &v1::Node) {
        if let Some(life) = self.state.life(worker, incarnation) {
            life.address.clone_from(&node.address);
            life.location = node
                .address
                .split_once("://")
                .map_or(node.address.clone(), |(_, host)| host.to_owned());
            life.node_id.clone_from(&node.node_id);
        }
        let attach = v1::Attach {
            query_id: self.task.spec.query_id.clone(),
            worker: worker.0,
            incarnation: incarnation.0,
            epoch: self.task.epoch,
            context_json: self.worker_context(),
            trace_parent: sarsen_observe::trace_parent(&tracing::Span::current()),
            ticket_key: self.ticket_key.to_bytes().into(),
            version: self.environment.network.version().to_string(),
        };
        let network = self.environment.network.clone();
        let link = WorkerLink::open(
            network,
            node,
            attach,
            self.event_sender.clone(),
            &mut self.link_tasks,
        );
        self.links.insert((worker, incarnation), link);
    }

    fn worker_context(&self) -> String {
        let context = context::context(&self.task.spec).unwrap_or_default();
        let workers = self.kernel.worker_count();
        serde_json::Value::Object(self.limits.worker_context(context, workers)).to_string()
    }

    /// Sends to the process that plays a worker number now.
    async fn send(&self, worker: WorkerNumber, command: Command) {
        let current = self
            .links
            .range((worker, Incarnation(0))..=(worker, Incarnation(u32::MAX)))
            .next_back();
        if let Some((_, link)) = current {
            link.send(command).await;
        }
    }

    async fn send_order(&mut self, incarnation: Incarnation, mut order: WorkOrder) {
        for input in &mut order.inputs {
            if let InputSlice::Partitions { producers, .. } = input {
                for producer in producers {
                    self.fill_in(producer);
                }
            }
        }
        let fragment = self
            .kernel
            .query()
            .stage(order.id.stage)
            .map(|stage| stage.fragment.clone());
        let Some(link) = self.links.get(&(order.id.worker, incarnation)) else {
            return;
        };
        match to_kernel(&order) {
            Ok(value) => {
                let fragment = fragment.unwrap_or_default().into();
                link.send(Command::Start(v1::StartWorkOrder {
                    order: Some(value),
                    fragment,
                }))
                .await;
            }
            Err(error) => tracing::error!(%error, order = %order.id, "a work order cannot be encoded"),
        }
    }

    fn fill_in(&self, producer: &mut Producer) {
        if let Some(address) = self.durable_address() {
            producer.address = address;
            return;
        }
        if let Some(address) = self.state.address(producer.worker, producer.incarnation) {
            address.clone_into(&mut producer.address);
        }
    }

    /// Where outputs are that outlive their workers.
    fn durable_address(&self) -> Option<String> {
        let is_durable = self.kernel.output_mode() == OutputMode::Durable;
        is_durable.then(|| durable::address(&self.task.spec.query_id, self.task.epoch))
    }

    /// The process that plays a worker number now, as the producer of an output.
    fn producer(&self, order: WorkOrderId) -> Producer {
        let life = self
            .state
            .workers
            .get(&order.worker)
            .and_then(|lives| lives.last());
        Producer {
            worker: order.worker,
            incarnation: life.map_or(Incarnation(0), |life| life.incarnation),
            attempt: order.attempt,
            address: self
                .durable_address()
                .or_else(|| life.map(|life| life.address.clone()))
                .unwrap_or_default(),
        }
    }

    fn read_results(&mut self, orders: &[WorkOrderId], partitions: u32) {
        let Some(stage) = self.kernel.query().final_stage().cloned() else {
            return;
        };
        let request = ReadRequest {
            network: self.environment.network.clone(),
            deep_storage: self.environment.deep_storage.clone(),
            query_id: self.task.spec.query_id.clone(),
            ticket_key: self.ticket_key.clone(),
            stage,
            signature: self.kernel.query().result_signature.clone(),
            orders: orders
                .iter()
                .map(|order| (*order, self.producer(*order)))
                .collect(),
            partitions,
            max_rows: (!self.task.spec.synchronous).then_some(REPORT_ROWS),
        };
        self.aside
            .spawn(async move { Aside::Read(results::read(request).await) });
    }

    /// The stage that the segments were written from was cut where their shard specs say.
    fn sharding(&self, target: &IngestTarget) -> Sharding {
        let read = self.kernel.final_input();
        let shuffle = read.as_ref().and_then(|(stage, _)| stage.shuffle.as_ref());
        let boundaries = read.as_ref().and_then(|(_, view)| view.boundaries.as_deref());
        Sharding::new(target, shuffle, boundaries)
    }

    fn publish(&mut self, orders: &[WorkOrderId]) {
        if let Some(target) = self.export.clone() {
            return self.export(target, orders);
        }
        let Some(target) = self.target.clone() else { return };
        let columns = self.kernel.query().result_signature.clone();
        let segments: Vec<v1::SegmentOutput> = orders
            .iter()
            .filter_map(|order| self.state.segments.get(order))
            .flatten()
            .cloned()
            .collect();
        let paths: Vec<String> = segments.iter().map(|segment| segment.path.clone()).collect();
        let sharding = self.sharding(&target);
        let context = context::context(&self.task.spec).unwrap_or_default();
        let (task_id, epoch) = (self.task.task_id.clone(), self.task.epoch);
        let environment = Arc::clone(&self.environment);
        self.aside.spawn(async move {
            let publication = Publication {
                task_id: &task_id,
                epoch,
                target: &target,
                columns: &columns,
                segments,
                sharding,
                deep_storage: &environment.deep_storage,
                fail_on_empty: context::flag(&context, "failOnEmptyInsert"),
                max_segments_per_chunk: context::max_segments_per_chunk(&context),
            };
            let published = publish(publication, &environment.network, &environment.overlord).await;
            Aside::Published(published.map(|published| (published, paths)))
        });
    }

    fn export(&mut self, target: ExportTarget, orders: &[WorkOrderId]) {
        let files: Vec<StagedFile> = orders
            .iter()
            .filter_map(|order| self.state.files.get(order))
            .flatten()
            .cloned()
            .collect();
        let query = self.kernel.query().clone();
        let environment = Arc::clone(&self.environment);
        self.aside.spawn(async move {
            Aside::Exported(export::publish(&environment, &target, &query, files).await)
        });
    }

    /// What is published can be read at once: a query that waits for it has waited.
    fn segment_load(&self, published: Published) -> Option<SegmentLoadReport> {
        let context = context::context(&self.task.spec).unwrap_or_default();
        context::flag(&context, "waitUntilSegmentsLoad").then(|| SegmentLoadReport {
            start_ms: now(),
            duration_ms: 0,
            segments: published.segments,
        })
    }

    async fn done(&mut self, done: Aside) {
        match done {
            Aside::Acquired(worker, incarnation, Ok(assignments)) => {
                if let Some(node) = assignments.into_iter().find_map(|assignment| assignment.node) {
                    self.connect(worker, incarnation, &node);
                }
            }
            Aside::Acquired(_, _, Err(fault)) => {
                self.event(ControllerEvent::Cancel {
                    fault: self.fault(fault),
                })
                .await;
            }
            Aside::Read(Ok(results)) => {
                self.results = results;
                self.event(ControllerEvent::ResultsRead).await;
            }
            Aside::Read(Err(ReadError::Unavailable(unavailable))) => {
                let producer = unavailable.producer;
                self.event(ControllerEvent::OutputUnavailable {
                    consumer: None,
                    producer,
                })
                .await;
            }
            Aside::Read(Err(ReadError::Failed(message))) => {
                let fault = self.fault(Fault::UnknownError { message });
                self.event(ControllerEvent::Cancel { fault }).await;
            }
            Aside::Published(Ok((published, paths))) => {
                self.state.published_segments = Some(published.segments);
                self.state.segment_load = self.segment_load(published);
                if !published.repeated {
                    self.published = paths;
                }
                self.event(ControllerEvent::Published).await;
            }
            Aside::Exported(Ok(mut exported)) => {
                self.state.pages = exported.pages();
                self.results = std::mem::take(&mut exported.results);
                self.exported = Some(exported);
                self.event(ControllerEvent::Published).await;
            }
            Aside::Published(Err(fault)) | Aside::Exported(Err(fault)) => {
                self.event(ControllerEvent::PublishFailed {
                    fault: self.fault(fault),
                })
                .await;
            }
        }
    }

    /// Whether the rows of the last stage are still no more than the query may make.
    fn measure_output(
        &mut self,
        order: WorkOrderId,
        event: &ControllerEvent,
        segments: &[v1::SegmentOutput],
    ) -> Result<(), Fault> {
        if !self.kernel.is_last(order.stage) {
            return Ok(());
        }
        let rows = match (&self.target, event) {
            (Some(_), _) => segments.iter().map(|segment| segment.rows).sum(),
            (None, ControllerEvent::OutputReady { sizes, .. }) => sizes.values().map(|size| size.rows).sum(),
            _ => return Ok(()),
        };
        self.meter.produce(order, rows)
    }

    async fn link_event(&mut self, from: FromLink) {
        let (worker, incarnation) = (from.worker, from.incarnation);
        metrics::counter!("sarsen_controller_events").increment(1);
        match from.event {
            LinkEvent::Ready => {
                if let Some(life) = self.state.life(worker, incarnation) {
                    life.ready = life.ready.or(Some(now()));
                }
                self.event(ControllerEvent::WorkerReady { worker, incarnation })
                    .await;
            }
            LinkEvent::Lost(reason) => {
                let worker_task_id = self.kernel.query().query_id.worker_task_id(worker, incarnation);
                tracing::warn!(worker = worker_task_id, reason, "a worker task is lost");
                metrics::counter!("sarsen_controller_workers_lost").increment(1);
                let fault = Fault::WorkerFailed {
                    worker_task_id: worker_task_id.clone(),
                    error_msg: Some(reason),
                };
                let mut reason = FaultReport {
                    task_id: Some(worker_task_id),
                    ..FaultReport::from(fault.clone())
                };
                if let Some(life) = self.state.life(worker, incarnation) {
                    life.lost = Some((now(), fault));
                    reason.host = Some(life.location.clone());
                }
                self.links.remove(&(worker, incarnation));
                self.event(ControllerEvent::WorkerLost {
                    worker,
                    incarnation,
                    reason,
                })
                .await;
            }
            LinkEvent::Worker(event) => match worker_event(event) {
                Ok(Told::Kernel(ControllerEvent::WorkOrderFailed { order, fault })) => {
                    let fault = self.limits.explain(fault);
                    self.event(ControllerEvent::WorkOrderFailed { order, fault })
                        .await;
                }
                Ok(Told::Kernel(event)) => self.event(event).await,
                Ok(Told::Output {
                    order,
                    event,
                    segments,
                    files,
                }) => {
                    let passed = self.measure_output(order, &event, &segments);
                    self.state.segments.insert(order, segments);
                    self.state.files.insert(order, files);
                    match passed {
                        Ok(()) => self.event(event).await,
                        Err(fault) => self.cancel(fault).await,
                    }
                }
                Ok(Told::Counters(order, snapshot)) => {
                    let is_last = self.kernel.is_last(order.stage);
                    let passed = self.meter.count(order, &snapshot, is_last);
                    self.state.count(order, snapshot);
                    if let Err(fault) = passed {
                        self.cancel(fault).await;
                    }
                }
                Ok(Told::Warning(order, fault)) => {
                    let worker_task_id = self.kernel.query().query_id.worker_task_id(worker, incarnation);
                    let stage: Option<StageNumber> = Some(order.stage);
                    self.state.warn(
                        order,
                        FaultReport {
                            task_id: Some(worker_task_id),
                            stage,
                            ..FaultReport::from(fault)
                        },
                    );
                }
                Ok(Told::Nothing) => {}
                Err(error) => tracing::error!(%error, "unreadable event of a worker"),
            },
        }
    }
}

/// A worker's event, read.
enum Told {
    Kernel(ControllerEvent),
    Output {
        order: WorkOrderId,
        event: ControllerEvent,
        segments: Vec<v1::SegmentOutput>,
        files: Vec<StagedFile>,
    },
    Counters(WorkOrderId, CounterSnapshot),
    Warning(WorkOrderId, Fault),
    Nothing,
}

fn worker_event(event: Event) -> Result<Told, DecodeError> {
    let id = |order: &Option<v1::WorkOrderRef>, message| {
        order.as_ref().map(WorkOrderId::from).ok_or(DecodeError::Missing {
            message,
            field: "order",
        })
    };
    Ok(match event {
        Event::Counters(event) => {
            let snapshot = from_kernel(event.counters.as_ref(), "CountersEvent", "counters")?;
            Told::Counters(id(&event.order, "CountersEvent")?, snapshot)
        }
        Event::SplitsWanted(event) => Told::Kernel(ControllerEvent::SplitsWanted {
            order: id(&event.order, "SplitsWantedEvent")?,
            input: event.input,
            portion: event.portion,
            wanted: event.wanted,
        }),
        Event::Statistics(event) => {
            let statistics =
                KeyStatistics::from_bytes(&event.key_statistics).map_err(|error| DecodeError::Malformed {
                    kind: "KeyStatistics",
                    reason: error.to_string(),
                })?;
            Told::Kernel(ControllerEvent::Statistics {
                order: id(&event.order, "StatisticsEvent")?,
                statistics,
            })
        }
        Event::OutputReady(event) => {
            let order = id(&event.order, "OutputReadyEvent")?;
            let sizes = from_kernel(event.sizes.as_ref(), "OutputReadyEvent", "sizes")?;
            let files = event.staged_files.iter().map(|file| {
                serde_json::from_str(file).map_err(|error| DecodeError::Malformed {
                    kind: "StagedFile",
                    reason: error.to_string(),
                })
            });
            let files = files.collect::<Result<_, _>>()?;
            Told::Output {
                order,
                event: ControllerEvent::OutputReady { order, sizes },
                segments: event.segments,
                files,
            }
        }
        Event::Failed(event) => Told::Kernel(ControllerEvent::WorkOrderFailed {
            order: id(&event.order, "FailedEvent")?,
            fault: from_kernel(event.fault.as_ref(), "FailedEvent", "fault")?,
        }),
        Event::Warning(event) => {
            let fault = from_kernel(event.fault.as_ref(), "WarningEvent", "fault")?;
            Told::Warning(id(&event.order, "WarningEvent")?, fault)
        }
        Event::InputUnavailable(event) => Told::Kernel(ControllerEvent::OutputUnavailable {
            consumer: Some(id(&event.order, "InputUnavailableEvent")?),
            producer: id(&event.producer, "InputUnavailableEvent")?,
        }),
        // It goes on with what it has; when it is gone, its link says so.
        Event::Draining(_) | Event::Attached(_) => Told::Nothing,
    })
}
