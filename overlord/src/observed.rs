//! What an Overlord tells of itself.

use futures::future::BoxFuture;
use metrics::gauge;
use sarsen_observe::Observed;
use sarsen_proto::v1;
use serde_json::{Value, json};

use crate::coordination::Leader;
use crate::ids::TaskId;
use crate::metadata::TaskEnd;
use crate::overlord::Overlord;
use crate::queue;
use crate::state::Phase;

impl Observed for Overlord {
    fn role(&self) -> &'static str {
        "overlord"
    }

    fn measure(&self) {
        let state = self.state();
        let workers = state.members.workers();
        let (free, total) = state.slots.capacity(&workers);
        gauge!("druid_taskSlot_total_count").set(total);
        gauge!("druid_taskSlot_idle_count").set(free);
        gauge!("druid_taskSlot_used_count").set(total.saturating_sub(free));
        let count = |wanted: fn(&Phase, bool) -> bool| {
            let tasks = state.tasks.values();
            let counted = tasks
                .filter(|entry| wanted(&entry.phase, entry.locked_ms.is_some()))
                .count();
            f64::from(u32::try_from(counted).unwrap_or(u32::MAX))
        };
        let runs = |phase: &Phase, _| {
            matches!(
                phase,
                Phase::Running { .. } | Phase::Recovering { .. } | Phase::Ending
            )
        };
        gauge!("druid_task_running_count").set(count(runs));
        gauge!("druid_task_pending_count")
            .set(count(|phase, locked| matches!(phase, Phase::Waiting) && locked));
        gauge!("druid_task_waiting_count")
            .set(count(|phase, locked| matches!(phase, Phase::Waiting) && !locked));
        gauge!("sarsen_overlord_slot_requests").set(u32::try_from(state.line.len()).unwrap_or(u32::MAX));
        let leads = state.members.leader() == Leader::Ours;
        gauge!("sarsen_overlord_leader").set(if leads { 1.0 } else { 0.0 });
        for role in [v1::Role::Controller, v1::Role::Worker, v1::Role::Gateway] {
            let nodes = state
                .members
                .all()
                .iter()
                .filter(|node| node.role() == role)
                .count();
            let name = role.as_str_name().trim_start_matches("ROLE_").to_lowercase();
            gauge!("sarsen_overlord_nodes", "role" => name).set(u32::try_from(nodes).unwrap_or(u32::MAX));
        }
    }

    /// One that follows is ready too: it refuses, and names the leader.
    fn ready(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("it is shutting down".to_owned());
        }
        match self.state().members.leader() {
            Leader::Ours | Leader::Other(_) => Ok(()),
            Leader::Nobody => Err("no Overlord leads".to_owned()),
        }
    }

    fn queries(&self) -> Vec<String> {
        let state = self.state();
        state
            .tasks
            .values()
            .map(|entry| entry.spec.query_id.clone())
            .collect()
    }

    fn dump(&self, query_id: &str) -> BoxFuture<'static, Option<Value>> {
        let dumped = dump(self, query_id);
        Box::pin(async move { dumped })
    }
}

fn dump(overlord: &Overlord, query_id: &str) -> Option<Value> {
    let state = overlord.state();
    let found = state
        .tasks
        .iter()
        .find(|(_, entry)| entry.spec.query_id == query_id);
    let (id, entry): (&TaskId, _) = found?;
    let phase = match &entry.phase {
        Phase::Waiting => json!("waiting"),
        Phase::Recovering { location, .. } => json!({"recovering": location}),
        Phase::Running { node, location } => {
            json!({"running": {"node": node.as_str(), "location": location}})
        }
        Phase::Ending => json!("ending"),
        Phase::Ended { end, .. } => json!({"ended": end.error}),
    };
    let slots = state.slots.held_by(id);
    let slots: serde_json::Map<String, Value> = slots
        .map(|(worker, node)| (worker.to_string(), Value::from(node.as_str())))
        .collect();
    Some(json!({
        "task": id.as_str(),
        "phase": phase,
        "epoch": entry.epoch,
        "redispatches": entry.redispatches,
        "canceled": entry.canceled,
        "createdMs": entry.created_ms,
        "startedMs": entry.started_ms,
        "lockedMs": entry.locked_ms,
        "datasource": entry.spec.datasource,
        "queuePosition": queue::position(&state, id),
        "slots": slots,
    }))
}

/// Counts a task's end.
pub(crate) fn count_end(datasource: &str, end: &TaskEnd) {
    let datasource = datasource.to_owned();
    let status = match end.state {
        v1::TaskState::Success => {
            metrics::counter!("druid_task_success_count", "dataSource" => datasource.clone()).increment(1);
            "SUCCESS"
        }
        _ => {
            metrics::counter!("druid_task_failed_count", "dataSource" => datasource.clone()).increment(1);
            "FAILED"
        }
    };
    metrics::histogram!("druid_task_run_time", "dataSource" => datasource, "taskStatus" => status)
        .record(seconds(end.duration_ms));
}

/// Milliseconds as seconds.
pub(crate) fn seconds(ms: i64) -> f64 {
    f64::from(u32::try_from(ms.max(0)).unwrap_or(u32::MAX)) / 1000.0
}
