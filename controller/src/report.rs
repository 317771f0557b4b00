//! How a query stands, for the report.

use sarsen_kernel::controller::ControllerKernel;
use sarsen_kernel::fault::FaultReport;
use sarsen_kernel::ids::{Millis, QueryId, WorkerNumber};
use sarsen_kernel::query::{QueryDefinition, QueryKind, StageDefinition, StageInput};
use sarsen_kernel::report::{
    QueryReport, ReportStatus, ShardSpecReport, StageReport, WorkerReport, WorkerReportState,
};
use sarsen_kernel::shuffle::Boundaries;

use crate::state::{QueryState, WorkerLife};

/// Where a query is, beside what its kernel knows.
#[derive(Debug, Clone)]
pub struct Ending {
    pub status: ReportStatus,
    pub error: Option<FaultReport>,
}

impl Ending {
    pub fn running() -> Self {
        Ending {
            status: ReportStatus::Running,
            error: None,
        }
    }
}

/// A report without stages: the query is being planned, or could not be.
pub fn unplanned(query_id: &str, started: Millis, now: Millis, ending: Ending) -> QueryReport {
    QueryReport {
        start_ms: Some(started),
        duration_ms: Some(now - started),
        error: ending.error,
        // The controller task itself.
        running_tasks: 1,
        ..QueryReport::new(QueryId(query_id.to_owned()), ending.status)
    }
}

/// The report as of now.
pub fn report(state: &QueryState, kernel: &ControllerKernel, now: Millis, ending: Ending) -> QueryReport {
    let query = kernel.query();
    let base = unplanned(&query.query_id.0, state.started, now, ending);
    let status = base.status;
    let workers = |wanted| {
        state
            .workers
            .values()
            .flatten()
            .filter(|life| life_state(life, status) == wanted)
            .count()
    };
    QueryReport {
        warnings: state.warnings(),
        kind: Some(query.kind.clone()),
        stages: query
            .stages
            .iter()
            .map(|stage| stage_report(stage, kernel, now))
            .collect(),
        counters: state.counters(),
        workers: state
            .workers
            .iter()
            .map(|(worker, lives)| {
                (
                    *worker,
                    lives
                        .iter()
                        .map(|life| worker_report(*worker, life, query_id(kernel), now, status))
                        .collect(),
                )
            })
            .collect(),
        pending_tasks: u32::try_from(workers(WorkerReportState::Pending)).unwrap_or(u32::MAX),
        // The controller task counts itself, to the end.
        running_tasks: u32::try_from(workers(WorkerReportState::Running)).unwrap_or(u32::MAX) + 1,
        result_signature: query.result_signature.clone(),
        published_segments: state.published_segments,
        shard_spec: will_have_segments(state, kernel)
            .then(|| shard_spec(query))
            .flatten(),
        segment_load: state.segment_load,
        pages: state.pages.clone(),
        inferred_signatures: state.inferred.clone(),
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
        definition: shown(stage),
        phase: view
            .as_ref()
            .and_then(|view| view.phase)
            .map(sarsen_kernel::controller::StagePhase::name),
        worker_count: view.as_ref().and_then(|view| view.worker_count),
        partition_count: view
            .as_ref()
            .and_then(|view| view.partition_count.or_else(|| input_partitions(stage, kernel))),
        start_ms: started,
        duration_ms: started.map(|started| ended.unwrap_or(now) - started),
        skipped: view.as_ref().is_some_and(|view| view.skipped),
        boundaries: None,
        output: kernel.output_mode(),
    }
}

/// A stage without what only its workers need: the fragment, and the names of perhaps a million files.
fn shown(stage: &StageDefinition) -> StageDefinition {
    let inputs = stage.inputs.iter().map(|input| match input {
        StageInput::Splits { descriptor, .. } => StageInput::Splits {
            descriptor: descriptor.clone(),
            splits: Vec::new(),
        },
        of_stage @ StageInput::Stage { .. } => of_stage.clone(),
    });
    StageDefinition {
        number: stage.number,
        inputs: inputs.collect(),
        fragment: Vec::new(),
        processor: stage.processor.clone(),
        signature: stage.signature.clone(),
        shuffle: stage.shuffle.clone(),
        max_worker_count: stage.max_worker_count,
        deterministic: stage.deterministic,
        alternative: stage.alternative.clone(),
    }
}

/// Partitions of a stage that writes segments: one for each that it reads.
fn input_partitions(stage: &StageDefinition, kernel: &ControllerKernel) -> Option<u32> {
    let (None, [input]) = (&stage.shuffle, stage.inputs.as_slice()) else {
        return None;
    };
    input
        .stages()
        .first()
        .and_then(|read| kernel.stage_view(*read)?.partition_count)
}

fn life_state(life: &WorkerLife, status: ReportStatus) -> WorkerReportState {
    match (&life.lost, status) {
        (Some(_), _) | (None, ReportStatus::Failed) => WorkerReportState::Failed,
        (None, ReportStatus::Success) => WorkerReportState::Success,
        (None, ReportStatus::Running) if life.ready.is_none() => WorkerReportState::Pending,
        (None, ReportStatus::Running) => WorkerReportState::Running,
    }
}

fn worker_report(
    worker: WorkerNumber,
    life: &WorkerLife,
    query: &QueryId,
    now: Millis,
    status: ReportStatus,
) -> WorkerReport {
    let state = life_state(life, status);
    let is_over = status != ReportStatus::Running;
    let ready = life.ready.unwrap_or(now);
    let ended = life.lost.as_ref().map(|(at, _)| *at).or(is_over.then_some(now));
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

/// Whether it is known that there will be segments: their partitions are cut, and hold rows.
fn will_have_segments(state: &QueryState, kernel: &ControllerKernel) -> bool {
    let last = kernel.query().final_stage();
    let holds_rows = match kernel.final_input().and_then(|(_, view)| view.boundaries) {
        None => false,
        Some(boundaries) => match boundaries.as_ref() {
            Boundaries::Buckets(buckets) => buckets.iter().any(|bucket| !bucket.runs.is_empty()),
            Boundaries::Ranges(_) => true,
        },
    };
    let mut written = state
        .segments
        .iter()
        .filter(|(order, _)| last.is_some_and(|last| last.number == order.stage))
        .peekable();
    let wrote_none = state.published_segments == Some(0)
        || written.peek().is_some() && written.all(|(_, segments)| segments.is_empty());
    holds_rows && !wrote_none
}

fn shard_spec(query: &QueryDefinition) -> Option<ShardSpecReport> {
    match &query.kind {
        QueryKind::Select | QueryKind::Export(_) | QueryKind::DurableSelect(_) => None,
        QueryKind::Ingest(target) => Some(ShardSpecReport {
            kind: if target.shard_columns.is_empty() {
                "numbered"
            } else {
                "range"
            }
            .to_owned(),
            details: target.shard_reason.clone(),
        }),
    }
}
