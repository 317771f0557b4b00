//! Cost of a shuffle's keys: encoding them as bytes that compare, and telling their hash partitions.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sarsen_engine::key::{KeyEncoder, hash_partition};
use sarsen_kernel::shuffle::{KeyColumn, NullOrder, SortOrder};

const ROWS: i64 = 8192;

fn batch() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("name", DataType::Utf8View, true),
    ]);
    let ids = Int64Array::from_iter((0..ROWS).map(|row| row * 7919 % 100_003));
    let prices = Float64Array::from_iter((0..ROWS).map(|row| (row * 31 % 1009) as f64 / 7.0));
    let names: StringViewArray = (0..ROWS)
        .map(|row| Some(format!("Supplier#{:09}", row * 13 % 10_007)))
        .collect();
    let columns: [arrow::array::ArrayRef; 3] = [Arc::new(ids), Arc::new(prices), Arc::new(names)];
    RecordBatch::try_new(Arc::new(schema), columns.to_vec()).unwrap()
}

fn key(batch: &RecordBatch, columns: &[u32]) -> KeyEncoder {
    let columns: Vec<KeyColumn> = columns
        .iter()
        .map(|index| KeyColumn {
            index: *index,
            name: index.to_string(),
            order: SortOrder::Ascending,
            nulls: NullOrder::First,
        })
        .collect();
    KeyEncoder::new(&columns, &batch.schema()).unwrap()
}

fn shuffle_keys(criterion: &mut Criterion) {
    let batch = batch();
    let mut group = criterion.benchmark_group("shuffle_keys");
    group.throughput(Throughput::Elements(ROWS.unsigned_abs()));
    for (name, columns) in [("encode_integer", vec![0]), ("encode_mixed", vec![0, 1, 2])] {
        let encoder = key(&batch, &columns);
        group.bench_function(name, |bencher| {
            bencher.iter(|| encoder.encode(black_box(&batch)).unwrap())
        });
    }
    let keys = key(&batch, &[0, 2]).encode(&batch).unwrap();
    group.bench_function("hash_partition", |bencher| {
        bencher.iter(|| {
            keys.iter()
                .map(|key| u64::from(hash_partition(black_box(key.data()), 64)))
                .sum::<u64>()
        });
    });
    group.finish();
}

criterion_group!(benches, shuffle_keys);
criterion_main!(benches);
