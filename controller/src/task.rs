//! One controller task: plans its query, then carries out what the kernel decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sarsen_kernel::controller::ControllerKernel;
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Epoch, Millis};
use sarsen_kernel::query::InputDescriptor;
use sarsen_kernel::report::{QueryReport, ReportStatus};
use sarsen_observe::TaskLog;
use sarsen_planner::{InferredSignature, Planned};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, retry};
use sarsen_proto::{to_kernel, v1};
use sarsen_storage::export::Exports;
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::SourceContext;
use sarsen_worker::ticket::TicketKey;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::query::{End, Query};
use crate::query_limits::QueryLimits;
use crate::report::{Ending, unplanned};
use crate::results::Results;
use crate::{context, export, signatures, splits};

/// What all tasks of a process share.
#[derive(Debug)]
pub struct TaskEnvironment {
    pub network: Network,
    /// Address of the Overlord.
    pub overlord: String,
    /// Address of this process.
    pub address: String,
    pub sources: Arc<SourceContext>,
    pub extern_allow: Vec<String>,
    pub deep_storage: DeepStorage,
    pub exports: Exports,
}

/// Attempts to reach the Overlord: with pauses of up to 2 s each, about five minutes.
pub const OVERLORD_ATTEMPTS: u32 = 150;

/// Questions that may wait for a task.
const QUEUE: usize = 64;

/// Somebody wants to know how the query stands.
pub type ReportRequest = oneshot::Sender<QueryReport>;

/// Steers a task from outside.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    pub query_id: String,
    pub epoch: u64,
    pub slots: Slots,
    cancel: CancellationToken,
    preempt: CancellationToken,
    abandon: CancellationToken,
    reports: mpsc::Sender<ReportRequest>,
    log: TaskLog,
}

impl TaskHandle {
    /// Ends the query with `Canceled`.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Ends the query with `InsertLockPreempted`.
    pub fn preempt(&self) {
        self.preempt.cancel();
    }

    /// Stops without an end: another controller has the task, or will.
    pub fn abandon(&self) {
        self.abandon.cancel();
    }

    /// What was logged of it.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// How the query stands.
    ///
    /// # Errors
    /// When it has just ended.
    pub async fn report(&self) -> Result<QueryReport, Status> {
        let gone = || Status::not_found("the task has just ended");
        let (answer, answered) = oneshot::channel();
        self.reports.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

/// A controller task that runs.
#[derive(Debug)]
pub struct Task {
    pub environment: Arc<TaskEnvironment>,
    pub task_id: String,
    pub epoch: u64,
    /// An earlier controller had the task, and kept this; it may be empty.
    pub earlier: Option<Vec<u8>>,
    pub spec: v1::TaskSpec,
    pub slots: Slots,
    pub cancel: CancellationToken,
    /// Its locks went to a task of higher priority.
    pub preempt: CancellationToken,
    pub reports: mpsc::Receiver<ReportRequest>,
    abandon: CancellationToken,
    log: TaskLog,
    started: Millis,
}

/// Makes a task; it does nothing until it is run.
pub fn create(
    environment: Arc<TaskEnvironment>,
    task_id: String,
    epoch: u64,
    earlier: Option<Vec<u8>>,
    (spec, log): (v1::TaskSpec, TaskLog),
) -> (TaskHandle, Task) {
    let (sender, reports) = mpsc::channel(QUEUE);
    let [cancel, preempt, abandon] = std::array::from_fn(|_| CancellationToken::new());
    let slots = Slots::default();
    let handle = TaskHandle {
        query_id: spec.query_id.clone(),
        epoch,
        slots: slots.clone(),
        cancel: cancel.clone(),
        preempt: preempt.clone(),
        abandon: abandon.clone(),
        reports: sender,
        log: log.clone(),
    };
    let task = Task {
        environment,
        task_id,
        epoch,
        earlier,
        spec,
        slots,
        cancel,
        preempt,
        reports,
        abandon,
        log,
        started: now(),
    };
    (handle, task)
}

/// The wall clock, in ms since the epoch.
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| Millis::try_from(since.as_millis()).unwrap_or(0))
}

