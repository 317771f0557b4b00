//! Cutting of partitions, and the wire form of statistics.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sarsen_kernel::fault::Fault;
use sarsen_kernel::ids::WorkerNumber;
use sarsen_kernel::shuffle::{BucketPartition, BucketRun, KeyRange, RangeTarget};
use sarsen_kernel::statistics::{Cut, KeyStatistics, KeyStatisticsCollector, cut_buckets, cut_ranges};

use crate::tester::keys;

/// Statistics of given keys of one byte each, with so many rows of ten bytes.
fn counted(rows: &[(&[u8], u64)], prefix: u32) -> KeyStatistics {
    let mut collector = KeyStatisticsCollector::new(7, 1 << 16, prefix);
    for (key, count) in rows {
        for _ in 0..*count {
            collector.add(key, 10);
        }
    }
    collector.finish()
}

fn cut(rows: &[(&[u8], u64)], prefix: u32, target: RangeTarget) -> Cut {
    cut_ranges(&counted(rows, prefix), target, 100).unwrap()
}

fn starts(cut: &Cut) -> Vec<&[u8]> {
    cut.ranges.iter().map(|range| range.start.as_slice()).collect()
}

#[test]
fn ranges_are_cut_by_the_target() {
    let even: &[(&[u8], u64)] = &[(b"a", 10), (b"b", 10), (b"c", 10), (b"d", 10)];
    let cases: [(RangeTarget, &[&[u8]]); 8] = [
        (RangeTarget::MaxCount(1), &[b""]),
        (RangeTarget::MaxCount(2), &[b"", b"c"]),
        (RangeTarget::MaxCount(4), &[b"", b"b", b"c", b"d"]),
        (RangeTarget::TargetRows(100), &[b""]),
        (RangeTarget::TargetRows(20), &[b"", b"c"]),
        (RangeTarget::TargetRows(10), &[b"", b"b", b"c", b"d"]),
        (RangeTarget::TargetSize(200), &[b"", b"c"]),
        (RangeTarget::TargetSize(400), &[b""]),
    ];
    for (target, expected) in cases {
        assert_eq!(starts(&cut(even, 0, target)), expected, "{target:?}");
    }
}

#[test]
fn no_rows_make_one_partition() {
    let cut = cut(&[], 0, RangeTarget::TargetRows(5));
    assert_eq!(
        cut.ranges,
        [KeyRange {
            start: Vec::new(),
            end: None
        }]
    );
    let nothing = cut_buckets(&BTreeMap::new(), 5, 100).unwrap();
    assert_eq!(
        nothing,
        [BucketPartition {
            bucket: Vec::new(),
            runs: Vec::new()
        }]
    );
}

#[test]
fn a_partition_never_crosses_a_time_chunk() {
    let cut = cut(
        &[(b"1a", 2), (b"1b", 2), (b"2a", 2), (b"3a", 2)],
        1,
        RangeTarget::TargetRows(100),
    );
    assert_eq!(starts(&cut), [b"1", b"2", b"3"]);
}

#[test]
fn the_chunks_share_a_count_by_their_rows() {
    let cut = cut(
        &[(b"1a", 30), (b"1b", 30), (b"1c", 30), (b"2a", 10)],
        1,
        RangeTarget::MaxCount(4),
    );
    assert_eq!(starts(&cut), [b"1".as_slice(), b"1b", b"1c", b"2"]);
}

#[test]
fn a_heavy_key_has_a_partition_of_its_own_and_is_named() {
    let cut = cut(
        &[(b"a", 2), (b"b", 50), (b"c", 2), (b"d", 2)],
        0,
        RangeTarget::TargetRows(10),
    );
    assert_eq!(starts(&cut), [b"".as_slice(), b"b", b"c"]);
    let heavy: Vec<(&[u8], u64)> = cut
        .heavy_keys
        .iter()
        .map(|heavy| (heavy.key.as_slice(), heavy.rows))
        .collect();
    assert_eq!(heavy, [(b"b".as_slice(), 50)]);
}

