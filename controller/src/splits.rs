//! Lists what a plan reads from outside, and cuts it into units of work.

use std::sync::Arc;

use futures::StreamExt;
use sarsen_engine::extern_scan::ExternSpec;
use sarsen_engine::input::{SegmentFile, SplitPayload};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::query::{InputSplit, QueryDefinition, StageInput};
use sarsen_planner::{KeyBounds, PlannedScan, ScanTarget};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, retry};
use sarsen_proto::v1;
use sarsen_storage::segment::{DataSegment, ShardSpec};
use sarsen_storage::source::{SourceContext, Splitter};

use crate::task::OVERLORD_ATTEMPTS;

/// Bytes of a large file that one unit of work reads.
const SPLIT_BYTES: u64 = 64 << 20;

/// Fills in the splits of every outside input.
///
/// # Errors
/// A fault that names the file or datasource.
pub async fn list_splits(
    definition: &mut QueryDefinition,
    scans: &[PlannedScan],
    sources: &Arc<SourceContext>,
    network: &Network,
    overlord_address: &str,
    task_id: &str,
) -> Result<(), Fault> {
    for scan in scans {
        let listed = match &scan.target {
            ScanTarget::Extern(spec) => external_splits(spec, sources).await?,
            ScanTarget::Table {
                datasource,
                intervals,
                keys,
                ..
            } => {
                let request = segments_request(datasource, intervals, task_id);
                segment_splits(request, keys, network, overlord_address).await?
            }
        };
        let input = usize::try_from(scan.stage.0)
            .ok()
            .and_then(|stage| definition.stages.get_mut(stage))
            .and_then(|stage| stage.inputs.get_mut(scan.input));
        match input {
            Some(StageInput::Splits { splits, .. }) => *splits = listed,
            _ => {
                return Err(unknown(format!(
                    "the plan has no outside input {} in stage {}",
                    scan.input, scan.stage
                )));
            }
        }
    }
    Ok(())
}

async fn external_splits(spec: &ExternSpec, sources: &Arc<SourceContext>) -> Result<Vec<InputSplit>, Fault> {
    let failed = |error| sarsen_worker::storage_fault::fault_of(&error);
    let mut splitter = Splitter::new(spec.format.clone(), SPLIT_BYTES);
    let mut files = spec.source.list(sources);
    while let Some(file) = files.next().await {
        splitter.push(file.map_err(failed)?).map_err(failed)?;
    }
    let groups = splitter.finish().map_err(failed)?;
    groups
        .into_iter()
        .map(|group| {
            let (bytes, files) = (group.bytes, group.files);
            Ok(InputSplit {
                payload: payload(&SplitPayload::External(group.packed().to_vec()))?,
                bytes,
                files,
            })
        })
        .collect()
}

fn segments_request(datasource: &str, intervals: &[(i64, i64)], task_id: &str) -> v1::SegmentsRequest {
    v1::SegmentsRequest {
        datasource: datasource.to_owned(),
        intervals: intervals
            .iter()
            .map(|(start_ms, end_ms)| v1::Interval {
                start_ms: *start_ms,
                end_ms: *end_ms,
            })
            .collect(),
        task_id: task_id.to_owned(),
    }
}

async fn segment_splits(
    request: v1::SegmentsRequest,
    keys: &[KeyBounds],
    network: &Network,
    overlord_address: &str,
) -> Result<Vec<InputSplit>, Fault> {
    let datasource = request.datasource.clone();
    let client = overlord(network, overlord_address).map_err(|error| unknown(error.to_string()))?;
    let listed = retry(OVERLORD_ATTEMPTS, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.list_segments(request).await?.into_inner()) }
    });
    let segments = listed.await.map_err(|status| unknown(status.to_string()))?;
    let mut splits = Vec::new();
    for payload_json in segments.payload_json {
        let segment: DataSegment = serde_json::from_str(&payload_json).map_err(|error| {
            unknown(format!(
                "a segment of {datasource} has an unreadable payload: {error}"
            ))
        })?;
        let Some(path) = segment.path() else {
            return Err(unknown(format!(
                "segment {} is not one that this engine can read",
                segment.identifier()
            )));
        };
        if !may_hold(&segment.shard_spec, keys) {
            continue;
        }
        for (start, end) in ranges(segment.size) {
            let whole = start == 0 && end == segment.size;
            let range = (!whole).then(|| (signed(start), signed(end)));
            let file = SegmentFile {
                path: path.to_owned(),
                bytes: segment.size,
                range,
            };
            splits.push(InputSplit {
                payload: payload(&SplitPayload::Segment(file))?,
                bytes: end - start,
                files: u32::from(start == 0),
            });
        }
    }
    Ok(splits)
}

