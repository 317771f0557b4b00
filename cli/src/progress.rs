//! Progress bars of a task's stages while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::Outcome;
use crate::client::Client;

/// Time between two looks at a task.
const POLL: Duration = Duration::from_millis(100);

/// Waits for the end of a task, with a bar for each stage on a terminal's stderr; answers its status.
///
/// # Errors
/// When the server cannot be asked.
pub fn follow(client: &Client, task_id: &str) -> Outcome<Value> {
    let bars = MultiProgress::new();
    let mut stages: BTreeMap<u64, ProgressBar> = BTreeMap::new();
    loop {
        let status = client.status(task_id)?;
        if let Ok(report) = client.report(task_id) {
            show(&bars, &mut stages, &report);
        }
        if status.get("status").and_then(Value::as_str) != Some("RUNNING") {
            for bar in stages.values() {
                bar.abandon();
            }
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
}

fn show(bars: &MultiProgress, stages: &mut BTreeMap<u64, ProgressBar>, report: &Value) {
    for stage in report
        .get("stages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(number) = stage.get("stageNumber").and_then(Value::as_u64) else {
            continue;
        };
        let bar = stages.entry(number).or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(
                ProgressBar::new(100)
                    .with_style(style)
                    .with_prefix(format!("stage {number}")),
            )
        });
        let phase = stage.get("phase").and_then(Value::as_str).unwrap_or("NEW");
        let kind = stage
            .pointer("/definition/processor/type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let rows = rows_read(report, number);
        bar.set_position(percent(phase));
        bar.set_message(format!("{kind:<20} {phase:<18} {rows} rows"));
    }
}

/// How far a phase is; phases are all that is known of every stage beforehand.
fn percent(phase: &str) -> u64 {
    match phase {
        "READING_INPUT" | "RETRYING" => 30,
        "MERGING_STATISTICS" => 60,
        "POST_READING" => 75,
        "RESULTS_READY" | "FINISHED" => 100,
        _ => 0,
    }
}

/// Rows that the workers of a stage have read.
pub fn rows_read(report: &Value, stage: u64) -> u64 {
    let workers = report
        .pointer(&format!("/counters/{stage}"))
        .and_then(Value::as_object);
    workers
        .into_iter()
        .flat_map(|workers| workers.values())
        .map(|worker| channel_sum(worker, "input", "rows"))
        .sum()
}

/// Sum of one count over all channels of a worker whose name begins with `channel`.
pub fn channel_sum(worker: &Value, channel: &str, count: &str) -> u64 {
    let channels = worker
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with(channel));
    let lists = channels.filter_map(|(_, counters)| counters.get(count)?.as_array());
    lists.flatten().filter_map(Value::as_u64).sum()
}
