//! Runs one work order's fragment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use sarsen_engine::export_sink;
use sarsen_engine::fragment;
use sarsen_engine::guard::{external_source, guard};
use sarsen_engine::input::{FragmentInput, FragmentInputs, SinkContext, SplitFeed, SplitInput};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::shuffle::Boundaries;
use sarsen_kernel::statistics::KeyStatistics;
use sarsen_kernel::work_order::{InputSlice, WorkOrder};
use sarsen_storage::export::StagedFile;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cores::on_a_core;
use crate::counters::OrderCounters;
use crate::cpu::CpuTimed;
use crate::environment::TaskEnvironment;
use crate::error::FaultError;
use crate::inputs::{Consumer, StageReader};
use crate::pull::PullCounters;
use crate::row_checks::RowChecks;
use crate::shuffle::Output;
use crate::shuffle::writers::{Writer, WriterContext, assemble};
use crate::splits::Feed;

/// Time chunks of one work order at the most.
const MAX_BUCKETS: usize = 5_000;

/// A segment that a work order wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSegment {
    pub start_ms: i64,
    pub end_ms: i64,
    pub partition: u32,
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
}

/// What a fragment left once its input is read.
#[derive(Debug)]
pub enum Outcome {
    /// The output is complete.
    Output(Output),
    /// Rows lie in runs; the controller says where partitions are cut.
    Uncut(Uncut),
    Segments(Vec<WrittenSegment>),
    /// Of an export: complete, and not in place yet.
    Files(Vec<StagedFile>),
}

/// An output without boundaries.
#[derive(Debug)]
pub struct Uncut {
    context: Arc<WriterContext>,
    writers: Vec<Writer>,
    pub statistics: KeyStatistics,
}

impl Uncut {
    /// Cuts it.
    ///
    /// # Errors
    /// When rows of a block that crosses a boundary cannot be read.
    pub fn cut(self, boundaries: &Boundaries, order: &WorkOrder) -> Result<Output> {
        assemble(&self.context, self.writers, Some(boundaries), order.id.worker)
    }
}

/// Decodes, binds and runs a fragment to its end.
///
/// # Errors
/// The first error of any of its partitions, or a cancellation.
pub async fn run(
    task: &Arc<TaskEnvironment>,
    order: &WorkOrder,
    feeds: &[Option<Arc<Feed>>],
    counters: &Arc<OrderCounters>,
    cancel: &CancellationToken,
) -> Result<Outcome> {
    if let Some(shuffle) = &order.shuffle {
        let other_release = |fault| DataFusionError::External(Box::new(FaultError(fault)));
        shuffle.check_release().map_err(other_release)?;
    }
    let inputs = bind_inputs(task, order, feeds, counters)?;
    let plan = fragment::bind(fragment::decode(&order.fragment, &task.context)?, &inputs)?;
    let checks = RowChecks::new(task.settings.rows, external_source(&plan)?);
    let plan = guard(plan, &task.settings.guards)?;
    let partitions = plan.output_partitioning().partition_count();
    counters.start(partitions);
    match &order.shuffle {
        None if plan.schema() == export_sink::report_schema() => {
            let staged = for_each_partition(task, counters, &plan, cancel, |_| {
                Ok(Files {
                    task: Arc::clone(task),
                    staged: Vec::new(),
                })
            });
            let staged = staged.await?.into_iter().flat_map(Files::take);
            Ok(Outcome::Files(staged.collect()))
        }
        None => {
            check_segment_settings(task)?;
            let written =
                for_each_partition(task, counters, &plan, cancel, |_| Ok(Segments(Vec::new()))).await?;
            Ok(Outcome::Segments(
                written.into_iter().flat_map(|segments| segments.0).collect(),
            ))
        }
        Some(shuffle) => {
            let context = Arc::new(WriterContext {
                schema: plan.schema(),
                shuffle: shuffle.clone(),
                blocks: task.block_store(order.id, counters.spilled()),
                run_bytes: task.run_bytes(),
                seed: seed(&task.query_id, order),
                max_buckets: MAX_BUCKETS,
            });
            let writers = for_each_partition(task, counters, &plan, cancel, |partition| {
                Ok(Shuffled {
                    writer: Writer::new(&context)?,
                    checks: checks.clone(),
                    counters: Arc::clone(counters),
                    partition,
                })
            })
            .await?;
            let mut writers: Vec<Writer> = writers.into_iter().map(|shuffled| shuffled.writer).collect();
            if writers.is_empty() {
                let mut empty = Writer::new(&context)?;
                empty.finish()?;
                writers.push(empty);
            }
            if !shuffle.kind.needs_boundaries() {
                return Ok(Outcome::Output(assemble(
                    &context,
                    writers,
                    None,
                    order.id.worker,
                )?));
            }
            let mut statistics = KeyStatistics::default();
            for writer in &mut writers {
                if let Some(of_writer) = writer.statistics() {
                    statistics.merge(&of_writer);
                }
            }
            let uncut = Uncut {
                context,
                writers,
                statistics,
            };
            match &order.boundaries {
                Some(boundaries) => Ok(Outcome::Output(uncut.cut(boundaries, order)?)),
                None => Ok(Outcome::Uncut(uncut)),
            }
        }
    }
}

