//! The status of a task.

use sarsen_proto::v1;
use serde_json::{Value, json};

use super::iso;

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

fn location(address: &str) -> Value {
    let host_port = address.split_once("://").map_or(address, |(_, host)| host);
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
