//! How a query stands, for the report.

use sarsen_kernel::controller::ControllerKernel;
use sarsen_kernel::fault::FaultReport;
use sarsen_kernel::ids::{Incarnation, Millis, QueryId, WorkerNumber};
use sarsen_kernel::query::{QueryKind, StageDefinition};
use sarsen_kernel::report::{
    QueryReport, ReportStatus, ShardSpecReport, StageReport, WorkerReport, WorkerReportState,
};

use crate::state::{QueryState, WorkerLife};

/// Where a query is, beside what its kernel knows.
#[derive(Debug, Clone)]
pub struct Ending {
    pub status: ReportStatus,
    pub error: Option<FaultReport>,
}

impl Ending {
    pub fn running() -> Self {
        Ending { status: ReportStatus::Running, error: None }
    }
}

/// A report without stages: the query is being planned, or could not be.
pub fn unplanned(query_id: &str, started: Millis, now: Millis, ending: Ending) -> QueryReport {
    QueryReport {
        query_id: QueryId(query_id.to_owned()),
        status: ending.status,
        start_ms: Some(started),
        duration_ms: Some(now - started),
        error: ending.error,
        warnings: Vec::new(),
        kind: None,
        stages: Vec::new(),
        counters: Default::default(),
        workers: Default::default(),
        pending_tasks: 0,
        running_tasks: 0,
        result_signature: Vec::new(),
        published_segments: None,
        shard_spec: None,
        inferred_signatures: Vec::new(),
    }
}

/// The report as of now.
pub fn report(state: &QueryState, kernel: &ControllerKernel, now: Millis, ending: Ending) -> QueryReport {
    let query = kernel.query();
    let base = unplanned(&query.query_id.0, state.started, now, ending);
    let is_over = base.status != ReportStatus::Running;
    let workers = |wanted| state.workers.values().flatten().filter(|life| life_state(life, is_over) == wanted).count();
    QueryReport {
        warnings: state.warnings(),
        kind: Some(query.kind.clone()),
        stages: query.stages.iter().map(|stage| stage_report(stage, kernel, now)).collect(),
        counters: state.counters(),
        workers: state
            .workers
            .iter()
            .map(|(worker, lives)| (*worker, lives.iter().map(|life| worker_report(*worker, life, query_id(kernel), now, is_over)).collect()))
            .collect(),
        pending_tasks: u32::try_from(workers(WorkerReportState::Pending)).unwrap_or(u32::MAX),
        running_tasks: u32::try_from(workers(WorkerReportState::Running)).unwrap_or(u32::MAX) + u32::from(!is_over),
        result_signature: query.result_signature.clone(),
        published_segments: state.published_segments,
        shard_spec: shard_spec(&query.kind),
        ..base
    }
}

fn query_id(kernel: &ControllerKernel) -> &QueryId {
    &kernel.query().query_id
}

fn stage_report(stage: &StageDefinition, kernel: &ControllerKernel, now: Millis) -> StageReport {
    let view = kernel.stage_view(stage.number);
    let started = view.as_ref().and_then(|view| view.started);
    let ended = view.as_ref().and_then(|view| view.ended);
    StageReport {
        definition: StageDefinition { fragment: Vec::new(), ..stage.clone() },
        phase: view.as_ref().and_then(|view| view.phase).map(sarsen_kernel::controller::StagePhase::name),
        worker_count: view.as_ref().and_then(|view| view.worker_count),
        partition_count: view.as_ref().and_then(|view| view.partition_count),
        start_ms: started,
        duration_ms: started.map(|started| ended.unwrap_or(now) - started),
        skipped: view.as_ref().is_some_and(|view| view.skipped),
        boundaries: None,
    }
}

fn life_state(life: &WorkerLife, is_over: bool) -> WorkerReportState {
    match (&life.lost, life.ready) {
        (Some(_), _) => WorkerReportState::Failed,
        (None, None) => WorkerReportState::Pending,
        (None, Some(_)) if is_over => WorkerReportState::Success,
        (None, Some(_)) => WorkerReportState::Running,
    }
}

fn worker_report(
    worker: WorkerNumber,
    life: &WorkerLife,
    query: &QueryId,
    now: Millis,
    is_over: bool,
) -> WorkerReport {
    let state = life_state(life, is_over);
    let ready = life.ready.unwrap_or(now);
    let ended = life.lost.as_ref().map(|(at, _)| *at).or(is_over.then_some(now));
    let Incarnation(_) = life.incarnation;
    WorkerReport {
        incarnation: life.incarnation,
        task_id: query.worker_task_id(worker, life.incarnation),
        location: life.location.clone(),
        state,
        pending_ms: ready - life.launched,
        duration_ms: ended.map(|ended| ended - ready),
        fault: life.lost.as_ref().map(|(_, fault)| fault.clone()),
    }
}

fn shard_spec(kind: &QueryKind) -> Option<ShardSpecReport> {
    match kind {
        QueryKind::Select => None,
        QueryKind::Ingest(target) => Some(ShardSpecReport {
            kind: "numbered".to_owned(),
            details: if target.shard_columns.is_empty() {
                "CLUSTERED BY clause is empty.".to_owned()
            } else {
                "Segments of CLUSTERED BY are sorted by its columns and numbered.".to_owned()
            },
        }),
    }
}
