//! What goes into an output comes out of it, by each kind of writer, in memory and spilled.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayData, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use sarsen_engine::key::{KeyEncoder, hash_partition};
use sarsen_kernel::ids::WorkerNumber;
use sarsen_kernel::shuffle::{
    Boundaries, BucketPartition, BucketRun, KeyColumn, KeyRange, NullOrder, PartitionCount, RangeTarget,
    Release, ShuffleKind, ShuffleSpec, SortOrder,
};

use super::output::StoreMemory;
use super::writers::{Writer, WriterContext, assemble};
use super::{BlockStore, Output, PartitionData, frames};

/// `key` (NULL now and then), `text` (not inlined), `row`.
pub fn batch(rows: std::ops::Range<i64>) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("text", DataType::Utf8View, true),
        Field::new("row", DataType::Int64, true),
    ]));
    let key = rows
        .clone()
        .map(|row| (row % 11 != 0).then_some(row * 7_919 % 1_000 - 500));
    let text: StringViewArray = rows
        .clone()
        .map(|row| Some(format!("ñ text that no view can hold {row}")))
        .collect();
    let columns: [Arc<dyn Array>; 3] = [
        Arc::new(Int64Array::from_iter(key)),
        Arc::new(text),
        Arc::new(Int64Array::from_iter_values(rows)),
    ];
    RecordBatch::try_new(schema, columns.to_vec()).unwrap()
}

fn spec(kind: ShuffleKind, key: &[(u32, SortOrder)]) -> ShuffleSpec {
    let key = key.iter().map(|(index, order)| KeyColumn {
        index: *index,
        name: format!("c{index}"),
        order: *order,
        nulls: NullOrder::First,
    });
    ShuffleSpec {
        kind,
        key: key.collect(),
        bucket_prefix_bytes: 0,
        release: Release::default(),
    }
}

/// A store of so many bytes, and the count of what it spills.
struct Place {
    folder: tempfile::TempDir,
    memory: Arc<StoreMemory>,
    spilled: Arc<AtomicU64>,
}

impl Place {
    fn new(memory_bytes: usize) -> Self {
        Place {
            folder: tempfile::tempdir().unwrap(),
            memory: StoreMemory::new(memory_bytes, u64::MAX),
            spilled: Arc::default(),
        }
    }

    fn context(&self, schema: SchemaRef, shuffle: ShuffleSpec) -> Arc<WriterContext> {
        let path = self.folder.path().join("order.shuffle");
        Arc::new(WriterContext {
            schema,
            shuffle,
            blocks: BlockStore::new(Arc::clone(&self.memory), path, Arc::clone(&self.spilled)),
            run_bytes: 100_000,
            seed: 1,
            max_buckets: 5_000,
        })
    }
}

/// Writes rows through two writers of a kind, as two partitions of a fragment do.
fn written(place: &Place, shuffle: ShuffleSpec, boundaries: Option<&Boundaries>) -> Output {
    let input = batch(0..10_000);
    let context = place.context(input.schema(), shuffle);
    let mut writers = Vec::new();
    for half in [0..5_000, 5_000..10_000] {
        let mut writer = Writer::new(&context).unwrap();
        for start in half.step_by(700) {
            let end = if start < 5_000 { 5_000 } else { 10_000 };
            writer.write(input.slice(start, 700.min(end - start))).unwrap();
        }
        writer.finish().unwrap();
        writers.push(writer);
    }
    assemble(&context, writers, boundaries, WorkerNumber(0)).unwrap()
}

/// Rows of a partition, run by run.
fn runs(output: &Output, partition: &PartitionData) -> Vec<Vec<(Option<i64>, i64)>> {
    let rows = |batch: RecordBatch| {
        let (key, row) = (
            batch.column(0).as_primitive::<Int64Type>().clone(),
            batch.column(2).clone(),
        );
        let row = row.as_primitive::<Int64Type>().clone();
        let text = batch.column(1).as_string_view().clone();
        (0..batch.num_rows()).map(move |at| {
            assert_eq!(
                text.value(at),
                format!("ñ text that no view can hold {}", row.value(at))
            );
            (key.is_valid(at).then(|| key.value(at)), row.value(at))
        })
    };
    let of_run = |run: &super::Run| {
        let batches = run
            .blocks
            .iter()
            .map(|block| block.batch(&output.schema).unwrap());
        batches.flat_map(rows).collect()
    };
    partition.runs.iter().map(of_run).collect()
}

