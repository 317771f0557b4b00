//! Counters of a worker in a stage.

use sarsen_kernel::counters::{ChannelCounters, CounterSnapshot, SortProgress};
use serde_json::{Map, Value, json};

/// Counters of a worker that writes pages of results: to Druid its rows are an output, not segments.
pub fn of_pages(counters: &CounterSnapshot) -> CounterSnapshot {
    let mut counters = counters.clone();
    if let Some(written) = counters.segment_generation.take() {
        let output = ChannelCounters {
            rows: vec![written.rows_processed],
            ..ChannelCounters::default()
        };
        counters.channels.entry("output".to_owned()).or_insert(output);
    }
    counters
}

/// All counters of one worker by name.
pub fn snapshot(counters: &CounterSnapshot) -> Value {
    let mut rendered = Map::new();
    for (name, channel) in &counters.channels {
        rendered.insert(name.clone(), self::channel(channel));
    }
    if let Some(progress) = &counters.sort_progress {
        rendered.insert("sortProgress".to_owned(), sort_progress(progress));
    }
    if let Some(progress) = &counters.segment_generation {
        let progress = json!({
            "type": "segmentGenerationProgress",
            "rowsProcessed": progress.rows_processed,
            "rowsPersisted": progress.rows_persisted,
            "rowsMerged": progress.rows_merged,
            "rowsPushed": progress.rows_pushed,
        });
        rendered.insert("segmentGenerationProgress".to_owned(), progress);
    }
    if !counters.warnings.is_empty() {
        let mut warnings = Map::from_iter([("type".to_owned(), json!("warnings"))]);
        warnings.extend(
            counters
                .warnings
                .iter()
                .map(|(code, count)| (code.clone(), json!(count))),
        );
        rendered.insert("warnings".to_owned(), Value::Object(warnings));
    }
    if counters.spilled_bytes > 0 {
        let spilled = json!({ "type": "spill", "bytes": counters.spilled_bytes });
        rendered.insert("spill".to_owned(), spilled);
    }
    if !counters.cpu.is_empty() {
        let mut labels = Map::from_iter([("type".to_owned(), json!("cpus"))]);
        for (label, cpu) in &counters.cpu {
            labels.insert(
                label.clone(),
                json!({ "type": "cpu", "cpu": cpu.cpu_ns, "wall": cpu.wall_ns }),
            );
        }
        rendered.insert("cpu".to_owned(), Value::Object(labels));
    }
    Value::Object(rendered)
}

/// Lists that hold zeros only are left out, as Druid does.
fn channel(counters: &ChannelCounters) -> Value {
    let mut rendered = Map::from_iter([("type".to_owned(), json!("channel"))]);
    let lists = [
        ("rows", &counters.rows),
        ("bytes", &counters.bytes),
        ("frames", &counters.frames),
        ("files", &counters.files),
        ("totalFiles", &counters.total_files),
    ];
    for (name, list) in lists {
        if list.iter().any(|count| *count > 0) {
            rendered.insert(name.to_owned(), json!(list));
        }
    }
    Value::Object(rendered)
}

fn sort_progress(progress: &SortProgress) -> Value {
    let levels = |counts: &std::collections::BTreeMap<u32, u64>| {
        counts
            .iter()
            .map(|(level, count)| (level.to_string(), json!(count)))
            .collect::<Map<String, Value>>()
    };
    json!({
        "type": "sortProgress",
        "totalMergingLevels": progress.total_merging_levels.map_or(-1, i64::from),
        "levelToTotalBatches": levels(&progress.level_to_total_batches),
        "levelToMergedBatches": levels(&progress.level_to_merged_batches),
        "totalMergersForUltimateLevel": progress.total_mergers_for_ultimate_level.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX)),
        "triviallyComplete": progress.trivially_complete,
        "progressDigest": progress.progress_digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_leaves_out_what_it_does_not_count() {
        let counters = ChannelCounters {
            rows: vec![465_346],
            files: vec![1],
            bytes: vec![0],
            ..ChannelCounters::default()
        };
        assert_eq!(
            channel(&counters),
            json!({ "type": "channel", "rows": [465_346], "files": [1] })
        );
    }
}