/// Druid's segment writer refuses to hold no row at all.
fn check_segment_settings(task: &TaskEnvironment) -> Result<()> {
    match task.settings.rows_in_memory {
        Some(rows) if rows <= 0 => {
            let fault = Fault::DruidException {
                druid_error_code: "general".to_owned(),
                persona: "DEVELOPER".to_owned(),
                category: "UNCATEGORIZED".to_owned(),
                message: format!("Invalid max row count: {rows}"),
            };
            Err(DataFusionError::External(Box::new(FaultError(fault))))
        }
        _ => Ok(()),
    }
}

/// The sampling of keys depends on nothing but the query and the place in it.
fn seed(query_id: &str, order: &WorkOrder) -> u64 {
    query_id.bytes().fold(
        u64::from(order.id.stage.0) << 32 | u64::from(order.id.worker.0),
        |seed, byte| seed.rotate_left(5).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(byte),
    )
}

/// Takes the batches of one partition.
trait PartitionSink: Send + 'static {
    fn write(&mut self, batch: RecordBatch) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}

struct Shuffled {
    writer: Writer,
    checks: RowChecks,
    counters: Arc<OrderCounters>,
    partition: usize,
}

impl PartitionSink for Shuffled {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = self.checks.check(batch)?;
        self.counters.output(self.partition, &batch);
        self.writer.write(batch)
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.finish()
    }
}

/// Files of one partition; those that are not taken are taken back.
struct Files {
    task: Arc<TaskEnvironment>,
    staged: Vec<StagedFile>,
}

impl Files {
    fn take(mut self) -> Vec<StagedFile> {
        std::mem::take(&mut self.staged)
    }
}

impl PartitionSink for Files {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.staged.extend(export_sink::staged_files(&batch)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        if staged.is_empty() {
            return;
        }
        let task = Arc::clone(&self.task);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { abort_files(&task, &staged).await });
        }
    }
}

/// Takes back files that nobody will put in place.
pub async fn abort_files(task: &TaskEnvironment, files: &[StagedFile]) {
    for file in files {
        match task.process.exports.open(&file.target) {
            Ok(destination) => destination.abort(file).await,
            Err(error) => {
                tracing::warn!(file = file.name, %error, "an unfinished file of an export stays behind")
            }
        }
    }
}

struct Segments(Vec<WrittenSegment>);

impl PartitionSink for Segments {
    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.0.extend(segments_of(&batch)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Runs all partitions, as many at once as the process has cores free, each into a sink of its own.
async fn for_each_partition<S: PartitionSink>(
    task: &Arc<TaskEnvironment>,
    counters: &Arc<OrderCounters>,
    plan: &Arc<dyn ExecutionPlan>,
    cancel: &CancellationToken,
    make_sink: impl Fn(usize) -> Result<S>,
) -> Result<Vec<S>> {
    let partitions = plan.output_partitioning().partition_count();
    let mut running: JoinSet<(usize, Result<S>)> = JoinSet::new();
    for partition in 0..partitions {
        let mut sink = make_sink(partition)?;
        let (plan, context) = (Arc::clone(plan), Arc::clone(&task.context));
        let (cores, cancel, counters) = (
            Arc::clone(&task.process.cores),
            cancel.clone(),
            Arc::clone(counters),
        );
        running.spawn_on(
            async move {
                let work = on_a_core(cores, async {
                    let mut batches = plan.execute(partition, context)?;
                    while let Some(batch) = batches.next().await {
                        sink.write(batch?)?;
                    }
                    sink.finish()?;
                    Ok(sink)
                });
                tokio::select! {
                    result = CpuTimed::new(work, counters) => (partition, result),
                    () = cancel.cancelled() => (partition, Err(cancelled())),
                }
            },
            &task.process.cpu,
        );
    }
    let mut sinks: Vec<(usize, S)> = Vec::with_capacity(partitions);
    while let Some(joined) = running.join_next().await {
        let (partition, result) = joined.map_err(|error| {
            DataFusionError::Execution(format!("a partition of the fragment ended abnormally: {error}"))
        })?;
        sinks.push((partition, result?));
    }
    counters
        .spilled()
        .fetch_add(spilled_bytes(plan), Ordering::Relaxed);
    // The order of partitions, not of their ends, decides what an output holds first.
    sinks.sort_by_key(|(partition, _)| *partition);
    Ok(sinks.into_iter().map(|(_, sink)| sink).collect())
}

/// Bytes that the operators of a plan wrote to files for want of memory.
fn spilled_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.spilled_bytes());
    let below: u64 = plan.children().into_iter().map(spilled_bytes).sum();
    own.unwrap_or(0) as u64 + below
}

