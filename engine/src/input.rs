//! What the leaves of a fragment read in one work order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use sarsen_storage::reader::{ParseErrors, ReadCounters};
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::SourceContext;

/// Inputs of one work order, in the order of the fragment's input numbers, and what its sinks write to.
#[derive(Debug, Clone, Default)]
pub struct FragmentInputs {
    pub inputs: Vec<FragmentInput>,
    /// Where segments go; `None` for a fragment without a segment sink.
    pub sink: Option<Arc<SinkContext>>,
}

impl FragmentInputs {
    /// The input of that number.
    ///
    /// # Errors
    /// An internal error when the work order has fewer inputs than the fragment names.
    pub fn get(&self, input: usize) -> Result<&FragmentInput> {
        match self.inputs.get(input) {
            Some(input) => Ok(input),
            None => exec_err!("the work order has no input {input}"),
        }
    }
}

/// One input of a work order.
#[derive(Debug, Clone)]
pub enum FragmentInput {
    /// Partitions that other workers made.
    Shuffle(Arc<dyn ShuffleReader>),
    /// Outside data; which of the two it is, the leaf that reads it knows.
    Splits {
        external: Arc<ExternalInput>,
        segments: Vec<Vec<SegmentFile>>,
    },
}

/// What the payload of an [`InputSplit`] holds, as JSON.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum SplitPayload {
    External(sarsen_storage::source::InputSplit),
    Segment(SegmentFile),
}

/// Reads what other work orders left for this one.
pub trait ShuffleReader: fmt::Debug + Send + Sync {
    /// Partitions of this input that the fragment reads; a broadcast is one.
    fn partition_count(&self) -> usize;

    /// Streams whose rows together are partition `partition` (a position among [`Self::partition_count`]). From a
    /// sorted shuffle each stream is sorted by the shuffle's key.
    fn open(
        &self,
        partition: usize,
        schema: SchemaRef,
    ) -> BoxFuture<'static, Result<Vec<SendableRecordBatchStream>>>;
}

/// An EXTERN input of one work order: a queue of splits from which the fragment's partitions take by turns, so that
/// none of them waits while another has work left.
#[derive(Debug)]
pub struct ExternalInput {
    splits: Mutex<VecDeque<sarsen_storage::source::InputSplit>>,
    /// Partitions that read from the queue at once.
    pub partitions: usize,
    pub context: Arc<SourceContext>,
    pub counters: Arc<ReadCounters>,
    pub parse_errors: Arc<ParseErrors>,
}

impl ExternalInput {
    pub fn new(
        splits: Vec<sarsen_storage::source::InputSplit>,
        partitions: usize,
        context: Arc<SourceContext>,
        counters: Arc<ReadCounters>,
        parse_errors: Arc<ParseErrors>,
    ) -> Self {
        let partitions = partitions.clamp(1, splits.len().max(1));
        ExternalInput {
            splits: Mutex::new(splits.into()),
            partitions,
            context,
            counters,
            parse_errors,
        }
    }

    /// The next split that nobody reads yet.
    pub fn next_split(&self) -> Option<sarsen_storage::source::InputSplit> {
        self.splits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

/// A segment's Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SegmentFile {
    /// Path below deep storage.
    pub path: String,
    pub bytes: u64,
    /// Only the row groups whose middle lies in this range of bytes; `None` for all of them.
    pub range: Option<(i64, i64)>,
}

/// What a segment sink writes to, and the numbers of the partitions that it writes.
#[derive(Debug)]
pub struct SinkContext {
    pub deep_storage: DeepStorage,
    /// Makes the files of one attempt differ from those of every other.
    pub unique: String,
    /// Output partition of the ingestion by local partition.
    pub partitions: Vec<u32>,
    /// Counts rows written, for progress.
    pub rows_written: std::sync::Arc<std::sync::atomic::AtomicU64>,
}