/// Rows of each partition; all together are all rows, once.
fn rows(output: &Output) -> Vec<Vec<(Option<i64>, i64)>> {
    let partitions: Vec<Vec<_>> = output
        .partitions
        .iter()
        .map(|partition| runs(output, partition).concat())
        .collect();
    let mut numbers: Vec<i64> = partitions.iter().flatten().map(|(_, row)| *row).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10_000).collect::<Vec<i64>>());
    let sizes = output.sizes();
    let counted: u64 = sizes.values().map(|size| size.rows).sum();
    assert_eq!(counted, 10_000);
    partitions
}

/// Checks one kind in memory, spilled as a whole, and half and half.
fn check(shuffle: &ShuffleSpec, boundaries: Option<&Boundaries>, check: impl Fn(&Output)) {
    for (memory, spills) in [(usize::MAX, false), (0, true), (300_000, true)] {
        let place = Place::new(memory);
        let output = written(&place, shuffle.clone(), boundaries);
        assert_eq!(
            place.spilled.load(Ordering::Relaxed) > 0,
            spills,
            "{shuffle:?} with {memory} bytes"
        );
        check(&output);
        drop(output);
        assert_eq!(place.memory.used(), 0, "{shuffle:?}");
        assert_eq!(
            std::fs::read_dir(place.folder.path()).unwrap().count(),
            0,
            "{shuffle:?} left a file"
        );
    }
}

#[test]
fn mix_and_broadcast_have_one_partition() {
    for kind in [ShuffleKind::Mix, ShuffleKind::Broadcast] {
        check(&spec(kind, &[]), None, |output| assert_eq!(rows(output).len(), 1));
    }
}

#[test]
fn hash_places_rows_by_the_hash_of_their_keys() {
    let partitions = PartitionCount::Fixed(7);
    let shuffle = spec(ShuffleKind::Hash { partitions }, &[(0, SortOrder::Ascending)]);
    let input = batch(0..10_000);
    let keys = KeyEncoder::new(&shuffle.key, &input.schema())
        .unwrap()
        .encode(&input)
        .unwrap();
    check(&shuffle, None, |output| {
        let placed = rows(output);
        assert_eq!(placed.len(), 7);
        for (partition, rows) in (0_u32..).zip(&placed) {
            assert!(
                rows.iter()
                    .all(|(_, row)| hash_partition(keys.row(*row as usize).data(), 7) == partition)
            );
        }
    });
}

#[test]
fn hash_local_sort_sorts_each_run_of_a_partition() {
    let partitions = PartitionCount::Fixed(3);
    let order = [(0, SortOrder::Descending), (2, SortOrder::Ascending)];
    let shuffle = spec(ShuffleKind::HashLocalSort { partitions }, &order);
    check(&shuffle, None, |output| {
        assert_eq!(rows(output).len(), 3);
        for run in output
            .partitions
            .iter()
            .flat_map(|partition| runs(output, partition))
        {
            let key = |(key, row): &(Option<i64>, i64)| (key.map_or((0, 0), |key| (1, -key)), *row);
            assert!(run.is_sorted_by_key(key));
        }
    });
}

