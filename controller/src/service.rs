//! The process: its gRPC service, its tasks by id, its start and end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sarsen_object::Stores;
use sarsen_observe::Observed;
use sarsen_proto::membership::{Joined, MAX_MESSAGE_BYTES, advertised, announce};
use sarsen_proto::transport::{Network, serve};
use sarsen_proto::v1::controller_server::{Controller, ControllerServer};
use sarsen_proto::version::{Accepts, CheckVersion};
use sarsen_proto::{to_kernel, v1};
use sarsen_storage::export::Exports;
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::SourceContext;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::options::Options;
use crate::task::{self, TaskEnvironment, TaskHandle};

/// Why a controller process could not start.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("cannot listen at {address}: {error}")]
    Bind { address: String, error: std::io::Error },
    #[error(transparent)]
    Storage(#[from] sarsen_storage::StorageError),
    #[error("the server failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// A controller that takes tasks.
#[derive(Debug)]
pub struct Started {
    pub address: String,
    /// Ends after the shutdown that `start` was given.
    pub done: tokio::task::JoinHandle<Result<(), ControllerError>>,
}

/// Starts a controller process' service.
///
/// # Errors
/// When an address, folder or URL of the options cannot be used.
pub async fn start(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<Started, ControllerError> {
    let bind = |error| ControllerError::Bind {
        address: options.grpc_addr.clone(),
        error,
    };
    let (bound, binding) = network.bind(&options.grpc_addr).await.map_err(bind)?;
    let address = advertised(options.advertise.as_deref(), &bound).map_err(bind)?;
    let stores = Stores::new(options.objects.clone());
    let deep_storage = DeepStorage::open(&options.deep_storage(), &stores)?;
    let environment = Arc::new(TaskEnvironment {
        network: network.clone(),
        overlord: options.overlord.clone(),
        address: address.clone(),
        sources: Arc::new(SourceContext::new(&options.extern_allow)?.with_stores(stores.clone())),
        extern_allow: options.extern_allow.clone(),
        exports: Exports::new(&options.export_allow, stores).with_results(deep_storage.clone()),
        deep_storage,
    });
    let service = ControllerService {
        environment,
        tasks: Arc::default(),
        tracker: TaskTracker::new(),
        joined: Joined::default(),
    };
    let server = ControllerServer::new(service.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut routes = tonic::service::RoutesBuilder::default();
    routes.add_service(tonic::service::interceptor::InterceptedService::new(
        server,
        CheckVersion::new(network.version().clone(), Accepts::Neighbours),
    ));
    let node = v1::Node {
        node_id: uuid::Uuid::new_v4().to_string(),
        role: v1::Role::Controller.into(),
        address: address.clone(),
        version: network.version().to_string(),
        slots: options.tasks,
        labels: options.labels.by_key(),
        draining: false,
    };
    tracing::info!(address, "controller is up");
    let observed: Arc<dyn Observed> = Arc::new(service.clone());
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
        tracing::info!("controller has ended");
        match served {
            Ok(Ok(result)) => Ok(result?),
            _ => Ok(()),
        }
    });
    Ok(Started { address, done })
}

/// Runs a controller process until `shutdown`.
///
/// # Errors
/// As [`start`], and when the server fails.
pub async fn run(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    let started = start(options, network, shutdown).await?;
    started.done.await.unwrap_or(Ok(()))
}

#[derive(Debug, Clone)]
pub(crate) struct ControllerService {
    environment: Arc<TaskEnvironment>,
    tasks: Arc<Mutex<HashMap<String, TaskHandle>>>,
    tracker: TaskTracker,
    pub(crate) joined: Joined,
}

impl ControllerService {
    /// Tasks that run here, by id.
    pub(crate) fn running(&self) -> HashMap<String, TaskHandle> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, task_id: &str) -> Option<TaskHandle> {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(task_id)
            .cloned()
    }

    /// Takes no new tasks, waits for those that run, and leaves the rest: the Overlord hands them to another controller.
    async fn drain(&self, patience: Duration) {
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_ok() {
            return;
        }
        for task in self.running().into_values() {
            task.abandon();
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tracker.wait()).await;
    }
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Result<Response<v1::Empty>, Status> {
        let request = request.into_inner();
        let spec = request
            .spec
            .ok_or_else(|| Status::invalid_argument("StartTask lacks the task's spec"))?;
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tasks.get(&request.task_id) {
            if known.epoch >= request.epoch {
                return Ok(Response::new(v1::Empty {}));
            }
            known.abandon();
        }
        if self.tracker.is_closed() {
            // Of this code the Overlord makes no loss.
            return Err(Status::aborted("this controller is shutting down"));
        }
        let log = sarsen_observe::TaskLog::open(&spec.query_id);
        let span = tracing::info_span!(target: "sarsen_trace", "task", query = spec.query_id);
        sarsen_observe::continue_trace(&span, &spec.trace_parent);
        let (handle, task) = task::create(
            Arc::clone(&self.environment),
            request.task_id.clone(),
            request.epoch,
            request.resumed.then(|| request.checkpoint.to_vec()),
            (spec, log),
        );
        tasks.insert(request.task_id.clone(), handle);
        let (all, task_id, epoch) = (Arc::clone(&self.tasks), request.task_id, request.epoch);
        self.tracker.spawn(
            async move {
                task.run().await;
                let mut tasks = all.lock().unwrap_or_else(PoisonError::into_inner);
                if tasks.get(&task_id).is_some_and(|known| known.epoch == epoch) {
                    tasks.remove(&task_id);
                }
            }
            .instrument(span),
        );
        Ok(Response::new(v1::Empty {}))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Result<Response<v1::Empty>, Status> {
        let request = request.into_inner();
        if let Some(task) = self.find(&request.task_id) {
            tracing::info!(
                task = request.task_id,
                reason = request.reason,
                "task is cancelled"
            );
            match request.cause() {
                v1::CancelCause::Unspecified => task.cancel(),
                v1::CancelCause::LockPreempted => task.preempt(),
            }
        }
        Ok(Response::new(v1::Empty {}))
    }

    async fn get_live_report(
        &self,
        request: Request<v1::TaskRequest>,
    ) -> Result<Response<v1::Report>, Status> {
        let task_id = request.into_inner().task_id;
        let task = self
            .find(&task_id)
            .ok_or_else(|| Status::not_found(format!("task {task_id} does not run here")))?;
        let report = to_kernel(&task.report().await?)?;
        Ok(Response::new(v1::Report {
            report: Some(report),
            ..v1::Report::default()
        }))
    }

    async fn get_live_log(&self, request: Request<v1::TaskRequest>) -> Result<Response<v1::TaskLog>, Status> {
        let task_id = request.into_inner().task_id;
        let task = self
            .find(&task_id)
            .ok_or_else(|| Status::not_found(format!("task {task_id} does not run here")))?;
        Ok(Response::new(v1::TaskLog {
            found: true,
            text: task.log(),
        }))
    }

    async fn list_running(&self, _: Request<v1::Empty>) -> Result<Response<v1::RunningTasks>, Status> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = tasks.iter().map(|(task_id, task)| v1::RunningTask {
            task_id: task_id.clone(),
            epoch: task.epoch,
            workers: task.slots.nodes(),
        });
        Ok(Response::new(v1::RunningTasks {
            tasks: tasks.collect(),
        }))
    }
}