#[test]
fn a_count_is_kept_although_a_key_is_heavy() {
    let rows: &[(&[u8], u64)] = &[(b"a", 10), (b"b", 60), (b"c", 10), (b"d", 60), (b"e", 10)];
    for count in 1..6 {
        let cut = cut(rows, 0, RangeTarget::MaxCount(count));
        assert!(cut.ranges.len() <= count as usize, "{count}: {:?}", starts(&cut));
    }
}

#[test]
fn too_many_partitions_is_a_fault() {
    let statistics = keys(0..100);
    assert_eq!(
        cut_ranges(&statistics, RangeTarget::TargetRows(1), 100)
            .unwrap()
            .ranges
            .len(),
        100
    );
    let fault = cut_ranges(&statistics, RangeTarget::TargetRows(1), 99).unwrap_err();
    assert_eq!(fault, Fault::TooManyPartitions { max_partitions: 99 });
    let counts = BTreeMap::from([(WorkerNumber(0), BTreeMap::from([(vec![1], 10)]))]);
    assert_eq!(cut_buckets(&counts, 1, 10).unwrap().len(), 10);
    assert_eq!(
        cut_buckets(&counts, 1, 9).unwrap_err(),
        Fault::TooManyPartitions { max_partitions: 9 }
    );
}

#[test]
fn buckets_are_cut_into_runs_of_each_workers_rows() {
    let counts = BTreeMap::from([
        (WorkerNumber(0), BTreeMap::from([(vec![1], 5), (vec![2], 1)])),
        (WorkerNumber(3), BTreeMap::from([(vec![1], 4)])),
    ]);
    let run = |worker, first_row, rows| BucketRun {
        worker: WorkerNumber(worker),
        first_row,
        rows,
    };
    let partition = |bucket, runs: &[BucketRun]| BucketPartition {
        bucket: vec![bucket],
        runs: runs.to_vec(),
    };
    assert_eq!(
        cut_buckets(&counts, 3, 100).unwrap(),
        [
            partition(1, &[run(0, 0, 3)]),
            partition(1, &[run(0, 3, 2), run(3, 0, 1)]),
            partition(1, &[run(3, 1, 3)]),
            partition(2, &[run(0, 0, 1)]),
        ]
    );
    assert_eq!(
        cut_buckets(&counts, 100, 100).unwrap(),
        [
            partition(1, &[run(0, 0, 5), run(3, 0, 4)]),
            partition(2, &[run(0, 0, 1)])
        ]
    );
}

#[test]
fn merged_statistics_count_everything_once() {
    let mut merged = keys(0..1000);
    merged.merge(&keys(500..20_000));
    assert_eq!(merged.rows(), 20_500);
    assert_eq!(merged.bucket_count(), 1);
    let cut = cut_ranges(&merged, RangeTarget::MaxCount(10), 100).unwrap();
    assert_eq!(cut.ranges.len(), 10);
}

#[test]
fn more_time_chunks_than_fit_into_the_byte_budget_are_counted_all_the_same() {
    let mut collector = KeyStatisticsCollector::new(3, 1024, 8);
    for row in 0..20_000_u64 {
        collector.add(&(row % 5_000).to_be_bytes(), 10);
    }
    assert_eq!(collector.bucket_count(), 5_000);
    let statistics = collector.finish();
    assert_eq!((statistics.rows(), statistics.bucket_count()), (20_000, 5_000));
}

#[test]
fn samples_stay_within_the_byte_budget() {
    let mut collector = KeyStatisticsCollector::new(3, 10_000, 0);
    for row in 0..200_000_u64 {
        collector.add(&row.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes(), 10);
    }
    let statistics = collector.finish();
    assert_eq!(statistics.rows(), 200_000);
    assert!(statistics.to_bytes().len() < 10_000);
    let cut = cut_ranges(&statistics, RangeTarget::MaxCount(4), 100).unwrap();
    assert_eq!(cut.ranges.len(), 4);
}

