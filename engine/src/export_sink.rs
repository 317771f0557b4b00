//! The operator that makes files of rows, elsewhere.

mod encode;
mod rows;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
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
use futures::{StreamExt, TryStreamExt};
use sarsen_kernel::query::{ColumnDescriptor, ExportTarget};
use sarsen_storage::export::{Destination, StagedFile, Writing, file_name, partition_folder};
use serde::{Deserialize, Serialize};

use crate::children::over_one_child;
use crate::input::{FragmentInputs, SinkContext};
pub use encode::{FileEncoder, empty_file};

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportSinkOptions {
    pub target: ExportTarget,
    /// All columns of the rows by the names that the user gave them, in order.
    pub columns: Vec<ColumnDescriptor>,
    /// Positions of the columns that name folders; they stand in no file.
    pub folder_columns: Vec<usize>,
    /// Rows at which another file is begun; `None` where partitions are cut as files are to be.
    #[serde(default)]
    pub rows_per_file: Option<u64>,
}

impl ExportSinkOptions {
    /// The positions of the columns that stand in files.
    pub fn file_columns(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|column| !self.folder_columns.contains(column))
            .collect()
    }

    /// Names and types of the columns in files.
    pub fn file_schema(&self, schema: &Schema) -> Result<SchemaRef> {
        let columns = self.file_columns();
        let names = columns.iter().filter_map(|column| self.columns.get(*column));
        let projected = schema.project(&columns)?;
        let fields = projected.fields().iter().zip(names);
        let fields =
            fields.map(|(field, column)| field.as_ref().clone().with_name(&column.name).with_nullable(true));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<Field>>())))
    }
}

/// Writes each input partition, whose rows are of one folder, as one file or several, and gives back one row per file:
/// see [`report_schema`].
#[derive(Debug, Clone)]
pub struct ExportSinkExec {
    child: Arc<dyn ExecutionPlan>,
    options: Arc<ExportSinkOptions>,
    sink: Option<Arc<SinkContext>>,
    properties: Arc<PlanProperties>,
}

/// What an export sink gives back: [`StagedFile`]s as JSON.
pub fn report_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "staged_file",
        DataType::Utf8,
        false,
    )]))
}

/// The files of a batch that an export sink gave back.
///
/// # Errors
/// An internal error for another batch.
pub fn staged_files(batch: &RecordBatch) -> Result<Vec<StagedFile>> {
    let [files] = batch.columns() else {
        return internal_err!("an export's report has one column, found {}", batch.num_columns());
    };
    let files = files.as_string::<i32>().iter().flatten();
    files
        .map(|file| serde_json::from_str(file).map_err(|error| DataFusionError::Internal(error.to_string())))
        .collect()
}

impl ExportSinkExec {
    pub fn new(child: Arc<dyn ExecutionPlan>, options: ExportSinkOptions) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(report_schema()),
            Partitioning::UnknownPartitioning(child.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        ExportSinkExec {
            child,
            options: Arc::new(options),
            sink: None,
            properties,
        }
    }

    pub fn options(&self) -> &ExportSinkOptions {
        &self.options
    }

    /// The same sink writing to a work order's destination.
    ///
    /// # Errors
    /// An internal error when the work order has none.
    pub fn bind(&self, inputs: &FragmentInputs) -> Result<Self> {
        let Some(sink) = inputs.sink.clone() else {
            return internal_err!("the work order of an export names no destination");
        };
        Ok(ExportSinkExec {
            sink: Some(sink),
            ..Self::new(Arc::clone(&self.child), self.options.as_ref().clone())
        })
    }
}

impl DisplayAs for ExportSinkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.options.target;
        write!(
            f,
            "ExportSinkExec: storage={}, format={}",
            target.storage,
            target.format.name()
        )
    }
}