/// A query that is ready to run.
pub struct Prepared {
    pub planned: Planned,
    /// EXTERNs whose columns were inferred.
    pub inferred: Vec<InputDescriptor>,
    pub kernel: ControllerKernel,
    pub assignments: Vec<v1::WorkerAssignment>,
    pub limits: QueryLimits,
    /// Signs the pulls between the workers of this run.
    pub ticket_key: TicketKey,
}

impl Task {
    /// Runs to the query's end, and tells the Overlord; says nothing when the task was abandoned.
    pub async fn run(mut self) {
        let abandon = self.abandon.clone();
        tokio::select! {
            () = self.run_to_end() => {}
            () = abandon.cancelled() => tracing::info!("task is left to another controller"),
        }
    }

    async fn run_to_end(&mut self) {
        tracing::info!(epoch = self.epoch, "task starts");
        let prepared = self.prepare_answering().await;
        match prepared {
            Err(fault) => {
                let fault = FaultReport {
                    task_id: Some(self.task_id.clone()),
                    ..fault
                };
                let ending = Ending {
                    status: ReportStatus::Failed,
                    error: Some(fault),
                };
                let report = unplanned(&self.spec.query_id, self.started, now(), ending);
                self.complete(report, Results::default()).await;
            }
            Ok(prepared) => {
                let End {
                    report,
                    results,
                    cleaning,
                } = Query::new(self, prepared, self.started).run().await;
                self.complete(report, results).await;
                cleaning.await;
            }
        }
    }

    /// Prepares while it answers questions and heeds a cancellation.
    async fn prepare_answering(&mut self) -> Result<Prepared, FaultReport> {
        let (environment, spec) = (Arc::clone(&self.environment), self.spec.clone());
        let (task_id, epoch, slots) = (self.task_id.clone(), self.epoch, self.slots.clone());
        let run = Run {
            task_id: &task_id,
            epoch,
            earlier: self.earlier.clone(),
            started: self.started,
        };
        let preparing = prepare(&environment, &spec, &slots, run);
        tokio::pin!(preparing);
        let timeout_ms = context::timeout_ms(&spec).and_then(|timeout| u64::try_from(timeout).ok());
        let overdue = async {
            match timeout_ms {
                Some(timeout) => tokio::time::sleep(Duration::from_millis(timeout)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                prepared = &mut preparing => return prepared.map_err(FaultReport::from),
                Some(answer) = self.reports.recv() => {
                    let _ = answer.send(unplanned(&spec.query_id, self.started, now(), Ending::running()));
                }
                () = self.cancel.cancelled() => return Err(Fault::Canceled {}.into()),
                () = self.preempt.cancelled() => return Err(Fault::InsertLockPreempted {}.into()),
                () = &mut overdue => return Err(Fault::QueryTimeout {
                    timeout_ms: timeout_ms.unwrap_or_default(),
                    reason: "QUERY_TIMEOUT".to_owned(),
                }.into()),
            }
        }
    }

    async fn complete(&self, report: QueryReport, results: Results) {
        let error = report.error.as_ref();
        match error {
            None => tracing::info!(duration_ms = report.duration_ms, "task succeeded"),
            Some(error) => tracing::warn!(
                // The message may quote a row: that is for the report.
                code = error.fault.code(),
                "task failed"
            ),
        }
        let request = v1::CompleteTaskRequest {
            task_id: self.task_id.clone(),
            epoch: self.epoch,
            success: report.status == ReportStatus::Success,
            error_message: error.map(error_text).unwrap_or_default(),
            duration_ms: report.duration_ms.unwrap_or(0),
            report: Some(v1::Report {
                report: to_kernel(&report).ok(),
                results: results.ipc.into(),
                results_truncated: results.truncated,
            }),
            log: self.log.text(),
        };
        let told = retry(OVERLORD_ATTEMPTS, || {
            let client = overlord(&self.environment.network, &self.environment.overlord);
            let request = request.clone();
            async move {
                let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
                client.complete_task(request).await
            }
        });
        if let Err(status) = told.await {
            tracing::error!(%status, "the Overlord did not take the task's end");
        }
    }
}

/// Druid's `errorMsg` of a failed task: code and message.
fn error_text(error: &FaultReport) -> String {
    format!("{}: {}", error.fault.code(), error.fault.message())
}

/// One controller's run of a task.
pub struct Run<'a> {
    pub task_id: &'a str,
    pub epoch: u64,
    /// See [`Task::earlier`].
    pub earlier: Option<Vec<u8>>,
    started: Millis,
}