#[test]
fn a_global_sort_is_cut_at_its_boundaries_and_sorted_within() {
    let shuffle = spec(
        ShuffleKind::GlobalSort(RangeTarget::MaxCount(4)),
        &[(0, SortOrder::Ascending)],
    );
    let encoder = KeyEncoder::new(&shuffle.key, &batch(0..1).schema()).unwrap();
    // Keys of rows whose values are known.
    let key_of = |value: i64| {
        let row = (0..10_000)
            .find(|row| row % 11 != 0 && row * 7_919 % 1_000 - 500 == value)
            .unwrap();
        encoder
            .encode(&batch(row..row + 1))
            .unwrap()
            .row(0)
            .data()
            .to_vec()
    };
    let cuts = [-200, 0, 300];
    let mut starts = vec![Vec::new()];
    starts.extend(cuts.map(key_of));
    let ends = starts.iter().skip(1).cloned().map(Some).chain([None]);
    let ranges = starts
        .iter()
        .cloned()
        .zip(ends)
        .map(|(start, end)| KeyRange { start, end });
    let boundaries = Boundaries::Ranges(ranges.collect());
    check(&shuffle, Some(&boundaries), |output| {
        for (partition, placed) in rows(output).iter().enumerate() {
            let at_least = partition.checked_sub(1).map(|cut| cuts[cut]);
            let below = cuts.get(partition).copied();
            assert!(!placed.is_empty());
            assert!(
                placed
                    .iter()
                    .all(|(key, _)| at_least.is_none_or(|least| *key >= Some(least))
                        && below.is_none_or(|below| *key < Some(below)))
            );
        }
        for run in output
            .partitions
            .iter()
            .flat_map(|partition| runs(output, partition))
        {
            assert!(run.is_sorted_by_key(|(key, _)| *key));
        }
    });
}

#[test]
fn buckets_are_cut_by_rows() {
    let shuffle = spec(
        ShuffleKind::Bucket { target_rows: 100 },
        &[(0, SortOrder::Ascending)],
    );
    let input = batch(0..10_000);
    let keys = KeyEncoder::new(&shuffle.key, &input.schema())
        .unwrap()
        .encode(&input)
        .unwrap();
    let mut buckets: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for key in keys.iter() {
        *buckets.entry(key.data().to_vec()).or_default() += 1;
    }
    let cut = |(bucket, count): (&Vec<u8>, &u64)| {
        let piece = |first_row: u64, rows: u64| BucketPartition {
            bucket: bucket.clone(),
            runs: vec![BucketRun {
                worker: WorkerNumber(0),
                first_row,
                rows,
            }],
        };
        let first = (*count).min(5);
        [piece(0, first), piece(first, count - first)]
    };
    let boundaries = Boundaries::Buckets(buckets.iter().flat_map(cut).collect());
    check(&shuffle, Some(&boundaries), |output| {
        for placed in rows(output) {
            let mut keys: Vec<Option<i64>> = placed.iter().map(|(key, _)| *key).collect();
            keys.dedup();
            assert!(keys.len() <= 1, "a partition holds two time chunks");
        }
    });
}

/// Bytes of what an array lies in, by address: slices of one allocation share it.
fn allocations(array: &ArrayData, found: &mut BTreeMap<usize, usize>) {
    let nulls = array.nulls().map(|nulls| nulls.buffer());
    for buffer in array.buffers().iter().chain(nulls) {
        found.insert(buffer.data_ptr().as_ptr().addr(), buffer.capacity());
    }
    for child in array.child_data() {
        allocations(child, found);
    }
}

/// View arrays and slices do not carry their parents' bytes along.
#[test]
fn a_hundred_partitions_hold_little_more_than_their_own_bytes() {
    let input = batch(0..10_000);
    let live: usize = frames::live_bytes(&input);
    let partitions = PartitionCount::Fixed(100);
    for kind in [
        ShuffleKind::Hash { partitions },
        ShuffleKind::HashLocalSort { partitions },
    ] {
        let place = Place::new(usize::MAX);
        let output = written(&place, spec(kind, &[(2, SortOrder::Ascending)]), None);
        assert_eq!(output.partitions.len(), 100);
        let blocks = output
            .partitions
            .iter()
            .flat_map(|of| &of.runs)
            .flat_map(|run| &run.blocks);
        let (mut held, mut framed) = (BTreeMap::new(), 0);
        for block in blocks {
            for column in block.batch(&output.schema).unwrap().columns() {
                allocations(&column.to_data(), &mut held);
            }
            framed += block.frame().unwrap().len();
        }
        let held: usize = held.values().sum();
        assert!(
            framed * 10 <= live * 13,
            "{framed} bytes on the wire for {live} live bytes"
        );
        assert!(
            held * 10 <= live * 20,
            "{held} bytes in memory for {live} live bytes"
        );
    }
}
