//! Cost of the shuffle's writers: rows of an ingestion sorted into runs, and hashed into partitions.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sarsen_kernel::shuffle::{
    KeyColumn, NullOrder, PartitionCount, RangeTarget, Release, ShuffleKind, ShuffleSpec, SortOrder,
};
use sarsen_worker::shuffle::BlockStore;
use sarsen_worker::shuffle::output::StoreMemory;
use sarsen_worker::shuffle::writers::{Writer, WriterContext};

const ROWS: i64 = 8192;
const BATCHES: i64 = 20;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("supplier", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("comment", DataType::Utf8View, true),
    ]))
}

fn batch(number: i64) -> RecordBatch {
    let rows = || (0..ROWS).map(|row| (number * ROWS + row) * 7919 % 10_007);
    let comments: StringViewArray = rows()
        .map(|row| Some(format!("carefully final deposits {row}")))
        .collect();
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from_iter(rows())),
        Arc::new(Float64Array::from_iter(rows().map(|row| row as f64 / 3.0))),
        Arc::new(comments),
    ];
    RecordBatch::try_new(schema(), columns.to_vec()).unwrap()
}

fn writer(kind: ShuffleKind) -> Writer {
    let key = KeyColumn {
        index: 0,
        name: "supplier".into(),
        order: SortOrder::Ascending,
        nulls: NullOrder::First,
    };
    let blocks = BlockStore::new(
        StoreMemory::new(1 << 30, u64::MAX),
        std::env::temp_dir().join("sarsen-bench-never-spilled"),
        Arc::new(AtomicU64::new(0)),
    );
    Writer::new(&Arc::new(WriterContext {
        schema: schema(),
        shuffle: ShuffleSpec {
            kind,
            key: vec![key],
            bucket_prefix_bytes: 0,
            release: Release::default(),
        },
        blocks,
        run_bytes: 8 << 20,
        seed: 1,
        max_buckets: 5000,
    }))
    .unwrap()
}

fn sort_writer(criterion: &mut Criterion) {
    let batches: Vec<RecordBatch> = (0..BATCHES).map(batch).collect();
    let mut group = criterion.benchmark_group("shuffle_writer");
    group.throughput(Throughput::Elements((ROWS * BATCHES).unsigned_abs()));
    group.sample_size(10);
    let kinds = [
        ("sort", ShuffleKind::GlobalSort(RangeTarget::MaxCount(1))),
        (
            "hash_16",
            ShuffleKind::Hash {
                partitions: PartitionCount::Fixed(16),
            },
        ),
    ];
    for (name, kind) in kinds {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (writer(kind.clone()), batches.clone()),
                |(mut writer, batches)| {
                    for batch in batches {
                        writer.write(batch).unwrap();
                    }
                    writer.finish().unwrap();
                    writer
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, sort_writer);
criterion_main!(benches);