impl ExecutionPlan for ExportSinkExec {
    fn name(&self) -> &str {
        "ExportSinkExec"
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
                Ok(Arc::new(ExportSinkExec {
                    sink,
                    ..Self::new(Arc::clone(child), self.options.as_ref().clone())
                }))
            }
            _ => internal_err!("an export sink has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(sink) = self.sink.clone() else {
            return exec_err!("the export sink was never bound to a work order");
        };
        let Some(number) = sink.partitions.get(partition).copied() else {
            return internal_err!("the work order names no output partition for its partition {partition}");
        };
        let rows = self.child.execute(partition, context)?;
        let destination = sink.exports.open(&self.options.target).map_err(external)?;
        let writer = PartitionWriter {
            schema: self.options.file_schema(&self.child.schema())?,
            options: Arc::clone(&self.options),
            writing: Writing {
                query_id: self.options.target.file_id(&sink.query_id),
                worker: sink.worker,
                attempt: sink.unique.clone(),
            },
            sink,
            destination,
            partition: number,
            open: None,
            files: 0,
        };
        let written = futures::stream::once(writer.write_all(rows)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(report_schema(), written)))
    }
}

/// Rows that are written between two looks at the size of a file.
const STEP_ROWS: usize = 1024;

/// Writes the rows of one partition.
struct PartitionWriter {
    sink: Arc<SinkContext>,
    options: Arc<ExportSinkOptions>,
    /// Of the files.
    schema: SchemaRef,
    destination: Destination,
    writing: Writing,
    partition: u32,
    open: Option<FileEncoder>,
    /// Files begun.
    files: u32,
}

type Reports = futures::stream::Iter<std::vec::IntoIter<Result<RecordBatch>>>;

impl PartitionWriter {
    async fn write_all(mut self, mut rows: SendableRecordBatchStream) -> Result<Reports> {
        let mut done: Vec<StagedFile> = Vec::new();
        let written = self.write(&mut rows, &mut done).await;
        if let Err(error) = written {
            // Files that nobody was told of are nobody's.
            for file in &done {
                self.destination.abort(file).await;
            }
            return Err(error);
        }
        let reports: Vec<Result<RecordBatch>> = done.iter().map(report_row).collect();
        Ok(futures::stream::iter(reports))
    }

    async fn write(
        &mut self,
        rows: &mut SendableRecordBatchStream,
        done: &mut Vec<StagedFile>,
    ) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut start = 0;
            while start < batch.num_rows() {
                let rows = STEP_ROWS.min(batch.num_rows() - start).min(self.room());
                self.step(&batch.slice(start, rows), done).await?;
                start += rows;
            }
        }
        if let Some(open) = self.open.take() {
            done.push(open.finish().await?);
        }
        Ok(())
    }

    /// Rows that the open file may still take; of one that is still to be begun, all that it may.
    fn room(&self) -> usize {
        let Some(most) = self.options.rows_per_file else {
            return usize::MAX;
        };
        let written = self.open.as_ref().map_or(0, FileEncoder::rows);
        usize::try_from(most.saturating_sub(written).max(1)).unwrap_or(usize::MAX)
    }

    async fn step(&mut self, batch: &RecordBatch, done: &mut Vec<StagedFile>) -> Result<()> {
        let columns = batch.project(&self.options.file_columns())?;
        let file_rows = RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns.columns().to_vec(),
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
        )?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(batch).await?,
        };
        open.write(&file_rows).await?;
        self.sink
            .rows_written
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        let options = &self.options;
        let is_full = options
            .target
            .bytes_per_file
            .is_some_and(|most| open.bytes() >= most)
            || options.rows_per_file.is_some_and(|most| open.rows() >= most);
        if is_full {
            done.push(open.finish().await?);
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    async fn begin(&mut self, first: &RecordBatch) -> Result<FileEncoder> {
        let mut folder = String::new();
        for column in &self.options.folder_columns {
            let name = self
                .options
                .columns
                .get(*column)
                .map(|column| column.name.as_str());
            let value = rows::text(first.column(*column), 0)?;
            folder += &partition_folder(name.unwrap_or_default(), value.as_deref());
        }
        let name = file_name(
            &self.writing,
            &folder,
            self.partition,
            self.files,
            &self.options.target,
        );
        self.files += 1;
        let file = self
            .destination
            .create(name, self.partition, &self.writing)
            .await
            .map_err(external)?;
        FileEncoder::begin(file, &self.options.target, Arc::clone(&self.schema)).await
    }
}

fn report_row(file: &StagedFile) -> Result<RecordBatch> {
    let json = serde_json::to_string(file).map_err(|error| DataFusionError::Internal(error.to_string()))?;
    let column: ArrayRef = Arc::new(StringArray::from(vec![json]));
    Ok(RecordBatch::try_new(report_schema(), vec![column])?)
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