/// The error of a fragment that was told to stop.
pub fn cancelled() -> DataFusionError {
    DataFusionError::Execution("the work order was stopped".to_owned())
}

fn segments_of(batch: &RecordBatch) -> Result<Vec<WrittenSegment>> {
    let [start, end, partition, path, bytes, rows] = batch.columns() else {
        return internal_err!("a segment report has six columns, found {}", batch.num_columns());
    };
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let written = (0..batch.num_rows()).map(|row| WrittenSegment {
        start_ms: start.as_primitive::<Int64Type>().value(row),
        end_ms: end.as_primitive::<Int64Type>().value(row),
        partition: partition.as_primitive::<UInt32Type>().value(row),
        path: path.as_string::<i32>().value(row).to_owned(),
        bytes: unsigned(bytes.as_primitive::<Int64Type>().value(row)),
        rows: unsigned(rows.as_primitive::<Int64Type>().value(row)),
    });
    Ok(written.collect())
}

fn bind_inputs(
    task: &Arc<TaskEnvironment>,
    order: &WorkOrder,
    feeds: &[Option<Arc<Feed>>],
    counters: &Arc<OrderCounters>,
) -> Result<FragmentInputs> {
    let mut inputs = Vec::with_capacity(order.inputs.len());
    let mut sink_partitions = Vec::new();
    for (number, slice) in order.inputs.iter().enumerate() {
        match slice {
            InputSlice::Splits { .. } => {
                let Some(feed) = feeds.get(number).cloned().flatten() else {
                    return internal_err!("input {number} of the work order has no feed");
                };
                counters.add_external(&feed.counters);
                inputs.push(FragmentInput::Splits(Arc::new(SplitInput::new(
                    Arc::clone(&feed) as Arc<dyn SplitFeed>,
                    feed.partitions,
                    Arc::clone(&task.process.sources),
                    Arc::clone(&feed.counters),
                    counters.parse_errors(task.settings.max_parse_exceptions),
                ))));
            }
            InputSlice::Partitions {
                stage,
                sorted,
                partitions,
                producers,
                merged,
            } => {
                let count = if *merged { 1 } else { partitions.len() };
                let pulled: Vec<Arc<PullCounters>> = (0..count).map(|_| Arc::default()).collect();
                counters.add_stage(partitions, *merged, &pulled);
                sink_partitions = partitions.iter().map(|partition| partition.0).collect();
                inputs.push(FragmentInput::Shuffle(Arc::new(StageReader {
                    puller: task.puller(),
                    query_id: task.query_id.clone(),
                    stage: *stage,
                    partitions: partitions.clone(),
                    producers: producers.clone(),
                    sorted: *sorted,
                    consumer: Consumer::OneOfMany(order.id.worker),
                    merged: *merged,
                    counters: pulled,
                })));
            }
        }
    }
    let sink = order.shuffle.is_none().then(|| {
        Arc::new(SinkContext {
            deep_storage: task.process.deep_storage.clone(),
            exports: task.process.exports.clone(),
            query_id: task.query_id.clone(),
            worker: order.id.worker.0,
            unique: format!("{}-{}-{}", task.query_id, order.id.worker, order.id.attempt),
            partitions: sink_partitions,
            rows_written: counters.segment_rows(),
        })
    });
    Ok(FragmentInputs { inputs, sink })
}
