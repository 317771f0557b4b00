//! The status of a task.

use sarsen_proto::v1;
use serde_json::{Value, json};

use super::iso;

/// One task of a query: its controller task, or one of its worker tasks.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    Controller(&'a v1::Task),
    Worker(&'a v1::Task, &'a v1::WorkerTask),
}

impl Part<'_> {
    /// Druid's `TaskStatusPlus`.
    pub fn status(self) -> Value {
        match self {
            Part::Controller(task) => status(task),
            Part::Worker(task, worker) => worker_status(task, worker),
        }
    }
}

/// The tasks of a query, the newest first.
pub fn parts(task: &v1::Task) -> impl Iterator<Item = Part<'_>> {
    let workers = task.workers.iter().rev();
    workers
        .map(move |worker| Part::Worker(task, worker))
        .chain([Part::Controller(task)])
}

/// `query-<id>-worker<N>_<attempt>`
pub fn worker_id(task: &v1::Task, worker: &v1::WorkerTask) -> String {
    format!("{}-worker{}_{}", task.task_id, worker.worker, worker.attempt)
}

/// A worker task runs as long as its query does, unless a later attempt has its place.
fn worker_status(task: &v1::Task, worker: &v1::WorkerTask) -> Value {
    let replaced = worker.replaced_ms > 0;
    let state = match task.state() {
        _ if replaced => v1::TaskState::Failed,
        v1::TaskState::Pending | v1::TaskState::Unspecified => v1::TaskState::Running,
        state => state,
    };
    let (name, runs) = (state_name(state), state == v1::TaskState::Running);
    let ended_ms = match replaced {
        true => worker.replaced_ms,
        false => task.started_ms.max(task.created_ms) + task.duration_ms,
    };
    let error = match state {
        v1::TaskState::Failed if replaced => {
            json!("The worker task was lost, and another one took its place")
        }
        v1::TaskState::Failed if !task.error_message.is_empty() => json!(task.error_message),
        _ => Value::Null,
    };
    json!({
        "id": worker_id(task, worker),
        "groupId": task.task_id,
        "type": "query_worker",
        "createdTime": iso(worker.created_ms),
        "queueInsertionTime": "1970-01-01T00:00:00.000Z",
        "statusCode": name,
        "status": name,
        "runnerStatusCode": if runs { "RUNNING" } else { "NONE" },
        "duration": if runs { -1 } else { (ended_ms - worker.created_ms).max(0) },
        "location": location(&worker.location),
        "dataSource": task.datasource,
        "errorMsg": error,
    })
}

/// Druid's `TaskStatus` out of a `TaskStatusPlus`.
pub fn short(status: &Value) -> Value {
    let fields = ["id", "status", "duration", "errorMsg", "location"];
    let of = |name: &&str| ((*name).to_owned(), status.get(*name).cloned().unwrap_or_default());
    Value::Object(fields.iter().map(of).collect())
}

/// Druid's `TaskStatusPlus`.
pub fn status(task: &v1::Task) -> Value {
    let state = task.state();
    let name = state_name(state);
    let runner = match state {
        v1::TaskState::Running => "RUNNING",
        v1::TaskState::Pending | v1::TaskState::Unspecified => "WAITING",
        v1::TaskState::Success | v1::TaskState::Failed => "NONE",
    };
    json!({
        "id": task.task_id,
        "groupId": task.task_id,
        "type": "query_controller",
        "createdTime": iso(task.created_ms),
        "queueInsertionTime": "1970-01-01T00:00:00.000Z",
        "statusCode": name,
        "status": name,
        "runnerStatusCode": runner,
        "duration": task.duration_ms,
        "location": location(&task.location),
        "dataSource": task.datasource,
        "errorMsg": if task.error_message.is_empty() { Value::Null } else { json!(task.error_message) },
    })
}

/// Druid's three states: what waits counts as running.
pub fn state_name(state: v1::TaskState) -> &'static str {
    match state {
        v1::TaskState::Success => "SUCCESS",
        v1::TaskState::Failed => "FAILED",
        _ => "RUNNING",
    }
}

/// Host and port of an address; null and -1 where it has none.
pub fn host_port(address: &str) -> (Value, Value) {
    let location = location(address);
    let field = |name: &str| location.get(name).cloned().unwrap_or_default();
    (field("host"), field("port"))
}

/// An address without its scheme.
pub fn place(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, place)| place)
}

fn location(address: &str) -> Value {
    let host_port = place(address);
    match host_port
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
    {
        Some((host, port)) => json!({ "host": host, "port": port, "tlsPort": -1 }),
        None if !host_port.is_empty() => json!({ "host": host_port, "port": -1, "tlsPort": -1 }),
        None => json!({ "host": null, "port": -1, "tlsPort": -1 }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn worker_tasks_come_before_their_controller_and_a_replaced_one_has_failed() {
        let worker = |number, attempt, replaced_ms| v1::WorkerTask {
            worker: number,
            attempt,
            location: "http://10.0.0.1:8091".to_owned(),
            created_ms: 1_000,
            replaced_ms,
        };
        let task = v1::Task {
            task_id: "query-a".to_owned(),
            state: v1::TaskState::Success.into(),
            created_ms: 500,
            started_ms: 500,
            duration_ms: 2_500,
            workers: vec![worker(0, 0, 1_700), worker(0, 1, 0)],
            ..v1::Task::default()
        };
        let statuses: Vec<Value> = parts(&task).map(Part::status).collect();
        let of = |name: &str| {
            statuses
                .iter()
                .map(|status| status[name].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("id"), ["query-a-worker0_1", "query-a-worker0_0", "query-a"]);
        assert_eq!(of("statusCode"), ["SUCCESS", "FAILED", "SUCCESS"]);
        assert_eq!(of("duration"), [2_000, 700, 2_500]);
        assert_eq!(of("type"), ["query_worker", "query_worker", "query_controller"]);
        assert_eq!(short(&statuses[1])["status"], "FAILED");
    }

    #[test]
    fn a_task_that_runs_has_the_pages_fields() {
        let task = v1::Task {
            task_id: "query-3dc0c45d-34d7-4b15-86c9-cdb2d3ebfc4e".to_owned(),
            state: v1::TaskState::Running.into(),
            created_ms: 1_663_193_525_000,
            duration_ms: -1,
            location: "localhost:8100".to_owned(),
            datasource: "kttm_simple".to_owned(),
            ..v1::Task::default()
        };
        let rendered = status(&task);
        assert_eq!(rendered["createdTime"], "2022-09-14T22:12:05.000Z");
        assert_eq!(
            rendered["location"],
            json!({ "host": "localhost", "port": 8100, "tlsPort": -1 })
        );
        assert_eq!(rendered["statusCode"], "RUNNING");
        assert_eq!(rendered["duration"], -1);
        assert_eq!(rendered["errorMsg"], Value::Null);
    }
}
