//! Reads the rows of a SELECT from the workers of its last stage.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use sarsen_engine::input::{FragmentInput, FragmentInputs};
use sarsen_engine::runtime::reading_context;
use sarsen_engine::{ShuffleReadExec, fragment};
use sarsen_kernel::ids::{PartitionNumber, WorkOrderId};
use sarsen_kernel::query::{ColumnDescriptor, StageDefinition};
use sarsen_kernel::report::ResultPage;
use sarsen_kernel::work_order::Producer;
use sarsen_proto::transport::Network;
use sarsen_storage::results;
use sarsen_storage::segment::DeepStorage;
use sarsen_worker::inputs::{Consumer, StageReader};
use sarsen_worker::pull::{OutputUnavailable, PullCounters, Puller};
use sarsen_worker::ticket::TicketKey;

/// Rows that a report shows (Druid: 3,000).
pub const REPORT_ROWS: usize = 3_000;

/// The rows as an Arrow IPC stream.
#[derive(Debug, Clone, Default)]
pub struct Results {
    pub ipc: Vec<u8>,
    /// There were more rows than were asked for.
    pub truncated: bool,
}

/// What is read.
#[derive(Debug)]
pub struct ReadRequest {
    pub network: Network,
    pub deep_storage: DeepStorage,
    pub query_id: String,
    pub ticket_key: TicketKey,
    pub stage: StageDefinition,
    pub signature: Vec<ColumnDescriptor>,
    pub orders: Vec<(WorkOrderId, Producer)>,
    pub partitions: u32,
    /// `None`: all of them.
    pub max_rows: Option<usize>,
}

/// Why rows could not be read.
#[derive(Debug)]
pub enum ReadError {
    Unavailable(OutputUnavailable),
    Failed(String),
}

impl From<DataFusionError> for ReadError {
    fn from(error: DataFusionError) -> Self {
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(unavailable) = inner.downcast_ref::<OutputUnavailable>()
        {
            return ReadError::Unavailable(unavailable.clone());
        }
        ReadError::Failed(error.strip_backtrace())
    }
}

/// Reads partition after partition, each merged by the shuffle's key where it is sorted.
///
/// # Errors
/// [`ReadError::Unavailable`] when an output is lost, which the kernel can mend.
pub async fn read(request: ReadRequest) -> Result<Results, ReadError> {
    let context = reading_context(request.deep_storage.object_store())?;
    let schema = fragment::decode(&request.stage.fragment, &context)?.schema();
    let key = request
        .stage
        .shuffle
        .as_ref()
        .filter(|shuffle| shuffle.kind.is_sorted())
        .map(|shuffle| shuffle.key.clone());
    let partitions: Vec<PartitionNumber> = (0..request.partitions).map(PartitionNumber).collect();
    let reader = StageReader {
        puller: Puller::new(
            request.network.clone(),
            None,
            request.ticket_key.clone(),
            request.deep_storage.object_store(),
        ),
        query_id: request.query_id.clone(),
        stage: request.stage.number,
        counters: partitions
            .iter()
            .map(|_| Arc::new(PullCounters::default()))
            .collect(),
        partitions,
        sorted: key.is_some(),
        consumer: Consumer::Alone,
        producers: request
            .orders
            .iter()
            .map(|(_, producer)| producer.clone())
            .collect(),
        merged: false,
    };
    let count = usize::try_from(request.partitions).unwrap_or(usize::MAX);
    let leaf: Arc<dyn ExecutionPlan> = Arc::new(ShuffleReadExec::new(
        0,
        Arc::clone(&schema),
        key.unwrap_or_default(),
        count,
    ));
    let inputs = FragmentInputs {
        inputs: vec![FragmentInput::Shuffle(Arc::new(reader))],
        sink: None,
    };
    let plan = fragment::bind(leaf, &inputs)?;

    let columns: Vec<usize> = (0..request.signature.len()).collect();
    let shown = result_schema(&schema, &request.signature);
    let mut writer = StreamWriter::try_new(Vec::new(), &shown).map_err(DataFusionError::from)?;
    let mut left = request.max_rows.unwrap_or(usize::MAX);
    let mut truncated = false;
    'partitions: for partition in 0..count {
        let mut batches = plan.execute(partition, Arc::clone(&context))?;
        while let Some(batch) = batches.next().await {
            let batch = batch?.project(&columns).map_err(DataFusionError::from)?;
            if batch.num_rows() > left {
                truncated = true;
            }
            let batch = batch.slice(0, left.min(batch.num_rows()));
            left -= batch.num_rows();
            writer
                .write(&renamed(&batch, &shown)?)
                .map_err(DataFusionError::from)?;
            if truncated {
                break 'partitions;
            }
        }
    }
    let ipc = writer.into_inner().map_err(DataFusionError::from)?;
    Ok(Results { ipc, truncated })
}

/// The first rows of pages, as a report shows them.
///
/// # Errors
/// When a page cannot be read.
pub async fn first_rows(
    deep_storage: &DeepStorage,
    pages: &[ResultPage],
    signature: &[ColumnDescriptor],
    most: usize,
) -> Result<Results, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let mut writer: Option<(StreamWriter<Vec<u8>>, SchemaRef)> = None;
    let mut left = most;
    for page in pages {
        if left == 0 {
            break;
        }
        let rows = results::page(deep_storage, &page.path).await;
        let rows = rows.map_err(|error| words(&error))?;
        let mut rows = rows.ok_or_else(|| format!("[{}] was not there after it was written", page.path))?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|error| words(&error))?;
            let batch = batch.slice(0, left.min(batch.num_rows()));
            left -= batch.num_rows();
            let (writer, shown) = match &mut writer {
                Some(open) => open,
                none => {
                    let shown = result_schema(&batch.schema(), signature);
                    let open = StreamWriter::try_new(Vec::new(), &shown).map_err(|error| words(&error))?;
                    none.insert((open, shown))
                }
            };
            let batch = renamed(&batch, shown).map_err(|error| words(&error))?;
            writer.write(&batch).map_err(|error| words(&error))?;
            if left == 0 {
                break;
            }
        }
    }
    let ipc = match writer {
        Some((writer, _)) => writer.into_inner().map_err(|error| words(&error))?,
        None => Vec::new(),
    };
    let rows: u64 = pages.iter().map(|page| page.rows).sum();
    Ok(Results {
        ipc,
        truncated: rows > most as u64,
    })
}

/// The columns under the names that the user gave them, which need not differ from each other.
fn result_schema(schema: &SchemaRef, signature: &[ColumnDescriptor]) -> SchemaRef {
    let fields = schema.fields().iter().zip(signature);
    let fields =
        fields.map(|(field, column)| field.as_ref().clone().with_name(&column.name).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn renamed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        batch.columns().to_vec(),
        &options,
    )?)
}
