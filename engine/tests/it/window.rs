//! Windows in bounded memory give what DataFusion's operators give, whatever the frame, the batches and the memory.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::expressions::{col, lit};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, create_window_expr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sarsen_engine::WindowExec;

const FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "sum",
    "count",
    "min",
    "max",
    "avg",
];

/// Columns: `p` of PARTITION BY, `o` of ORDER BY, and values.
fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("p", DataType::Int64, true),
        Field::new("o", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8View, true),
    ]))
}

/// Which of the windows of a case.
struct Case {
    batches: Vec<RecordBatch>,
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    order_by: Vec<PhysicalSortExpr>,
    exprs: Vec<Arc<dyn WindowExpr>>,
}

fn rows(random: &mut StdRng, count: usize, partitions: i64, options: SortOptions) -> RecordBatch {
    let nullable =
        |random: &mut StdRng, most: i64| (!random.random_bool(0.1)).then(|| random.random_range(0..most));
    let spread = [3, 20, 1000][random.random_range(0..3)];
    let p: Vec<Option<i64>> = (0..count).map(|_| nullable(random, partitions)).collect();
    let o: Vec<Option<i64>> = (0..count).map(|_| nullable(random, spread)).collect();
    let v: Vec<Option<i64>> = (0..count).map(|_| nullable(random, 100)).collect();
    let f: Vec<Option<f64>> = (0..count)
        .map(|_| nullable(random, 100).map(|value| value as f64 / 4.0))
        .collect();
    let s: Vec<Option<String>> = (0..count)
        .map(|_| nullable(random, 50).map(|value| format!("a text that is long enough {value}")))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(p)),
        Arc::new(Int64Array::from(o)),
        Arc::new(Int64Array::from(v)),
        Arc::new(Float64Array::from(f)),
        Arc::new(StringViewArray::from_iter(s)),
    ];
    let batch = RecordBatch::try_new(schema(), columns).unwrap();
    let key = |index: usize, options| SortColumn {
        values: Arc::clone(batch.column(index)),
        options: Some(options),
    };
    let order = lexsort_to_indices(&[key(0, SortOptions::default()), key(1, options)], None).unwrap();
    take_record_batch(&batch, &order).unwrap()
}

fn cut(random: &mut StdRng, batch: &RecordBatch) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let count = random.random_range(1..=64).min(batch.num_rows() - start);
        batches.push(batch.slice(start, count));
        start += count;
    }
    batches
}

fn frame(random: &mut StdRng, ordered: bool) -> WindowFrame {
    let units = match random.random_range(0..if ordered { 3 } else { 1 }) {
        0 => WindowFrameUnits::Rows,
        1 => WindowFrameUnits::Range,
        _ => WindowFrameUnits::Groups,
    };
    // 0 is UNBOUNDED PRECEDING, 100 UNBOUNDED FOLLOWING, 50 the current row.
    let mut places = [0, 0].map(|_| match random.random_range(0..4) {
        0 => 0,
        1 => 100,
        2 => 50,
        _ => random.random_range(30..70),
    });
    places.sort_unstable();
    let [start, end] = places;
    let (start, end) = (
        if start == 100 { 50 } else { start },
        if end == 0 { 50 } else { end },
    );
    let value = |rows: i64| match units {
        WindowFrameUnits::Range => ScalarValue::Int64(Some(rows)),
        _ => ScalarValue::UInt64(Some(rows as u64)),
    };
    let bound = |place: i64| match place {
        0 => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        100 => WindowFrameBound::Following(ScalarValue::UInt64(None)),
        50 => WindowFrameBound::CurrentRow,
        before if before < 50 => WindowFrameBound::Preceding(value(50 - before)),
        behind => WindowFrameBound::Following(value(behind - 50)),
    };
    WindowFrame::new_bounds(units, bound(start), bound(end))
}

fn call(
    name: &str,
    args: &[Arc<dyn PhysicalExpr>],
    partition_by: &[Arc<dyn PhysicalExpr>],
    order_by: &[PhysicalSortExpr],
    frame: WindowFrame,
    label: usize,
) -> Result<Arc<dyn WindowExpr>> {
    let registry = sarsen_functions::registry();
    let (name, distinct) = match name.strip_suffix(" distinct") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let function = match registry.udwf(name) {
        Ok(function) => WindowFunctionDefinition::WindowUDF(function),
        Err(_) => WindowFunctionDefinition::AggregateUDF(registry.udaf(name)?),
    };
    let label = format!("{name} {label}");
    create_window_expr(
        &function,
        label,
        args,
        partition_by,
        order_by,
        Arc::new(frame),
        schema(),
        false,
        distinct,
        None,
    )
}

