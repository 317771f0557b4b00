//! Record batches of outside files.
//!
//! Decompression and parsing each have a blocking thread of their own, with bounded queues between them and the
//! stream: whoever is slower holds the other back, and dropping the stream ends both.

mod bytes_source;
mod columnar;
mod columns;
mod delimited;
mod json;
mod lines;
pub(crate) mod object_parquet;
mod parquet;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use columns::Columns;

use crate::StorageError;
use crate::decompress::{Compression, MAGIC_BYTES};
use crate::format::{FormatKind, InputFormat};
use crate::signature::{DruidType, Signature};
use crate::source::{InputSource, InputSplit, Opened, SourceContext, open, shown_url};

/// What is read, and how.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    pub split: InputSplit,
    pub source: InputSource,
    pub format: InputFormat,
    pub signature: Signature,
    /// Columns of the signature to make, in this order; `None` for all.
    pub projection: Option<Vec<usize>>,
    pub batch_rows: usize,
    pub context: Arc<SourceContext>,
    pub counters: Arc<ReadCounters>,
    pub parse_errors: Arc<ParseErrors>,
}

impl ReadRequest {
    /// The file, from byte `start` on where it is a local one.
    fn open(&self, start: u64, runtime: &Handle) -> Result<Opened, StorageError> {
        open(&self.source, &self.split.location, start, &self.context, runtime)
    }

    fn columns(&self) -> Vec<(String, DruidType)> {
        match &self.projection {
            None => self.signature.0.clone(),
            Some(projection) => projection
                .iter()
                .filter_map(|index| self.signature.0.get(*index))
                .cloned()
                .collect(),
        }
    }

    /// File name for messages.
    fn file(&self) -> String {
        if self.split.location.is_empty() {
            "inline data".to_owned()
        } else {
            shown_url(&self.split.location)
        }
    }

    /// The file as Druid's warnings name it: with its scheme.
    fn path(&self) -> String {
        match &self.source {
            InputSource::Local(_) => format!("file:{}", self.split.location),
            _ => self.file(),
        }
    }
}

/// What has been read.
#[derive(Debug, Default)]
pub struct ReadCounters {
    rows: AtomicU64,
    bytes: AtomicU64,
    files: AtomicU64,
    total_files: AtomicU64,
}

impl ReadCounters {
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of the files as they lie there.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Files read to their end.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    pub fn total_files(&self) -> u64 {
        self.total_files.load(Ordering::Relaxed)
    }

    /// So many more files are to be read.
    pub fn add_total_files(&self, files: u64) {
        self.total_files.fetch_add(files, Ordering::Relaxed);
    }

    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }
}

/// Rows that did not parse, over all readers of a work order.
#[derive(Debug)]
pub struct ParseErrors {
    /// Rows that may fail; negative for any number.
    max: i64,
    count: AtomicU64,
    texts: Mutex<Vec<String>>,
}

/// Texts that are kept.
const KEPT_TEXTS: usize = 10;

impl ParseErrors {
    /// `max` rows may fail; any number if it is negative.
    pub fn new(max: i64) -> Self {
        ParseErrors {
            max,
            count: AtomicU64::new(0),
            texts: Mutex::default(),
        }
    }

    /// Rows that failed.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The first of them, in words.
    pub fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, error: &StorageError) -> Result<(), StorageError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let text = error.to_string();
        // The row that is one too many is no warning: it is the error.
        if let Ok(max) = u64::try_from(self.max)
            && count > max
        {
            return Err(StorageError::TooManyBadRows {
                max: max.max(1),
                last: text,
            });
        }
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < KEPT_TEXTS {
            texts.push(text);
        }
        Ok(())
    }
}

/// Batches that may wait for the stream's reader.
const WAITING_BATCHES: usize = 2;

/// Reads one split. The stream has the projected columns of the signature, in that order.
pub fn read_split(request: ReadRequest) -> BoxStream<'static, Result<RecordBatch, StorageError>> {
    let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let output = Output {
            sender,
            counters: Arc::clone(&request.counters),
        };
        let begins_file = request.split.begins_file();
        match read(request, &runtime, &output) {
            Ok(()) => {
                if begins_file {
                    output.counters.add_file();
                }
            }
            Err(Stop::Gone) => {}
            Err(Stop::Error(error)) => {
                let _ = output.sender.blocking_send(Err(error));
            }
        }
    });
    let batches = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|batch| (batch, receiver))
    });
    batches.boxed()
}

fn read(mut request: ReadRequest, runtime: &Handle, output: &Output) -> Result<(), Stop> {
    if request.split.range.is_some() && is_compressed(&request, runtime)? {
        // Its name did not tell: the first of its splits reads it as a whole.
        if !request.split.begins_file() {
            return Ok(());
        }
        request.split.range = None;
    }
    match &request.format.kind {
        FormatKind::Json(flatten) => json::read(&request, flatten, runtime, output),
        FormatKind::Delimited(delimited) => delimited::read(&request, delimited, runtime, output),
        FormatKind::Regex(regex) => lines::read_regex(&request, regex, runtime, output),
        FormatKind::Lines => lines::read(&request, runtime, output),
        FormatKind::Parquet(columnar) => parquet::read(&request, columnar, runtime, output),
    }
}

/// Whether the first bytes of a file that can be read from any place are those of a compressed one.
fn is_compressed(request: &ReadRequest, runtime: &Handle) -> Result<bool, StorageError> {
    let opened: Box<dyn Read> = match request.open(0, runtime)? {
        Opened::Local(file) => Box::new(file),
        Opened::Object(object) => object.body(Some((0, MAGIC_BYTES)), runtime),
        Opened::Stream(_) => return Ok(false),
    };
    let mut first = Vec::new();
    opened
        .take(MAGIC_BYTES)
        .read_to_end(&mut first)
        .map_err(|error| StorageError::file(request.file(), error))?;
    Ok(Compression::of_bytes(&first).is_some())
}

/// Where readers put batches.
struct Output {
    sender: mpsc::Sender<Result<RecordBatch, StorageError>>,
    counters: Arc<ReadCounters>,
}

/// Why a reader stops early.
enum Stop {
    /// Nobody reads the stream any more.
    Gone,
    Error(StorageError),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Stop::Error(error)
    }
}

impl Output {
    fn send(&self, batch: RecordBatch) -> Result<(), Stop> {
        self.counters.add_rows(batch.num_rows());
        self.sender.blocking_send(Ok(batch)).map_err(|_| Stop::Gone)
    }

    /// Sends the rows that were gathered once they are a whole batch.
    fn send_full(&self, columns: &mut Columns) -> Result<(), Stop> {
        match columns.is_full() {
            true => self.send_rest(columns),
            false => Ok(()),
        }
    }

    /// Sends the rows that were gathered, if any.
    fn send_rest(&self, columns: &mut Columns) -> Result<(), Stop> {
        match columns.finish()? {
            Some(batch) => self.send(batch),
            None => Ok(()),
        }
    }
}

fn schema_of(columns: &[(String, DruidType)]) -> SchemaRef {
    Arc::new(Signature(columns.to_vec()).arrow_schema())
}
