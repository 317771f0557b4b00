//! The report of a task.

use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{QueryId, StageNumber};
use sarsen_kernel::query::{ProcessorKind, QueryKind};
use sarsen_kernel::report::{QueryReport, ReportStatus, SegmentLoadReport, WorkerReport, WorkerReportState};
use sarsen_proto::{DecodeError, from_kernel, v1};
use serde_json::{Map, Value, json};

use super::results::{self, Style, Times};
use super::{counters, errors, iso, stages};

/// The body of `…/reports`.
///
/// # Errors
/// When the message does not hold what it should.
pub fn report(task_id: &str, report: &v1::Report) -> Result<Value, DecodeError> {
    let query: QueryReport = from_kernel(report.report.as_ref(), "Report", "report")?;
    body(task_id, &query, report)
}

/// The same of a task of which no more is known than how it stands.
///
/// # Errors
/// None.
pub fn of_task(task: &v1::Task) -> Result<Value, DecodeError> {
    let status = match task.state() {
        v1::TaskState::Success => ReportStatus::Success,
        v1::TaskState::Failed => ReportStatus::Failed,
        _ => ReportStatus::Running,
    };
    let error = (status == ReportStatus::Failed).then(|| fault_of_task(task));
    let started = task.started_ms > 0;
    let query = QueryReport {
        start_ms: started.then_some(task.started_ms),
        duration_ms: (started && task.duration_ms >= 0).then_some(task.duration_ms),
        error,
        ..QueryReport::new(QueryId(task.task_id.clone()), status)
    };
    body(&task.task_id, &query, &v1::Report::default())
}

/// Why a task failed that the Overlord has ended itself.
pub fn fault_of_task(task: &v1::Task) -> FaultReport {
    let message = &task.error_message;
    let timeout_ms = task.spec.as_ref().map_or(0, |spec| spec.queue_timeout_ms);
    FaultReport::from(match message.split(':').next() {
        Some("Canceled") if message.ends_with("timed out") => Fault::QueryTimeout {
            timeout_ms: timeout_ms.unsigned_abs(),
            reason: "QUERY_TIMEOUT".to_owned(),
        },
        Some("Canceled") => Fault::Canceled {},
        Some("InsertLockPreempted") => Fault::InsertLockPreempted {},
        _ => Fault::UnknownError {
            message: message.clone(),
        },
    })
}

fn body(task_id: &str, query: &QueryReport, report: &v1::Report) -> Result<Value, DecodeError> {
    let mut payload = Map::new();
    let is_select = matches!(query.kind, Some(QueryKind::Select | QueryKind::DurableSelect(_)));
    if query.status == ReportStatus::Success && is_select {
        payload.insert("results".to_owned(), select_results(query, report)?);
    }
    payload.insert("status".to_owned(), status(query));
    payload.insert(
        "stages".to_owned(),
        query
            .stages
            .iter()
            .map(|stage| stages::stage(stage, query))
            .collect(),
    );
    let by_stage: Map<String, Value> = query
        .counters
        .iter()
        .map(|(stage, workers)| {
            let workers: Map<String, Value> = workers
                .iter()
                .map(|(worker, snapshot)| {
                    let snapshot = match writes_pages(query, *stage) {
                        true => &counters::of_pages(snapshot),
                        false => snapshot,
                    };
                    (worker.to_string(), counters::snapshot(snapshot))
                })
                .collect();
            (stage.to_string(), Value::Object(workers))
        })
        .collect();
    payload.insert("counters".to_owned(), Value::Object(by_stage));
    // Druid has no such: there every EXTERN gives its columns.
    if !query.inferred_signatures.is_empty() {
        let inferred = query.inferred_signatures.iter().map(stages::data_source);
        payload.insert("inferredSignatures".to_owned(), inferred.collect());
    }
    let mut body = Map::new();
    body.insert(
        "multiStageQuery".to_owned(),
        json!({ "type": "multiStageQuery", "taskId": task_id, "payload": payload }),
    );
    if query.status != ReportStatus::Running {
        body.insert(
            "taskContext".to_owned(),
            json!({ "type": "taskContext", "taskId": task_id, "payload": super::payload::task_context() }),
        );
    }
    Ok(Value::Object(body))
}