fn arguments(random: &mut StdRng, name: &str) -> Vec<Arc<dyn PhysicalExpr>> {
    let schema = schema();
    let column = |name: &str| col(name, &schema).unwrap();
    let any = column(["v", "f", "s"][random.random_range(0..3)]);
    match name {
        "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" => Vec::new(),
        "ntile" => vec![lit(random.random_range(1_i64..9))],
        "lag" | "lead" => match random.random_range(0..3) {
            0 => vec![any],
            1 => vec![any, lit(random.random_range(-3_i64..70))],
            _ => vec![column("v"), lit(random.random_range(-3_i64..70)), lit(-1_i64)],
        },
        "nth_value" => vec![any, lit(random.random_range(1_i64..9))],
        "first_value" | "last_value" | "count" | "min" | "max" => vec![any],
        "sum" => vec![column(["v", "f"][random.random_range(0..2)])],
        _ => vec![column("f")],
    }
}

fn case(random: &mut StdRng) -> Case {
    let options = SortOptions {
        descending: random.random_bool(0.5),
        nulls_first: random.random_bool(0.5),
    };
    let count = [50, 400, 1500][random.random_range(0..3)];
    let partitions = [1, 4, 40, 400][random.random_range(0..4)];
    let sorted = rows(random, count, partitions, options);
    let schema = schema();
    let by = |name: &str, options| PhysicalSortExpr::new(col(name, &schema).unwrap(), options);
    let partition_by = vec![col("p", &schema).unwrap()];
    let ordered = random.random_bool(0.8);
    let order_by = if ordered {
        vec![by("o", options)]
    } else {
        Vec::new()
    };
    let exprs = (0..random.random_range(1..4)).map(|label| {
        let name = FUNCTIONS[random.random_range(0..FUNCTIONS.len())];
        let args = arguments(random, name);
        let frame = frame(random, ordered);
        call(name, &args, &partition_by, &order_by, frame, label).unwrap()
    });
    let exprs = exprs.collect();
    Case {
        batches: cut(random, &sorted),
        partition_by,
        order_by,
        exprs,
    }
}

impl Case {
    fn input(&self) -> Arc<dyn ExecutionPlan> {
        let partition = self.partition_by.iter().cloned();
        let ordering = partition
            .map(|expr| PhysicalSortExpr::new(expr, SortOptions::default()))
            .chain(self.order_by.iter().cloned());
        let source =
            MemorySourceConfig::try_new(std::slice::from_ref(&self.batches), schema(), None).unwrap();
        let source = match LexOrdering::new(ordering) {
            Some(ordering) => source.try_with_sort_information(vec![ordering]).unwrap(),
            None => source,
        };
        datafusion::datasource::source::DataSourceExec::from_data_source(source)
    }

    fn datafusion(&self) -> Arc<dyn ExecutionPlan> {
        Arc::new(WindowAggExec::try_new(self.exprs.clone(), self.input(), true).unwrap())
    }

    fn ours(&self) -> Arc<dyn ExecutionPlan> {
        Arc::new(WindowExec::replacing(&self.datafusion()).unwrap().unwrap())
    }

    fn bounded(&self) -> Arc<dyn ExecutionPlan> {
        let mode = InputOrderMode::Sorted;
        Arc::new(BoundedWindowAggExec::try_new(self.exprs.clone(), self.input(), mode, true).unwrap())
    }
}

fn context(memory: Arc<dyn MemoryPool>) -> Arc<TaskContext> {
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(memory)
        .build_arc()
        .unwrap();
    Arc::new(
        TaskContext::default()
            .with_session_config(SessionConfig::new())
            .with_runtime(environment),
    )
}

async fn run(plan: &Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<RecordBatch> {
    let batches: Vec<RecordBatch> = plan.execute(0, context)?.try_collect().await?;
    Ok(concat_batches(&plan.schema(), &batches)?)
}

fn spilled(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.metrics()
        .and_then(|metrics| metrics.spilled_bytes())
        .unwrap_or(0)
}

/// A pool that remembers the most that was taken of it.
#[derive(Debug)]
struct Measured {
    pool: FairSpillPool,
    most: std::sync::atomic::AtomicUsize,
}

impl Measured {
    fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Measured {
            pool: FairSpillPool::new(bytes),
            most: Default::default(),
        })
    }

    fn note(&self) {
        let reserved = self.pool.reserved();
        self.most
            .fetch_max(reserved, std::sync::atomic::Ordering::Relaxed);
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("measured")
    }
}

