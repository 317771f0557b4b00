//! Cost of reading JSON, csv, ORC and Avro, and of writing a segment.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow_avro::writer::AvroWriter;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use sarsen_object::{ObjectSettings, Stores};
use sarsen_storage::reader::{ParseErrors, ReadCounters, ReadRequest, read_split};
use sarsen_storage::segment::{DeepStorage, Interval, SegmentLocation, SegmentWriter};
use sarsen_storage::signature::{DruidType, Signature};
use sarsen_storage::source::{InputSplit, SourceContext};
use tokio::runtime::Runtime;

const ROWS: usize = 20_000;

fn json() -> String {
    (0..ROWS).fold(String::new(), |mut text, row| {
        let (channel, price) = (row % 12, row as f64 / 7.0);
        writeln!(text, r##"{{"time":"2015-09-12T00:46:58.{:03}Z","channel":"#{channel}.wikipedia","page":"Page {row}","added":{row},"price":{price}}}"##, row % 1000).unwrap();
        text
    })
}

fn csv() -> String {
    (0..ROWS).fold("time,channel,page,added,price\n".to_owned(), |mut text, row| {
        let (channel, price) = (row % 12, row as f64 / 7.0);
        writeln!(
            text,
            "2015-09-12T00:46:58.{:03}Z,#{channel}.wikipedia,\"Page {row}\",{row},{price}",
            row % 1000
        )
        .unwrap();
        text
    })
}

fn request(data: &str, format: &str) -> ReadRequest {
    let source = serde_json::json!({ "type": "inline", "data": data }).to_string();
    request_of(&source, "", data.len(), format)
}

fn request_of(source: &str, location: &str, bytes: usize, format: &str) -> ReadRequest {
    let signature = [
        ("time", "STRING"),
        ("channel", "STRING"),
        ("page", "STRING"),
        ("added", "LONG"),
        ("price", "DOUBLE"),
    ]
    .map(|(name, native)| (name.to_owned(), DruidType::parse(native).unwrap()));
    ReadRequest {
        split: InputSplit {
            location: location.to_owned(),
            range: None,
            bytes: bytes as u64,
        },
        source: source.parse().unwrap(),
        format: format.parse().unwrap(),
        signature: Signature(signature.to_vec()),
        projection: None,
        batch_rows: 8192,
        context: Arc::new(SourceContext::new(&["/".to_owned()]).unwrap()),
        counters: Arc::new(ReadCounters::default()),
        parse_errors: Arc::new(ParseErrors::new(0)),
        max_bytes: None,
        entry: None,
    }
}

/// The rows with texts as other writers know them.
fn plain(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let plain = |batch: &RecordBatch| {
        let schema = batch.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| {
                let column = match column.data_type() {
                    DataType::Utf8View => arrow::compute::cast(column, &DataType::Utf8).unwrap(),
                    _ => Arc::clone(column),
                };
                (field.name().clone(), column)
            });
        RecordBatch::try_from_iter(columns).unwrap()
    };
    batches.iter().map(plain).collect()
}

fn avro(batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches.first().unwrap().schema();
    let mut writer = AvroWriter::new(Vec::new(), schema.as_ref().clone()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

fn orc(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let schema = batches.first().unwrap().schema();
    let mut writer = orc_rust::ArrowWriterBuilder::new(&mut bytes, schema)
        .try_build()
        .unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn read(runtime: &Runtime, request: &ReadRequest) -> Vec<RecordBatch> {
    runtime
        .block_on(async { read_split(request.clone()).try_collect::<Vec<_>>().await })
        .unwrap()
}

async fn write(storage: &DeepStorage, batches: &[RecordBatch], number: u32) {
    let location = SegmentLocation {
        datasource: "t".to_owned(),
        interval: Interval::ETERNITY,
        version: "v".to_owned(),
        partition: number,
        unique: "u".to_owned(),
    };
    let schema = batches.first().unwrap().schema();
    let mut writer = SegmentWriter::create(storage, &location, schema).await.unwrap();
    for batch in batches {
        writer.write(batch).await.unwrap();
    }
    writer.finish().await.unwrap();
}

fn files(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("files");
    group.sample_size(10);
    for (name, data, format) in [
        ("read_json", json(), r#"{"type":"json"}"#),
        (
            "read_csv",
            csv(),
            r#"{"type":"csv","findColumnsFromHeader":true}"#,
        ),
    ] {
        let request = request(&data, format);
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(&runtime, &request)));
    }
    let batches = read(&runtime, &request(&json(), r#"{"type":"json"}"#));
    let folder = tempfile::tempdir().unwrap();
    let typed = plain(&batches);
    for (name, bytes, format) in [
        ("read_avro", avro(&typed), r#"{"type":"avro_ocf"}"#),
        ("read_orc", orc(&typed), r#"{"type":"orc"}"#),
    ] {
        let path = folder.path().join(name).to_string_lossy().into_owned();
        std::fs::write(&path, &bytes).unwrap();
        let source = serde_json::json!({ "type": "local", "files": [path] }).to_string();
        let request = request_of(&source, &path, bytes.len(), format);
        assert_eq!(
            read(&runtime, &request)
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>(),
            ROWS
        );
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(&runtime, &request)));
    }
    let storage = DeepStorage::open(
        &folder.path().to_string_lossy(),
        &Stores::new(ObjectSettings::default()),
    )
    .unwrap();
    group.throughput(Throughput::Elements(ROWS as u64));
    let mut number = 0;
    group.bench_function("write_segment", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(write(&storage, &batches, number));
        });
    });
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