async fn prepare(
    environment: &TaskEnvironment,
    spec: &v1::TaskSpec,
    slots: &Slots,
    run: Run<'_>,
) -> Result<Prepared, Fault> {
    let mut request = context::plan_request(spec, &environment.extern_allow)?;
    request.inferred = signatures::inferred(environment, &request, &run).await?;
    let mut planned = sarsen_planner::plan(&request)
        .await
        .map_err(|error| context::fault_of(&error))?;
    let context = context::context(spec)?;
    let mut limits = context::limits(&context)?;
    let query_limits = QueryLimits::parse(&context);
    context::check_arrays(&context, &planned)?;
    export::prepare(environment, &planned, &spec.query_id, run.earlier.is_some()).await?;
    splits::list_splits(
        &mut planned.definition,
        &planned.scans,
        &environment.sources,
        &environment.network,
        &environment.overlord,
        run.task_id,
    )
    .await?;
    query_limits.check_listed(&planned.definition)?;
    tracing::info!(
        stages = planned.definition.stages.len(),
        max_workers = planned.max_workers,
        "query is planned"
    );
    // What breaks a limit is told before any worker is taken.
    ControllerKernel::new(
        planned.definition.clone(),
        limits.clone(),
        planned.max_workers,
        Epoch(run.epoch),
    )?;
    let workers: Vec<u32> = (0..planned.max_workers).collect();
    let asked = v1::AcquireWorkersRequest {
        task_id: run.task_id.to_owned(),
        epoch: run.epoch,
        workers,
        avoid: Vec::new(),
        partial: true,
    };
    let assignments = acquire(environment, slots, asked).await?;
    let granted = u32::try_from(assignments.len()).unwrap_or(u32::MAX);
    limits.waited_ms = now() - run.started;
    let at: Vec<&str> = assignments
        .iter()
        .filter_map(|given| Some(given.node.as_ref()?.address.as_str()))
        .collect();
    tracing::info!(
        workers = granted,
        ?at,
        waited_ms = limits.waited_ms,
        "worker slots are given"
    );
    let kernel = ControllerKernel::new(planned.definition.clone(), limits, granted, Epoch(run.epoch))?;
    let ticket_key = TicketKey::random().ok_or_else(|| Fault::UnknownError {
        message: "the system gives no random bytes for a ticket key".to_owned(),
    })?;
    Ok(Prepared {
        planned,
        inferred: request
            .inferred
            .iter()
            .map(InferredSignature::descriptor)
            .collect(),
        kernel,
        assignments,
        limits: query_limits,
        ticket_key,
    })
}

/// Time that a task waits for worker slots before it gives up (Druid: TaskStartTimeout).
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(600);

/// The worker slots that a task holds: a later Overlord asks for them.
#[derive(Debug, Clone, Default)]
pub struct Slots(Arc<Mutex<HashMap<u32, String>>>);

impl Slots {
    /// Node ids by worker number.
    pub fn nodes(&self) -> HashMap<u32, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, assignments: &[v1::WorkerAssignment]) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = assignments.iter();
        nodes.extend(given.filter_map(|given| Some((given.worker, given.node.as_ref()?.node_id.clone()))));
    }
}

/// Asks for worker processes until there are some.
///
/// # Errors
/// `TaskStartTimeout` when none came free in time.
pub async fn acquire(
    environment: &TaskEnvironment,
    slots: &Slots,
    request: v1::AcquireWorkersRequest,
) -> Result<Vec<v1::WorkerAssignment>, Fault> {
    let asking = retry(u32::MAX, || {
        let client = overlord(&environment.network, &environment.overlord);
        let request = request.clone();
        async move {
            let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
            Ok(client.acquire_workers(request).await?.into_inner().assignments)
        }
    });
    let wanted = request.workers.len() as u64;
    match tokio::time::timeout(ACQUIRE_TIMEOUT, asking).await {
        Ok(Ok(assignments)) => {
            slots.add(&assignments);
            Ok(assignments)
        }
        Ok(Err(status)) => Err(Fault::UnknownError {
            message: format!("no workers could be had: {}", status.message()),
        }),
        Err(_) => Err(Fault::TaskStartTimeout {
            pending_tasks: wanted,
            total_tasks: wanted,
            timeout: u64::try_from(ACQUIRE_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}