impl MemoryPool for Measured {
    fn name(&self) -> &str {
        "measured"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.note();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.pool.try_grow(reservation, additional)?;
        self.note();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

/// `SARSEN_SEED=n` repeats a failure.
#[tokio::test]
async fn windows_over_random_frames_equal_datafusions() {
    let seeds = match std::env::var("SARSEN_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..1000,
    };
    let mut spills = 0;
    for seed in seeds {
        let random = &mut StdRng::seed_from_u64(seed);
        let case = case(random);
        let expected = run(&case.datafusion(), context(Measured::new(1 << 30)))
            .await
            .unwrap();
        // From room for everything to hardly any.
        let memory = [1 << 30, 96 << 10, 72 << 10][random.random_range(0..3)];
        let ours = case.ours();
        let found = run(&ours, context(Measured::new(memory))).await;
        let found = found.unwrap_or_else(|error| panic!("SARSEN_SEED={seed} with {memory} bytes: {error}"));
        spills += usize::from(spilled(&ours) > 0);
        assert_same(&expected, &found, &case, seed);
        // DataFusion's bounded operator takes the rows with NULL that it has for all of them.
        let by_value = |expr: &Arc<dyn WindowExpr>| expr.get_window_frame().units == WindowFrameUnits::Range;
        if case
            .exprs
            .iter()
            .all(|expr| expr.uses_bounded_memory() && !by_value(expr))
        {
            let bounded = run(&case.bounded(), context(Measured::new(1 << 30)))
                .await
                .unwrap();
            assert_same(&bounded, &found, &case, seed);
        }
    }
    assert!(
        spills > 20 || std::env::var("SARSEN_SEED").is_ok(),
        "{spills} cases spilled"
    );
}

fn assert_same(expected: &RecordBatch, found: &RecordBatch, case: &Case, seed: u64) {
    if expected.columns() == found.columns() {
        return;
    }
    let exprs: Vec<String> = case
        .exprs
        .iter()
        .map(|expr| format!("{} {:?}", expr.name(), expr.get_window_frame()))
        .collect();
    let row = (0..expected.num_rows().min(found.num_rows()))
        .find(|row| expected.slice(*row, 1).columns() != found.slice(*row, 1).columns());
    let shown = |batch: &RecordBatch| match row {
        Some(row) => pretty_format_batches(&[batch.slice(row, 1)]).unwrap().to_string(),
        None => format!("{} rows", batch.num_rows()),
    };
    panic!(
        "SARSEN_SEED={seed}: {}\nrow {row:?}, expected\n{}\nfound\n{}",
        exprs.join("\n"),
        shown(expected),
        shown(found)
    );
}

/// The chunk in which a window begins has been looked at for the one before it, and the row that is wanted comes later.
#[tokio::test]
async fn a_row_far_behind_the_beginning_of_a_later_window_is_kept() {
    let mut case = one_window(35_000);
    let mut numbered = 0_i64..;
    for batch in &mut case.batches {
        let rows: Vec<i64> = numbered.by_ref().take(batch.num_rows()).collect();
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| i64::from(*row >= 15_000)),
        ));
        columns[2] = Arc::new(Int64Array::from(rows));
        *batch = RecordBatch::try_new(schema(), columns).unwrap();
    }
    let frame = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(5_000))),
    );
    let args = [col("v", &schema()).unwrap(), lit(9_001_i64)];
    case.exprs
        .push(call("nth_value", &args, &case.partition_by, &case.order_by, frame, 0).unwrap());
    let found = run(&case.ours(), context(Measured::new(64 << 20))).await.unwrap();
    let values: &Int64Array = found.column(5).as_any().downcast_ref().unwrap();
    let expected = (0..35_000).map(|row| match row {
        14_000..15_000 => Some(9_000),
        29_000.. => Some(24_000),
        _ => None,
    });
    assert_eq!(*values, Int64Array::from_iter(expected));
}

/// One window of so many rows in the order of `o`, which counts from 0, in pairs of equal ones.
fn one_window(rows: usize) -> Case {
    let schema = schema();
    let batches = (0..rows).step_by(8192).map(|start| {
        let numbers = start..(start + 8192).min(rows);
        let count = numbers.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1; count])),
            Arc::new(Int64Array::from_iter_values(
                numbers.clone().map(|row| row as i64 / 2),
            )),
            Arc::new(Int64Array::from_iter_values(numbers.map(|row| row as i64 % 10))),
            Arc::new(Float64Array::from(vec![0.5; count])),
            Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n("", count))),
        ];
        RecordBatch::try_new(schema.clone(), columns).unwrap()
    });
    Case {
        batches: batches.collect(),
        partition_by: vec![col("p", &schema).unwrap()],
        order_by: vec![PhysicalSortExpr::new(
            col("o", &schema).unwrap(),
            SortOptions::default(),
        )],
        exprs: Vec::new(),
    }
}