/// Whether a stage writes pages of results.
fn writes_pages(query: &QueryReport, stage: StageNumber) -> bool {
    let mut stages = query.stages.iter().map(|stage| &stage.definition);
    stages.any(|known| known.number == stage && known.processor.kind == ProcessorKind::QueryResults)
}

fn select_results(query: &QueryReport, report: &v1::Report) -> Result<Value, DecodeError> {
    let batches = results::read(&report.results).map_err(|error| DecodeError::Malformed {
        kind: "Arrow IPC stream",
        reason: error.to_string(),
    })?;
    let style = Style {
        times: Times::Millis,
        stringify_arrays: true,
    };
    let sql_types: Vec<&str> = query
        .result_signature
        .iter()
        .map(|column| column.sql_type.as_str())
        .collect();
    Ok(json!({
        "signature": stages::signature(&query.result_signature),
        "sqlTypeNames": sql_types,
        "results": results::rows(&batches, &style),
        "resultsTruncated": report.results_truncated,
    }))
}

fn status(query: &QueryReport) -> Value {
    let mut rendered = Map::new();
    let mut put = |name: &str, value: Value| rendered.insert(name.to_owned(), value);
    let name = match query.status {
        ReportStatus::Running => "RUNNING",
        ReportStatus::Success => "SUCCESS",
        ReportStatus::Failed => "FAILED",
    };
    put("status", json!(name));
    if let Some(error) = &query.error {
        put("errorReport", errors::fault_report(error));
    }
    if !query.warnings.is_empty() {
        put(
            "warnings",
            query.warnings.iter().map(errors::fault_report).collect(),
        );
    }
    if let Some(start) = query.start_ms {
        put("startTime", json!(iso(start)));
    }
    put("durationMs", json!(query.duration_ms.unwrap_or(-1)));
    let workers: Map<String, Value> = query
        .workers
        .iter()
        .map(|(worker, lives)| (worker.to_string(), lives.iter().map(self::worker).collect()))
        .collect();
    put("workers", Value::Object(workers));
    // Druid counts -1 when it never came to asking for workers.
    let unasked = query.status == ReportStatus::Failed && query.workers.is_empty();
    let pending = i64::from(query.pending_tasks);
    put("pendingTasks", json!(if unasked { -1 } else { pending }));
    put("runningTasks", json!(query.running_tasks));
    if let Some(load) = &query.segment_load {
        put("segmentLoadWaiterStatus", segment_load(load));
    }
    if let Some(shard_spec) = &query.shard_spec {
        let class = match shard_spec.kind.as_str() {
            "range" => "DimensionRangeShardSpec",
            "tombstone" => "TombstoneShardSpec",
            _ => "NumberedShardSpec",
        };
        put(
            "segmentReport",
            json!({ "shardSpec": class, "details": shard_spec.details }),
        );
    }
    Value::Object(rendered)
}

fn segment_load(load: &SegmentLoadReport) -> Value {
    json!({
        "state": "SUCCESS",
        "startTime": iso(load.start_ms),
        "duration": load.duration_ms,
        "totalSegments": load.segments,
        "usedSegments": load.segments,
        "precachedSegments": load.segments,
        "onDemandSegments": 0,
        "pendingSegments": 0,
        "unknownSegments": 0,
    })
}

fn worker(worker: &WorkerReport) -> Value {
    let state = match worker.state {
        WorkerReportState::Pending => Value::Null,
        WorkerReportState::Running => json!("RUNNING"),
        WorkerReportState::Success => json!("SUCCESS"),
        WorkerReportState::Failed => json!("FAILED"),
    };
    json!({
        "workerId": worker.task_id,
        "workerDesc": if worker.location.is_empty() { json!(worker.task_id) } else { json!(worker.location) },
        "state": state,
        "durationMs": worker.duration_ms.unwrap_or(-1),
        "pendingMs": worker.pending_ms,
    })
}
