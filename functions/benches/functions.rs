//! The commonest functions side by side with DataFusion's nearest: `cargo bench -p sarsen-functions`. Ours mean what Druid's
//! mean, such as positions in UTF-16 code units; none may take more than twice as long.
//!
//! A line per pair at the end gives the quotient of the shortest of many runs. `SARSEN_BENCH=ratios` gives these alone.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::TimestampMillisecondArray;
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray};
use arrow::datatypes::{Int64Type, Schema};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::common::ToDFSchema;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_expr::PhysicalExpr;

const ROWS: i64 = 8192;

/// Druid's function and DataFusion's.
const PAIRS: [(&str, &str); 36] = [
    ("abs(n)", "abs(n)"),
    ("array_contains(a, 3)", "array_has(a, 3)"),
    ("array_length(a)", "array_length(a)"),
    ("btrim(s)", "btrim(s)"),
    ("ceil(x)", "ceil(x)"),
    ("concat(s, '-', s)", "concat(s, '-', s)"),
    ("contains_string(s, 'er#7')", "contains(s, 'er#7')"),
    ("floor(x)", "floor(x)"),
    ("greatest(n, m)", "greatest(n, m)"),
    ("icontains_string(s, 'ER#7')", "contains(lower(s), 'er#7')"),
    ("least(n, m)", "least(n, m)"),
    ("left(s, 6)", "left(s, 6)"),
    ("length(s)", "character_length(s)"),
    ("ln(x)", "ln(x)"),
    ("lower(s)", "lower(s)"),
    ("lpad(s, 30, '*')", "lpad(s, 30, '*')"),
    ("ltrim(s)", "ltrim(s)"),
    ("power(x, 2)", "power(x, 2)"),
    ("regexp_like(s, 'r#[0-9]*7')", "regexp_like(s, 'r#[0-9]*7')"),
    (
        "regexp_replace(s, '[0-9]+', '#')",
        "regexp_replace(s, '[0-9]+', '#', 'g')",
    ),
    ("replace(s, 'er', 'ER')", "replace(s, 'er', 'ER')"),
    ("reverse(s)", "reverse(s)"),
    ("right(s, 6)", "right(s, 6)"),
    ("round(x, 2)", "round(x, 2)"),
    ("rtrim(s)", "rtrim(s)"),
    ("sqrt(x)", "sqrt(x)"),
    ("string_to_array(s, '#')", "string_to_array(s, '#')"),
    ("strpos(s, '#')", "strpos(s, '#')"),
    ("substring(s, 3, 9)", "substr(s, 3, 9)"),
    ("time_extract(t, 'HOUR')", "date_part('hour', t)"),
    ("time_extract(t, 'YEAR')", "date_part('year', t)"),
    ("time_floor(t, 'P1D')", "date_trunc('day', t)"),
    ("time_floor(t, 'P1M')", "date_trunc('month', t)"),
    ("time_format(t, 'yyyy-MM-dd')", "to_char(t, '%Y-%m-%d')"),
    ("time_parse(d)", "to_timestamp_millis(d)"),
    ("upper(s)", "upper(s)"),
];

fn batch() -> RecordBatch {
    let every = |row: i64, times: i64| row % times != 0;
    let texts: StringViewArray = (0..ROWS)
        .map(|row| every(row, 97).then(|| format!(" Supplier#{:09} ", row * 13 % 10_007)))
        .collect();
    let days: StringViewArray = (0..ROWS)
        .map(|row| Some(format!("2023-{:02}-{:02}T10:20:30", row % 12 + 1, row % 28 + 1)))
        .collect();
    let numbers =
        Int64Array::from_iter((0..ROWS).map(|row| every(row, 89).then_some(row * 7919 % 100_003 - 50_000)));
    let others = Int64Array::from_iter((0..ROWS).map(|row| Some(row * 31 % 1009)));
    let reals = Float64Array::from_iter(
        (0..ROWS).map(|row| every(row, 83).then_some((row * 31 % 1009) as f64 / 7.0)),
    );
    let times =
        TimestampMillisecondArray::from_iter((0..ROWS).map(|row| Some(1_500_000_000_000 + row * 86_399_123)));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..ROWS).map(|row| Some((0..row % 7).map(Some).collect::<Vec<_>>())),
    );
    let columns: [(&str, ArrayRef); 7] = [
        ("s", Arc::new(texts)),
        ("d", Arc::new(days)),
        ("n", Arc::new(numbers)),
        ("m", Arc::new(others)),
        ("x", Arc::new(reals)),
        ("t", Arc::new(times.with_timezone("UTC"))),
        ("a", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn session(druid: bool) -> SessionState {
    let builder = SessionStateBuilder::new().with_default_features();
    match druid {
        true => builder
            .with_scalar_functions(sarsen_functions::scalar_functions())
            .build(),
        false => builder.build(),
    }
}

fn expression(session: &SessionState, sql: &str, schema: &Schema) -> Arc<dyn PhysicalExpr> {
    let schema = schema.clone().to_dfschema().unwrap();
    let expr = session.create_logical_expr(sql, &schema).unwrap();
    session.create_physical_expr(expr, &schema).unwrap()
}

fn run(expression: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> usize {
    let result = expression.evaluate(black_box(batch)).unwrap();
    result.into_array(batch.num_rows()).unwrap().len()
}

fn shortest(mut once: impl FnMut()) -> Duration {
    let runs = (0..200).map(|_| {
        let started = Instant::now();
        once();
        started.elapsed()
    });
    runs.min().unwrap_or_default()
}

fn functions(criterion: &mut Criterion) {
    let (batch, ours, theirs) = (batch(), session(true), session(false));
    let alone = std::env::var("SARSEN_BENCH").is_ok_and(|what| what == "ratios");
    let mut ratios = Vec::new();
    for (druid, datafusion) in PAIRS {
        let druids = expression(&ours, druid, &batch.schema());
        let nearest = expression(&theirs, datafusion, &batch.schema());
        if !alone {
            let mut group = criterion.benchmark_group(druid);
            group.throughput(Throughput::Elements(ROWS.unsigned_abs()));
            group
                .sample_size(20)
                .measurement_time(Duration::from_millis(500))
                .warm_up_time(Duration::from_millis(200));
            group.bench_function("sarsen", |bencher| bencher.iter(|| run(&druids, &batch)));
            group.bench_function("datafusion", |bencher| bencher.iter(|| run(&nearest, &batch)));
            group.finish();
        }
        let took = |expression| shortest(|| assert_eq!(run(expression, &batch), batch.num_rows()));
        ratios.push((druid, datafusion, took(&druids), took(&nearest)));
    }
    for (druid, datafusion, ours, theirs) in ratios {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64().max(1e-9);
        let slower = if ratio > 2.0 {
            "  more than twice as long"
        } else {
            ""
        };
        println!("{ratio:6.2}  {ours:>10.1?}  {theirs:>10.1?}  {druid} / {datafusion}{slower}");
    }
}

criterion_group!(benches, functions);
criterion_main!(benches);
