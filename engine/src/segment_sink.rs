//! The operator that makes segments of rows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, exec_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;
use sarsen_storage::segment::{Interval, SegmentLocation, SegmentWriter, WrittenSegment};
use serde::{Deserialize, Serialize};

use crate::children::over_one_child;
use crate::input::{FragmentInputs, SinkContext};

/// How segments are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentSinkOptions {
    pub datasource: String,
    /// Version in the files' path; the published version is given at publish.
    pub version: String,
    /// Leading columns of the input that are stored; the rest (time chunk, cluster expressions) is not.
    pub stored_columns: usize,
    /// Column that holds the start of the row's time chunk in ms; `None` when one chunk holds all time.
    pub chunk_column: Option<usize>,
    /// End of each time chunk from its start: an ISO-8601 period.
    pub granularity: Option<String>,
}

/// Writes each input partition, whose rows are of one time chunk, as one segment file, and gives back one row per
/// segment: see [`report_schema`].
#[derive(Debug, Clone)]
pub struct SegmentSinkExec {
    child: Arc<dyn ExecutionPlan>,
    options: SegmentSinkOptions,
    sink: Option<Arc<SinkContext>>,
    properties: Arc<PlanProperties>,
}

/// Columns that a segment sink gives back: chunk start and end in ms, output partition, path, bytes, rows.
pub fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("start_ms", DataType::Int64, false),
        Field::new("end_ms", DataType::Int64, false),
        Field::new("partition", DataType::UInt32, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("rows", DataType::Int64, false),
    ]))
}

impl SegmentSinkExec {
    pub fn new(child: Arc<dyn ExecutionPlan>, options: SegmentSinkOptions) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(report_schema()),
            Partitioning::UnknownPartitioning(child.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        SegmentSinkExec {
            child,
            options,
            sink: None,
            properties,
        }
    }

    pub fn options(&self) -> &SegmentSinkOptions {
        &self.options
    }

    /// The same sink writing to a work order's destination.
    ///
    /// # Errors
    /// An internal error when the work order has none.
    pub fn bind(&self, inputs: &FragmentInputs) -> Result<Self> {
        let Some(sink) = inputs.sink.clone() else {
            return internal_err!("the work order of a segment sink names no destination");
        };
        Ok(SegmentSinkExec {
            sink: Some(sink),
            ..Self::new(Arc::clone(&self.child), self.options.clone())
        })
    }
}

impl DisplayAs for SegmentSinkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentSinkExec: datasource={}", self.options.datasource)
    }
}

impl ExecutionPlan for SegmentSinkExec {
    fn name(&self) -> &str {
        "SegmentSinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    over_one_child!(child);

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.as_slice() {
            [child] => {
                let sink = self.sink.clone();
                Ok(Arc::new(SegmentSinkExec {
                    sink,
                    ..Self::new(Arc::clone(child), self.options.clone())
                }))
            }
            _ => internal_err!("a segment sink has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(sink) = self.sink.clone() else {
            return exec_err!("the segment sink was never bound to a work order");
        };
        let rows = self.child.execute(partition, context)?;
        let written = write_partition(rows, sink, self.options.clone(), partition);
        let stream = futures::stream::once(written).filter_map(|result| async move { result.transpose() });
        Ok(Box::pin(RecordBatchStreamAdapter::new(report_schema(), stream)))
    }
}

/// Writes one partition; `None` when it has no rows.
async fn write_partition(
    mut rows: SendableRecordBatchStream,
    sink: Arc<SinkContext>,
    options: SegmentSinkOptions,
    partition: usize,
) -> Result<Option<RecordBatch>> {
    let Some(number) = sink.partitions.get(partition).copied() else {
        return internal_err!("the work order names no output partition for its partition {partition}");
    };
    let stored: Vec<usize> = (0..options.stored_columns).collect();
    let mut writer: Option<(SegmentWriter, Interval)> = None;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let stored_rows = batch.project(&stored)?;
        let (writer, _) = match &mut writer {
            Some(open) => open,
            empty => {
                let interval = chunk_interval(&batch, &options)?;
                let location = SegmentLocation {
                    datasource: options.datasource.clone(),
                    interval,
                    version: options.version.clone(),
                    partition: number,
                    unique: sink.unique.clone(),
                };
                let opened = SegmentWriter::create(&sink.deep_storage, &location, stored_rows.schema())
                    .await
                    .map_err(external)?;
                empty.insert((opened, interval))
            }
        };
        sink.rows_written
            .fetch_add(stored_rows.num_rows() as u64, Ordering::Relaxed);
        writer.write(&stored_rows).await.map_err(external)?;
    }
    match writer {
        Some((writer, interval)) => {
            let written = writer.finish().await.map_err(external)?;
            report_row(interval, number, &written).map(Some)
        }
        None => Ok(None),
    }
}

fn chunk_interval(batch: &RecordBatch, options: &SegmentSinkOptions) -> Result<Interval> {
    let (Some(column), Some(granularity)) = (options.chunk_column, &options.granularity) else {
        return Ok(Interval::ETERNITY);
    };
    let starts = arrow::compute::cast(batch.column(column), &DataType::Int64)?;
    let start = match starts.as_any().downcast_ref::<Int64Array>() {
        Some(starts) if !starts.is_empty() => starts.value(0),
        _ => return internal_err!("the time chunk column holds no value"),
    };
    let period = sarsen_functions::time::Period::parse(granularity)
        .map_err(|error| DataFusionError::Internal(error.to_string()))?;
    Ok(Interval {
        start_ms: start,
        end_ms: period.next(start),
    })
}

fn report_row(interval: Interval, partition: u32, written: &WrittenSegment) -> Result<RecordBatch> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![interval.start_ms])),
        Arc::new(Int64Array::from(vec![interval.end_ms])),
        Arc::new(UInt32Array::from(vec![partition])),
        Arc::new(StringArray::from(vec![written.path.clone()])),
        Arc::new(Int64Array::from(vec![signed(written.bytes)])),
        Arc::new(Int64Array::from(vec![signed(written.rows)])),
    ];
    Ok(RecordBatch::try_new(report_schema(), columns)?)
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