impl Case {
    fn with(mut self, name: &str, args: &[&str], frame: WindowFrame) -> Self {
        let schema = schema();
        let args: Vec<_> = args.iter().map(|name| col(name, &schema).unwrap()).collect();
        let label = self.exprs.len();
        self.exprs
            .push(call(name, &args, &self.partition_by, &self.order_by, frame, label).unwrap());
        self
    }
}

fn whole() -> WindowFrame {
    WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::Following(ScalarValue::UInt64(None)),
    )
}

/// Of so many rows or groups before and after the current one.
fn around(units: WindowFrameUnits, before: i64, behind: i64) -> WindowFrame {
    let value = |rows: i64| match units {
        WindowFrameUnits::Range => ScalarValue::Int64(Some(rows)),
        _ => ScalarValue::UInt64(Some(rows as u64)),
    };
    WindowFrame::new_bounds(
        units,
        WindowFrameBound::Preceding(value(before)),
        WindowFrameBound::Following(value(behind)),
    )
}

/// Runs a window that does not fit; gives the rows, the most memory taken and the bytes spilled.
async fn run_large(case: &Case, memory: usize) -> (usize, usize, usize) {
    let pool = Measured::new(memory);
    let ours = case.ours();
    let mut stream = ours.execute(0, context(pool.clone())).unwrap();
    let rows = case.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let (mut seen, sum) = (0, (0..rows as i64).map(|row| row % 10).sum::<i64>());
    while let Some(batch) = stream.try_next().await.unwrap() {
        let column = |index: usize| batch.column(index);
        let shares: &Float64Array = column(5).as_any().downcast_ref().unwrap();
        let sums: &Int64Array = column(6).as_any().downcast_ref().unwrap();
        let lasts: &Int64Array = column(7).as_any().downcast_ref().unwrap();
        for row in 0..batch.num_rows() {
            let peers_end = ((seen + row) / 2 + 1) * 2;
            assert_eq!(shares.value(row), peers_end.min(rows) as f64 / rows as f64);
            assert_eq!(sums.value(row), sum);
            assert_eq!(lasts.value(row), (rows as i64 - 1) / 2);
        }
        seen += batch.num_rows();
    }
    assert_eq!(seen, rows);
    (
        seen,
        pool.most.load(std::sync::atomic::Ordering::Relaxed),
        spilled(&ours),
    )
}

fn looks_ahead(rows: usize) -> Case {
    one_window(rows)
        .with("cume_dist", &[], whole())
        .with("sum", &["v"], whole())
        .with("last_value", &["o"], whole())
}

#[tokio::test]
async fn a_window_of_a_million_rows_completes_in_four_megabytes() {
    let started = std::time::Instant::now();
    let (_, most, spilled) = run_large(&looks_ahead(1_000_000), 4 << 20).await;
    assert!(most <= 4 << 20, "{most} bytes were taken");
    assert!(spilled > 30 << 20, "{spilled} bytes were spilled");
    println!(
        "{most} bytes of memory at the most, {spilled} spilled, in {:?}",
        started.elapsed()
    );
}

/// `cargo test --release -p sarsen-engine --test it -- --ignored --nocapture a_window_of_ten`
#[tokio::test]
#[ignore = "a figure: ten million rows take a while in a debug build"]
async fn a_window_of_ten_million_rows_completes_in_sixteen_megabytes() {
    let started = std::time::Instant::now();
    let case = looks_ahead(10_000_000).with("avg", &["v"], around(WindowFrameUnits::Rows, 1_000_000, 0));
    let (rows, most, spilled) = run_large(&case, 16 << 20).await;
    assert!(most <= 16 << 20, "{most} bytes were taken");
    println!(
        "{rows} rows: {most} bytes of memory at the most, {spilled} spilled, in {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn functions_that_do_not_look_ahead_neither_keep_nor_spill_a_window() {
    let running = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    );
    let case = one_window(100_000)
        .with("row_number", &[], whole())
        .with("rank", &[], whole())
        .with("lag", &["v"], whole())
        .with("first_value", &["v"], whole())
        .with("sum", &["v"], running)
        .with("sum", &["v"], around(WindowFrameUnits::Rows, 10, 10));
    let (pool, ours) = (Measured::new(4 << 20), case.ours());
    let found = run(&ours, context(pool.clone())).await.unwrap();
    assert_eq!(found.num_rows(), 100_000);
    assert_eq!(spilled(&ours), 0);
    let most = pool.most.load(std::sync::atomic::Ordering::Relaxed);
    assert!(most < 3 << 20, "{most} bytes were taken");
}

