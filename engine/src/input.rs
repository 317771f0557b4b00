//! What the leaves of a fragment read in one work order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::future::BoxFuture;
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
    /// Outside data: files of an EXTERN or segments, as the leaf that reads it knows.
    Splits(Arc<SplitInput>),
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

/// A unit of outside data, as it was handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub payload: SplitPayload,
    /// Files that it begins.
    pub files: u32,
}

/// Where the splits of one input of a work order come from.
pub trait SplitFeed: fmt::Debug + Send + Sync {
    /// Splits that nobody reads yet, for one of the fragment's partitions; none once all are read. Waits while others may
    /// yet be handed out to this work order.
    fn next(&self) -> BoxFuture<'_, Result<Vec<Split>>>;
}

/// Outside data of one work order: the fragment's partitions take splits by turns, so that none of them waits while
/// another has work left.
#[derive(Debug)]
pub struct SplitInput {
    feed: Arc<dyn SplitFeed>,
    /// Files of groups that are begun: of a million files few groups' names are unpacked at a time.
    unpacked: Mutex<VecDeque<InputSplit>>,
    /// Partitions that read at once.
    pub partitions: usize,
    pub context: Arc<SourceContext>,
    pub counters: Arc<ReadCounters>,
    pub parse_errors: Arc<ParseErrors>,
}

impl SplitInput {
    pub fn new(
        feed: Arc<dyn SplitFeed>,
        partitions: usize,
        context: Arc<SourceContext>,
        counters: Arc<ReadCounters>,
        parse_errors: Arc<ParseErrors>,
    ) -> Self {
        SplitInput {
            feed,
            unpacked: Mutex::default(),
            partitions,
            context,
            counters,
            parse_errors,
        }
    }

    /// The next file, or range of one, that nobody reads yet.
    ///
    /// # Errors
    /// When a split cannot be read, or is of a segment.
    pub async fn next_file(&self) -> Result<Option<InputSplit>> {
        loop {
            if let Some(file) = self.unpacked().pop_front() {
                return Ok(Some(file));
            }
            let splits = self.feed.next().await?;
            if splits.is_empty() {
                return Ok(None);
            }
            for split in splits {
                let SplitPayload::External(packed) = split.payload else {
                    return exec_err!("a segment was handed out to an EXTERN");
                };
                let files = SplitGroup::unpack(&packed)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                self.unpacked().extend(files);
            }
        }
    }

    /// The next segments, or ranges of them, that nobody reads yet, and the number of files that they begin; none at the
    /// end.
    ///
    /// # Errors
    /// When a split cannot be read, or is of an EXTERN.
    pub async fn next_segments(&self) -> Result<(Vec<SegmentFile>, u64)> {
        let splits = self.feed.next().await?;
        let begun = splits.iter().map(|split| u64::from(split.files)).sum();
        let segment = |split: Split| match split.payload {
            SplitPayload::Segment(file) => Ok(file),
            SplitPayload::External(_) => exec_err!("a file was handed out to a scan of segments"),
        };
        Ok((splits.into_iter().map(segment).collect::<Result<_>>()?, begun))
    }

    fn unpacked(&self) -> MutexGuard<'_, VecDeque<InputSplit>> {
        self.unpacked.lock().unwrap_or_else(PoisonError::into_inner)
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