/// Whether a segment can hold rows within the bounds: its own are of its shard spec's first column. Rows of the end's
/// tuple may be on either side of it.
fn may_hold(shard: &ShardSpec, keys: &[KeyBounds]) -> bool {
    let ShardSpec::Range {
        dimensions,
        start,
        end,
        ..
    } = shard
    else {
        return true;
    };
    let first = |tuple: &Option<Vec<Option<String>>>| tuple.as_ref().and_then(|tuple| tuple.first().cloned());
    let (start, end) = (first(start), first(end));
    keys.iter()
        .filter(|bounds| dimensions.first() == Some(&bounds.column))
        .all(|KeyBounds { lower, upper, .. }| {
            // NULL is before every text.
            let ends_before = match &end {
                Some(None) => true,
                Some(Some(end)) => lower.as_ref().is_some_and(|lower| end < lower),
                None => false,
            };
            let begins_behind = match (&start, upper) {
                (Some(Some(start)), Some(upper)) => upper < start,
                _ => false,
            };
            !ends_before && !begins_behind
        })
}

/// A file of `bytes` in equal ranges of at most about [`SPLIT_BYTES`].
fn ranges(bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = bytes.div_ceil(SPLIT_BYTES).max(1);
    (0..count).map(move |index| (bytes * index / count, bytes * (index + 1) / count))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn payload(payload: &SplitPayload) -> Result<Vec<u8>, Fault> {
    payload.encode().map_err(|error| unknown(error.to_string()))
}

fn unknown(message: String) -> Fault {
    Fault::UnknownError { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_other_keys_are_passed_over() {
        let tuple = |text: Option<&str>| Some(vec![text.map(str::to_owned)]);
        let shard = |start, end| ShardSpec::Range {
            dimensions: vec!["k".to_owned()],
            start,
            end,
            partition_num: 0,
            num_core_partitions: 3,
        };
        let bounds = |column: &str, lower: Option<&str>, upper: Option<&str>| KeyBounds {
            column: column.to_owned(),
            lower: lower.map(str::to_owned),
            upper: upper.map(str::to_owned),
        };
        let middle = shard(tuple(Some("f")), tuple(Some("p")));
        for (key, held) in [("a", false), ("f", true), ("m", true), ("p", true), ("q", false)] {
            let exact = bounds("k", Some(key), Some(key));
            assert_eq!(may_hold(&middle, &[exact]), held, "{key}");
        }
        assert!(may_hold(&middle, &[bounds("other", Some("a"), Some("a"))]));
        assert!(!may_hold(&middle, &[bounds("k", Some("q"), None)]));
        assert!(!may_hold(&middle, &[bounds("k", None, Some("e"))]));
        assert!(!may_hold(
            &shard(None, tuple(None)),
            &[bounds("k", None, Some("z"))]
        ));
        assert!(may_hold(
            &shard(tuple(None), None),
            &[bounds("k", None, Some("a"))]
        ));
        assert!(may_hold(&shard(None, None), &[bounds("k", Some("a"), None)]));
    }

    #[test]
    fn ranges_cover_a_file_without_gaps() {
        for bytes in [0, 1, SPLIT_BYTES, SPLIT_BYTES + 1, 10 * SPLIT_BYTES + 7] {
            let found: Vec<_> = ranges(bytes).collect();
            assert_eq!(found.first().map(|range| range.0), Some(0));
            assert_eq!(found.last().map(|range| range.1), Some(bytes));
            assert!(
                found
                    .windows(2)
                    .all(|pair| matches!(pair, [left, right] if left.1 == right.0))
            );
        }
    }
}