#[tokio::test]
async fn what_a_function_keeps_is_taken_from_the_pool() {
    let case = one_window(50_000).with("count distinct", &["o"], whole());
    let error = run(&case.ours(), context(Measured::new(300 << 10)))
        .await
        .unwrap_err();
    assert!(
        matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)),
        "{error}"
    );
}

/// The texts of a column over a frame, in five rows whose `v` counts from 0 and whose `o` comes in pairs.
async fn over(name: &str, column: &str, frame: WindowFrame) -> Vec<String> {
    let case = one_window(5).with(name, &[column], frame);
    let found = run(&case.ours(), context(Measured::new(1 << 20))).await.unwrap();
    let shown = arrow::util::display::array_value_to_string;
    (0..5).map(|row| shown(found.column(5), row).unwrap()).collect()
}

#[tokio::test]
async fn aggregates_that_take_nothing_back_slide_too() {
    assert_eq!(
        over("array_agg", "v", around(WindowFrameUnits::Rows, 1, 1)).await,
        ["[0, 1]", "[0, 1, 2]", "[1, 2, 3]", "[2, 3, 4]", "[3, 4]"]
    );
    assert_eq!(
        over("array_agg", "v", around(WindowFrameUnits::Groups, 0, 1)).await,
        ["[0, 1, 2, 3]", "[0, 1, 2, 3]", "[2, 3, 4]", "[2, 3, 4]", "[4]"]
    );
}

#[tokio::test]
async fn a_frame_that_ends_before_it_begins_is_empty() {
    for units in [
        WindowFrameUnits::Rows,
        WindowFrameUnits::Range,
        WindowFrameUnits::Groups,
    ] {
        let mut inverted = around(units, 1, 2);
        inverted.start_bound = inverted.end_bound.clone();
        inverted.end_bound = around(units, 0, 1).end_bound;
        assert_eq!(over("count", "v", inverted).await, ["0"; 5], "{units}");
    }
}

#[tokio::test]
async fn a_window_that_was_turned_around_arrives_as_it_was_sent() {
    let context = context(Measured::new(1 << 30));
    for name in ["lag", "lead", "nth_value", "first_value", "last_value", "sum"] {
        let case = one_window(5);
        let mut args = vec![col("v", &schema()).unwrap()];
        if !matches!(name, "first_value" | "last_value" | "sum") {
            args.push(lit(2_i64));
        }
        let frame = around(WindowFrameUnits::Rows, 3, 1);
        let expr = call(name, &args, &case.partition_by, &case.order_by, frame, 0).unwrap();
        let case = Case {
            exprs: vec![expr.get_reverse_expr().unwrap()],
            ..case
        };
        let turned: Arc<dyn ExecutionPlan> = Arc::new(
            BoundedWindowAggExec::try_new(case.exprs.clone(), case.input(), InputOrderMode::Linear, true)
                .unwrap(),
        );
        let expected = run(&case.datafusion(), context.clone()).await.unwrap();
        let window = sarsen_engine::window::travelling(turned).unwrap();
        let window = window.downcast_ref::<BoundedWindowAggExec>().unwrap();
        // What is left of an expression behind the wire: its function by name, and its arguments.
        let sent = WindowAggExec::try_new(window.window_expr().to_vec(), case.input(), true).unwrap();
        let leaf = Arc::new(sarsen_engine::ShuffleReadExec::new(0, schema(), Vec::new(), 1));
        let over_leaf: Arc<dyn ExecutionPlan> =
            Arc::new(WindowAggExec::try_new(sent.window_expr().to_vec(), leaf, true).unwrap());
        let bytes = sarsen_engine::fragment::encode(&over_leaf).unwrap();
        let arrived = sarsen_engine::fragment::decode(&bytes, &context).unwrap();
        let arrived = arrived.downcast_ref::<WindowAggExec>().unwrap();
        let arrived: Arc<dyn ExecutionPlan> =
            Arc::new(WindowAggExec::try_new(arrived.window_expr().to_vec(), case.input(), true).unwrap());
        let ours: Arc<dyn ExecutionPlan> = Arc::new(WindowExec::replacing(&arrived).unwrap().unwrap());
        let found = run(&ours, context.clone()).await.unwrap();
        assert_eq!(expected.columns(), found.columns(), "{name}");
    }
}
