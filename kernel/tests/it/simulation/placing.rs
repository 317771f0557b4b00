//! Rows into partitions, as a worker does it.

use std::collections::BTreeMap;

use sarsen_kernel::ids::{PartitionNumber, WorkerNumber};
use sarsen_kernel::shuffle::{
    Boundaries, OutputSizes, PartitionCount, PartitionSize, ShuffleKind, ShuffleSpec,
};
use sarsen_kernel::statistics::{KeyStatistics, KeyStatisticsCollector};

use super::definition::{HashedBy, Row, hash_key, spread};

/// Bytes that a row counts for.
const ROW_BYTES: u64 = 8;

/// Rows by partition.
pub type Partitions = Vec<Vec<Row>>;

/// Sort key: of three time chunks where there is a prefix.
pub fn sort_key(shuffle: &ShuffleSpec, row: Row) -> Vec<u8> {
    let chunk = (shuffle.bucket_prefix_bytes > 0).then_some((row % 3) as u8);
    chunk.into_iter().chain(row.to_be_bytes()).collect()
}

fn bucket_key(shuffle: &ShuffleSpec, row: Row) -> Vec<u8> {
    if shuffle.bucket_prefix_bytes > 0 {
        vec![(spread(row) % 4) as u8]
    } else {
        Vec::new()
    }
}

/// What a worker reports of rows that wait for boundaries.
pub fn count(shuffle: &ShuffleSpec, rows: &[Row], seed: u64) -> KeyStatistics {
    if let ShuffleKind::Bucket { .. } = shuffle.kind {
        let mut statistics = KeyStatistics::default();
        for row in rows {
            statistics.add_bucket(&bucket_key(shuffle, *row), 1, ROW_BYTES);
        }
        return statistics;
    }
    let mut collector = KeyStatisticsCollector::new(seed, 1024, shuffle.bucket_prefix_bytes);
    for row in rows {
        collector.add(&sort_key(shuffle, *row), ROW_BYTES);
    }
    // As it comes over the wire.
    KeyStatistics::from_bytes(&collector.finish().to_bytes()).unwrap()
}

/// Places rows; asserts that each has exactly one place.
pub fn place(
    shuffle: Option<&ShuffleSpec>,
    boundaries: Option<&Boundaries>,
    hashed_by: HashedBy,
    worker: WorkerNumber,
    mut rows: Vec<Row>,
) -> Partitions {
    let Some(shuffle) = shuffle else { return vec![rows] };
    match (&shuffle.kind, boundaries) {
        (ShuffleKind::Mix | ShuffleKind::Broadcast, None) => vec![rows],
        (ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions }, None) => {
            let PartitionCount::Fixed(count) = partitions else {
                panic!("the number of partitions is decided")
            };
            if shuffle.kind.is_sorted() {
                rows.sort_unstable();
            }
            let mut placed = vec![Vec::new(); *count as usize];
            for row in rows {
                placed[(spread(hash_key(hashed_by, row)) % u64::from(*count)) as usize].push(row);
            }
            placed
        }
        (ShuffleKind::GlobalSort(_), Some(Boundaries::Ranges(ranges))) => {
            let prefix = shuffle.bucket_prefix_bytes as usize;
            rows.sort_unstable_by_key(|row| sort_key(shuffle, *row));
            let mut placed = vec![Vec::new(); ranges.len()];
            for row in rows {
                let key = sort_key(shuffle, row);
                let above = ranges.partition_point(|range| range.start <= key);
                assert!(above > 0, "no partition begins before {key:?}");
                let range = &ranges[above - 1];
                assert!(range.end.as_ref().is_none_or(|end| key < *end));
                assert_eq!(
                    range.start[..prefix],
                    key[..prefix],
                    "a partition has one time chunk"
                );
                placed[above - 1].push(row);
            }
            placed
        }
        (ShuffleKind::Bucket { .. }, Some(Boundaries::Buckets(buckets))) => {
            let mut chunks: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
            for row in rows.iter().copied() {
                chunks.entry(bucket_key(shuffle, row)).or_default().push(row);
            }
            let mut placed = Vec::with_capacity(buckets.len());
            for bucket in buckets {
                let mut partition = Vec::new();
                for run in bucket.runs.iter().filter(|run| run.worker == worker) {
                    let chunk = chunks.get(&bucket.bucket).map_or(&[][..], Vec::as_slice);
                    let (first, last) = (run.first_row as usize, (run.first_row + run.rows) as usize);
                    assert!(
                        last <= chunk.len(),
                        "boundaries name rows {first}..{last} of {}",
                        chunk.len()
                    );
                    partition.extend(&chunk[first..last]);
                }
                placed.push(partition);
            }
            assert_eq!(
                placed.iter().map(Vec::len).sum::<usize>(),
                rows.len(),
                "boundaries name every row"
            );
            placed
        }
        (kind, boundaries) => panic!("{kind:?} with {boundaries:?}"),
    }
}

pub fn sizes(partitions: &Partitions) -> OutputSizes {
    (0_u32..)
        .zip(partitions)
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(number, rows)| {
            let count = rows.len() as u64;
            (
                PartitionNumber(number),
                PartitionSize {
                    rows: count,
                    bytes: count * ROW_BYTES,
                },
            )
        })
        .collect()
}
