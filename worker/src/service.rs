//! The process: its gRPC and Flight services, its worker tasks by name, its start and end.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use sarsen_engine::runtime::SegmentFooters;
use sarsen_kernel::ids::{Incarnation, WorkerNumber};
use sarsen_object::Stores;
use sarsen_observe::Observed;
use sarsen_proto::membership::{Joined, MAX_MESSAGE_BYTES, advertised, announce};
use sarsen_proto::transport::{Network, serve};
use sarsen_proto::v1;
use sarsen_proto::v1::worker_server::{Worker, WorkerServer};
use sarsen_proto::version::{Accepts, CheckVersion};
use sarsen_storage::export::Exports;
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::SourceContext;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use crate::environment::{ProcessEnvironment, TaskEnvironment, TaskSettings};
use crate::flight::ShuffleFlight;
use crate::observed::Watched;
use crate::options::Options;
use crate::shuffle::ShuffleStore;
use crate::task::{TaskHandle, TaskMessage};
use crate::ticket::TicketKey;

/// Why a worker process could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot listen at {address}: {error}")]
    Bind { address: String, error: std::io::Error },
    #[error(transparent)]
    Storage(#[from] sarsen_storage::StorageError),
    #[error("cannot use the spill folder {path}: {error}")]
    Spill { path: String, error: std::io::Error },
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    #[error("the server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// A worker that takes tasks.
#[derive(Debug)]
pub struct Started {
    pub address: String,
    /// Ends after the shutdown that `start` was given.
    pub done: tokio::task::JoinHandle<Result<(), WorkerError>>,
}

/// Messages that may wait for a task or its controller.
const QUEUE: usize = 1024;

/// Address space for the stack of a thread that runs fragments: an expression is decoded and evaluated by recursion, as
/// deep as the planner allows. Only what is used becomes memory.
const CPU_STACK_BYTES: usize = 64 << 20;

/// Starts a worker process' services.
///
/// # Errors
/// When an address, folder or URL of the options cannot be used.
pub async fn start(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<Started, WorkerError> {
    let bind = |error| WorkerError::Bind {
        address: options.grpc_addr.clone(),
        error,
    };
    let (bound, binding) = network.bind(&options.grpc_addr).await.map_err(bind)?;
    let address = advertised(options.advertise.as_deref(), &bound).map_err(bind)?;
    let (process, cpu) = process_environment(&options, network.clone(), address.clone())?;
    let sent = Arc::new(AtomicU64::new(0));
    let flight = ShuffleFlight::new(process.store.clone(), Arc::clone(&sent)).into_service();
    let service = WorkerService {
        process: Arc::clone(&process),
        tasks: Arc::default(),
        tracker: TaskTracker::new(),
        draining: Arc::default(),
        stop: CancellationToken::new(),
        joined: Joined::default(),
        slots: options.slots,
    };
    let worker = WorkerServer::new(service.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let check = CheckVersion::new(network.version().clone(), Accepts::Identical);
    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(tonic::service::interceptor::InterceptedService::new(
        worker,
        check.clone(),
    ));
    routes.add_service(tonic::service::interceptor::InterceptedService::new(
        flight, check,
    ));
    let node = v1::Node {
        node_id: uuid::Uuid::new_v4().to_string(),
        role: v1::Role::Worker.into(),
        address: address.clone(),
        version: network.version().to_string(),
        slots: options.slots,
        labels: options.labels.by_key(),
        draining: false,
    };
    tracing::info!(
        address,
        slots = options.slots,
        task_memory = process.task_memory,
        "worker is up"
    );
    let observed: Arc<dyn Observed> = Arc::new(Watched {
        service: service.clone(),
        flight_sent: Arc::clone(&sent),
    });
    sarsen_observe::observe(&observed);
    let done = tokio::spawn(async move {
        let _observed = observed;
        let server_stop = CancellationToken::new();
        let server = tokio::spawn(serve(binding, routes.routes(), server_stop.clone()));
        let joined = service.joined.clone();
        let work = async {
            shutdown.cancelled().await;
            service.drain(Duration::from_secs(options.drain_seconds)).await;
        };
        announce(
            network,
            options.overlord.clone(),
            node,
            joined,
            shutdown.clone(),
            work,
        )
        .await;
        server_stop.cancel();
        let served = tokio::time::timeout(Duration::from_secs(5), server).await;
        drop(cpu);
        tracing::info!(
            flight_bytes_sent = sent.load(Ordering::Relaxed),
            "worker has ended"
        );
        match served {
            Ok(Ok(result)) => Ok(result?),
            _ => Ok(()),
        }
    });
    Ok(Started { address, done })
}

/// Runs a worker process until `shutdown`.
///
/// # Errors
/// As [`start`], and when the server fails.
pub async fn run(options: Options, network: Network, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let started = start(options, network, shutdown).await?;
    started.done.await.unwrap_or(Ok(()))
}

/// The CPU runtime, which may not be dropped from within another one.
struct CpuRuntime(Option<tokio::runtime::Runtime>);

impl Drop for CpuRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn process_environment(
    options: &Options,
    network: Network,
    address: String,
) -> Result<(Arc<ProcessEnvironment>, CpuRuntime), WorkerError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("sarsen-cpu")
        .thread_stack_size(CPU_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(WorkerError::Threads)?;
    let spill_dir = options.spill_dir();
    sweep(&spill_dir).map_err(|error| WorkerError::Spill {
        path: spill_dir.display().to_string(),
        error,
    })?;
    let stores = Stores::new(options.objects.clone());
    let memory = usize::try_from(options.memory_bytes()).unwrap_or(usize::MAX);
    let deep_storage = DeepStorage::open(&options.deep_storage(), &stores)?;
    let process = ProcessEnvironment {
        address,
        network,
        store: ShuffleStore::default(),
        exports: Exports::new(&options.export_allow, stores.clone()).with_results(deep_storage.clone()),
        deep_storage,
        footers: SegmentFooters::default(),
        sources: Arc::new(SourceContext::new(&options.extern_allow)?.with_stores(stores)),
        cpu: cpu.handle().clone(),
        cores: Arc::new(Semaphore::new(cores)),
        core_count: cores,
        task_memory: memory / usize::try_from(options.slots.max(1)).unwrap_or(1),
        spill_dir,
        spill_quota_bytes: options.spill_quota.of(u64::MAX),
    };
    Ok((Arc::new(process), CpuRuntime(Some(cpu))))
}

/// Makes the spill folder, and removes what an earlier process that was killed left there.
fn sweep(spill_dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(spill_dir)?;
    for entry in std::fs::read_dir(spill_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("query-") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

pub(crate) type TaskKey = (String, WorkerNumber, Incarnation);

#[derive(Debug, Clone)]
pub(crate) struct WorkerService {
    pub(crate) process: Arc<ProcessEnvironment>,
    tasks: Arc<Mutex<HashMap<TaskKey, TaskHandle>>>,
    tracker: TaskTracker,
    draining: Arc<AtomicBool>,
    /// Ends tasks that did not end by themselves.
    stop: CancellationToken,
    joined: Joined,
    pub(crate) slots: u32,
}

impl WorkerService {
    /// Worker tasks that run here.
    pub(crate) fn running(&self) -> HashMap<TaskKey, TaskHandle> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    /// Why it takes no tasks.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.joined.check()
    }

    /// The task of that name, which is made when it is new. A task of an older epoch ends first: its controller is
    /// gone, and the new one plans anew.
    async fn task(&self, attach: &v1::Attach) -> Result<TaskHandle, Status> {
        loop {
            let outdated = match self.find_or_create(attach)? {
                Ok(task) => return Ok(task),
                Err(outdated) => outdated,
            };
            outdated.end().await;
        }
    }

    fn find_or_create(&self, attach: &v1::Attach) -> Result<Result<TaskHandle, TaskHandle>, Status> {
        let key = (
            attach.query_id.clone(),
            WorkerNumber(attach.worker),
            Incarnation(attach.incarnation),
        );
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match tasks.get(&key) {
            Some(known) if known.epoch >= attach.epoch => return Ok(Ok(known.clone())),
            Some(known) if !known.has_ended() => return Ok(Err(known.clone())),
            _ => {}
        }
        let version = self.process.network.version();
        if attach.version != version.as_str() {
            let theirs = match attach.version.as_str() {
                "" => "of an unnamed version",
                theirs => theirs,
            };
            return Err(Status::failed_precondition(format!(
                "the query was planned by Sarsen {theirs}, and this worker runs {version}: a query runs only on processes of \
                 its own version"
            )));
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(Status::failed_precondition("this worker is shutting down"));
        }
        // It names a folder.
        if attach.query_id.contains(['/', '\0']) {
            return Err(Status::invalid_argument("a query id names no path"));
        }
        let ticket_key = TicketKey::from_bytes(&attach.ticket_key)
            .ok_or_else(|| Status::invalid_argument("Attach lacks the query's ticket key"))?;
        let settings = TaskSettings::parse(&attach.context_json);
        let environment = TaskEnvironment::new(
            Arc::clone(&self.process),
            attach.query_id.clone(),
            key.1,
            key.2,
            settings,
            ticket_key,
        )
        .map_err(|error| Status::internal(error.to_string()))?;
        let (handle, task) = crate::task::create(environment, attach.epoch, self.stop.child_token());
        tasks.insert(key.clone(), handle.clone());
        let (all, epoch) = (Arc::clone(&self.tasks), attach.epoch);
        let span = tracing::info_span!(target: "sarsen_trace", "worker-task", query = attach.query_id, worker = attach.worker);
        sarsen_observe::continue_trace(&span, &attach.trace_parent);
        self.tracker.spawn(
            async move {
                task.run().await;
                let mut tasks = all.lock().unwrap_or_else(PoisonError::into_inner);
                if tasks.get(&key).is_some_and(|known| known.epoch == epoch) {
                    tasks.remove(&key);
                }
            }
            .instrument(span),
        );
        Ok(Ok(handle))
    }

    /// Takes no new tasks, and waits for those that run.
    async fn drain(&self, patience: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        for task in self.running().into_values() {
            let _ = task.send(TaskMessage::Draining).await;
        }
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_err() {
            tracing::warn!("worker tasks did not end in time and are stopped");
        }
        self.stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tracker.wait()).await;
    }
}

#[tonic::async_trait]
impl Worker for WorkerService {
    type RunTaskStream = Pin<Box<dyn Stream<Item = Result<v1::WorkerEvent, Status>> + Send>>;

    async fn run_task(
        &self,
        request: Request<Streaming<v1::WorkerCommand>>,
    ) -> Result<Response<Self::RunTaskStream>, Status> {
        let mut commands = request.into_inner();
        let first = commands.message().await?.and_then(|message| message.command);
        let Some(v1::worker_command::Command::Attach(attach)) = first else {
            return Err(Status::invalid_argument(
                "the first message of a stream must be Attach",
            ));
        };
        let task = self.task(&attach).await?;
        let (events, receiver) = mpsc::channel(QUEUE);
        let (connection, closed) = task.attach(attach.epoch, events).await?;
        self.tracker.spawn(async move {
            loop {
                let message = tokio::select! {
                    message = commands.message() => message,
                    () = closed.cancelled() => return,
                };
                match message {
                    Ok(Some(v1::WorkerCommand {
                        command: Some(command),
                    })) => {
                        if task.send(TaskMessage::Command(command)).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => {
                        let _ = task.send(TaskMessage::Detached { connection }).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[cfg(test)]
mod tests;