#[test]
fn foreign_bytes_are_refused() {
    let bytes = keys(0..3).to_bytes();
    assert_eq!(
        KeyStatistics::from_bytes(&[]).unwrap_err().to_string(),
        "malformed key statistics: ends too early"
    );
    assert_eq!(
        KeyStatistics::from_bytes(&[9]).unwrap_err().to_string(),
        "malformed key statistics: unknown version"
    );
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert_eq!(
        KeyStatistics::from_bytes(&longer).unwrap_err().to_string(),
        "malformed key statistics: bytes left over"
    );
    for length in 0..bytes.len() {
        assert!(KeyStatistics::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encoding_round_trips(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..200), prefix in 0..3_u32) {
        let mut collector = KeyStatisticsCollector::new(5, 2048, prefix);
        for key in &keys {
            collector.add(key, key.len() as u64);
        }
        let statistics = collector.finish();
        prop_assert_eq!(KeyStatistics::from_bytes(&statistics.to_bytes()).unwrap(), statistics);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = KeyStatistics::from_bytes(&bytes);
    }

    #[test]
    fn ranges_ascend_and_cover_every_key(
        keys in prop::collection::vec(prop::collection::vec(0..4_u8, 1..4), 0..300),
        prefix in 0..2_u32,
        target in prop_oneof![
            (1..20_u32).prop_map(RangeTarget::MaxCount),
            (1..100_u64).prop_map(RangeTarget::TargetRows),
            (1..1000_u64).prop_map(RangeTarget::TargetSize),
        ],
    ) {
        let mut collector = KeyStatisticsCollector::new(5, 2048, prefix);
        for key in &keys {
            collector.add(key, 10);
        }
        let cut = cut_ranges(&collector.finish(), target, 10_000).unwrap();
        prop_assert!(!cut.ranges.is_empty());
        for pair in cut.ranges.windows(2) {
            prop_assert!(pair[0].start < pair[1].start);
            prop_assert_eq!(pair[0].end.as_ref(), Some(&pair[1].start));
        }
        let prefix = prefix as usize;
        for key in &keys {
            let holder = cut.ranges.iter().find(|range| {
                &range.start <= key && range.end.as_ref().is_none_or(|end| key < end)
            });
            let holder = holder.expect("a range holds every key");
            prop_assert_eq!(&holder.start[..prefix], &key[..prefix]);
        }
        if let (RangeTarget::MaxCount(count), 0) = (target, prefix) {
            prop_assert!(cut.ranges.len() <= count as usize);
        }
    }

    #[test]
    fn buckets_hold_every_row_once(
        rows in prop::collection::btree_map(0..6_u32, prop::collection::btree_map(0..5_u8, 0..40_u64, 0..5), 0..6),
        target in 1..20_u64,
    ) {
        let counts: BTreeMap<WorkerNumber, BTreeMap<Vec<u8>, u64>> = rows
            .iter()
            .map(|(worker, chunks)| (WorkerNumber(*worker), chunks.iter().map(|(chunk, rows)| (vec![*chunk], *rows)).collect()))
            .collect();
        let partitions = cut_buckets(&counts, target, 10_000).unwrap();
        let mut next: BTreeMap<(WorkerNumber, Vec<u8>), u64> = BTreeMap::new();
        for partition in &partitions {
            let held: u64 = partition.runs.iter().map(|run| run.rows).sum();
            prop_assert!(held <= target);
            for run in &partition.runs {
                let next = next.entry((run.worker, partition.bucket.clone())).or_default();
                prop_assert_eq!(run.first_row, *next);
                *next += run.rows;
            }
        }
        for (worker, chunks) in &counts {
            for (chunk, rows) in chunks {
                prop_assert_eq!(next.get(&(*worker, chunk.clone())).copied().unwrap_or(0), *rows);
            }
        }
    }
}
