//! Cuts partitions.

use std::collections::BTreeMap;

use super::{KeyStatistics, SampledKey};
use crate::fault::Fault;
use crate::ids::WorkerNumber;
use crate::shuffle::{BucketPartition, BucketRun, KeyRange, RangeTarget};

/// Where a global sort is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// At least one; ascending, disjoint, covering every counted key.
    pub ranges: Vec<KeyRange>,
    pub heavy_keys: Vec<HeavyKey>,
}

/// A key with more rows than a partition should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeavyKey {
    pub key: Vec<u8>,
    /// About so many rows.
    pub rows: u64,
}

/// Ranges of about equal weight that never cross a time chunk.
///
/// # Errors
/// `TooManyPartitions` above `max_partitions`.
pub fn cut_ranges(
    statistics: &KeyStatistics,
    target: RangeTarget,
    max_partitions: u64,
) -> Result<Cut, Fault> {
    let total_rows = statistics.rows();
    let by_bytes = matches!(target, RangeTarget::TargetSize(_));
    let mut cut = Cut {
        ranges: Vec::new(),
        heavy_keys: Vec::new(),
    };
    let mut heavy = BTreeMap::new();
    if let RangeTarget::TargetRows(target) = target {
        // The sample is too small to cut so many, but the rows were counted.
        let wanted = statistics
            .buckets()
            .map(|(_, counted)| counted.rows.div_ceil(target.max(1)));
        if wanted.fold(0, u64::saturating_add) > max_partitions {
            return Err(Fault::TooManyPartitions { max_partitions });
        }
    }
    for (bucket, counted) in statistics.buckets() {
        let weight = if by_bytes { counted.bytes } else { counted.rows };
        let partitions = match target {
            RangeTarget::TargetRows(target) | RangeTarget::TargetSize(target) => {
                weight.div_ceil(target.max(1))
            }
            // A chunk's share of the partitions is its share of the rows.
            RangeTarget::MaxCount(count) => {
                (u128::from(count) * u128::from(counted.rows) / u128::from(total_rows.max(1))) as u64
            }
        }
        .max(1);
        let mut sample = counted.sample.clone();
        sample.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let step = weight.div_ceil(partitions).max(1);
        // Heavy keys may add partitions, where no count is asked for.
        let most = if matches!(target, RangeTarget::MaxCount(_)) {
            partitions
        } else {
            2 * partitions
        };
        for start in starts(&sample, step, by_bytes, bucket, most, &mut heavy) {
            cut.ranges.push(KeyRange { start, end: None });
        }
    }
    if cut.ranges.is_empty() {
        cut.ranges.push(KeyRange {
            start: Vec::new(),
            end: None,
        });
    }
    if cut.ranges.len() as u64 > max_partitions {
        return Err(Fault::TooManyPartitions { max_partitions });
    }
    let ends: Vec<Option<Vec<u8>>> = cut
        .ranges
        .iter()
        .skip(1)
        .map(|range| Some(range.start.clone()))
        .chain([None])
        .collect();
    for (range, end) in cut.ranges.iter_mut().zip(ends) {
        range.end = end;
    }
    cut.heavy_keys = heavy
        .into_iter()
        .map(|(key, rows)| HeavyKey { key, rows })
        .collect();
    Ok(cut)
}

/// First keys of a chunk's partitions; the first one is the chunk's own prefix, so that no key is before it.
fn starts(
    sample: &[SampledKey],
    step: u64,
    by_bytes: bool,
    bucket: &[u8],
    most: u64,
    heavy: &mut BTreeMap<Vec<u8>, u64>,
) -> Vec<Vec<u8>> {
    let mut starts = vec![bucket.to_vec()];
    if most == 1 {
        return starts;
    }
    let mut weight = 0_u64;
    let mut previous: &[u8] = &[];
    for same_key in sample.chunk_by(|left, right| left.key == right.key) {
        let Some(first) = same_key.first() else { continue };
        let key_rows: u64 = same_key.iter().map(|sampled| sampled.rows).sum();
        let key_weight: u64 = if by_bytes {
            same_key.iter().map(|sampled| sampled.bytes).sum()
        } else {
            key_rows
        };
        // A heavy key begins a partition and ends it.
        let is_heavy = key_weight > step && same_key.len() > 1;
        if is_heavy {
            heavy.insert(first.key.clone(), key_rows);
        }
        let is_full = weight >= step || (is_heavy && weight > 0);
        if is_full && !previous.is_empty() && (starts.len() as u64) < most {
            starts.push(first.key.clone());
            weight = 0;
        }
        weight += key_weight;
        previous = &first.key;
    }
    starts
}

/// Partitions of a bucket shuffle: each time chunk in pieces of about `target_rows`, made of runs of each worker's rows.
///
/// # Errors
/// `TooManyPartitions` above `max_partitions`.
pub fn cut_buckets(
    counts: &BTreeMap<WorkerNumber, BTreeMap<Vec<u8>, u64>>,
    target_rows: u64,
    max_partitions: u64,
) -> Result<Vec<BucketPartition>, Fault> {
    let mut chunks: BTreeMap<&[u8], Vec<(WorkerNumber, u64)>> = BTreeMap::new();
    for (worker, buckets) in counts {
        for (bucket, rows) in buckets {
            chunks.entry(bucket).or_default().push((*worker, *rows));
        }
    }
    let mut partitions = Vec::new();
    for (bucket, workers) in chunks {
        let rows: u64 = workers.iter().map(|(_, rows)| rows).sum();
        let count = rows.div_ceil(target_rows.max(1)).max(1);
        let step = rows.div_ceil(count).max(1);
        let mut open = BucketPartition {
            bucket: bucket.to_vec(),
            runs: Vec::new(),
        };
        let mut room = step;
        for (worker, rows) in workers {
            let mut first_row = 0;
            while first_row < rows {
                if room == 0 {
                    let next = BucketPartition {
                        bucket: bucket.to_vec(),
                        runs: Vec::new(),
                    };
                    partitions.push(std::mem::replace(&mut open, next));
                    room = step;
                }
                let taken = room.min(rows - first_row);
                open.runs.push(BucketRun {
                    worker,
                    first_row,
                    rows: taken,
                });
                first_row += taken;
                room -= taken;
            }
        }
        partitions.push(open);
    }
    if partitions.is_empty() {
        partitions.push(BucketPartition {
            bucket: Vec::new(),
            runs: Vec::new(),
        });
    }
    if partitions.len() as u64 > max_partitions {
        return Err(Fault::TooManyPartitions { max_partitions });
    }
    Ok(partitions)
}
