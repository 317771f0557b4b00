//! What the leaves of a fragment read in one work order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
use sarsen_storage::StorageError;
use sarsen_storage::export::Exports;
use sarsen_storage::reader::{ParseErrors, ReadCounters};
use sarsen_storage::segment::DeepStorage;
use sarsen_storage::source::{InputSplit, SourceContext, SplitGroup};

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

/// What the payload of a kernel's input split holds.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitPayload {
    /// Files or ranges of them, packed as [`SplitGroup::packed`] has them.
    External(Vec<u8>),
    Segment(SegmentFile),
}

/// First bytes of payloads.
const EXTERNAL: u8 = b'E';
const SEGMENT: u8 = b'S';

impl SplitPayload {
    /// # Errors
    /// When a segment's name cannot be written as JSON.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let (kind, rest) = match self {
            SplitPayload::External(packed) => (EXTERNAL, packed.clone()),
            SplitPayload::Segment(file) => (SEGMENT, serde_json::to_vec(file)?),
        };
        Ok(std::iter::once(kind).chain(rest).collect())
    }

    /// # Errors
    /// For bytes that are no payload.
    pub fn decode(payload: &[u8]) -> Result<Self> {
        match payload.split_first() {
            Some((&EXTERNAL, packed)) => Ok(SplitPayload::External(packed.to_vec())),
            Some((&SEGMENT, json)) => match serde_json::from_slice(json) {
                Ok(file) => Ok(SplitPayload::Segment(file)),
                Err(error) => exec_err!("unreadable input split: {error}"),
            },
            _ => exec_err!("unreadable input split"),
        }
    }
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
/// none of them waits while another has work left. Of a million files one group's names are unpacked at a time.
#[derive(Debug)]
pub struct ExternalInput {
    queue: Mutex<Queue>,
    /// Partitions that read from the queue at once.
    pub partitions: usize,
    pub context: Arc<SourceContext>,
    pub counters: Arc<ReadCounters>,
    pub parse_errors: Arc<ParseErrors>,
}

#[derive(Debug)]
struct Queue {
    /// Packed groups of splits.
    groups: VecDeque<Vec<u8>>,
    unpacked: VecDeque<InputSplit>,
}

impl ExternalInput {
    /// Reads `groups`, which hold `splits` splits in all.
    pub fn new(
        groups: Vec<Vec<u8>>,
        splits: usize,
        partitions: usize,
        context: Arc<SourceContext>,
        counters: Arc<ReadCounters>,
        parse_errors: Arc<ParseErrors>,
    ) -> Self {
        let partitions = partitions.clamp(1, splits.max(groups.len()).max(1));
        ExternalInput {
            queue: Mutex::new(Queue {
                groups: groups.into(),
                unpacked: VecDeque::new(),
            }),
            partitions,
            context,
            counters,
            parse_errors,
        }
    }

    /// The next split that nobody reads yet.
    pub fn next_split(&self) -> Option<Result<InputSplit, StorageError>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(split) = queue.unpacked.pop_front() {
                return Some(Ok(split));
            }
            let group = queue.groups.pop_front()?;
            match SplitGroup::unpack(&group) {
                Ok(splits) => queue.unpacked = splits.into(),
                Err(error) => return Some(Err(error)),
            }
        }
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
    /// Where exports may write.
    pub exports: Exports,
    pub query_id: String,
    /// Number of the worker that writes.
    pub worker: u32,
    /// Makes the files of one attempt differ from those of every other.
    pub unique: String,
    /// Output partition of the ingestion by local partition.
    pub partitions: Vec<u32>,
    /// Counts rows written, for progress.
    pub rows_written: std::sync::Arc<std::sync::atomic::AtomicU64>,
}
