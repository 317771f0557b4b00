//! Record batches of outside files.
//!
//! Decompression and parsing each have a blocking thread of their own, with bounded queues between them and the
//! stream: whoever is slower holds the other back, and dropping the stream ends both.

mod archive;
mod avro;
mod bytes_source;
mod columnar;
mod columns;
mod delimited;
mod json;
mod lines;
pub(crate) mod object_parquet;
mod orc;
mod parquet;
mod seekable;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions, StringViewArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub use archive::Entry;
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
    /// Bytes of a text, decompressed, behind which its file is taken to end; `None` for all.
    pub max_bytes: Option<u64>,
    /// The one file of the split's archive that is read; `None` for all of them, and for what is no archive.
    pub entry: Option<Entry>,
}

impl ReadRequest {
    /// The file, from byte `start` on where it is a local one.
    fn open(&self, start: u64, runtime: &Handle) -> Result<Opened, StorageError> {
        if let Some(entry) = &self.entry {
            let opened = entry.open(&self.counters, runtime);
            return opened
                .map(Opened::Stream)
                .map_err(|error| StorageError::file(self.file(), error));
        }
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

    /// Columns that the source gives and not the file, with their value.
    fn constants(&self) -> Vec<(usize, Option<String>)> {
        let columns = self.columns();
        let fields = self.source.system_fields().iter().filter_map(|field| {
            let column = columns.iter().position(|(name, _)| name == field.name())?;
            Some((column, field.value(&self.source, &self.split.location)))
        });
        fields.collect()
    }

    /// File name for messages; that of an archive is followed by `!/` and the name within.
    fn file(&self) -> String {
        let file = match self.split.location.as_str() {
            "" => "inline data".to_owned(),
            location => shown_url(location),
        };
        match &self.entry {
            Some(entry) => format!("{file}!/{}", entry.name),
            None => file,
        }
    }

    /// The file cannot be read on behind so many rows.
    fn failed_after(&self, rows: usize, reason: &str) -> StorageError {
        match rows {
            0 => StorageError::file(self.file(), reason),
            rows => StorageError::file(self.file(), format!("behind row {rows}: {reason}")),
        }
    }

    /// The file as Druid's warnings name it: with its scheme.
    fn path(&self) -> String {
        match &self.source {
            InputSource::Local(..) => format!("file:{}", self.file()),
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
    let file = request.file();
    let reading = tokio::task::spawn_blocking(move || {
        let output = Output {
            sender,
            counters: Arc::clone(&request.counters),
            constants: request.constants(),
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
    let batches = futures::stream::unfold(Some((receiver, reading)), move |state| {
        let file = file.clone();
        async move {
            let (mut receiver, reading) = state?;
            match receiver.recv().await {
                Some(batch) => Some((batch, Some((receiver, reading)))),
                // A library that panics over a damaged file must not look like the end of the file.
                None => reading.await.err().map(|_| {
                    let reason = "it is damaged in a way that its reader was not prepared for";
                    (Err(StorageError::file(file, reason)), None)
                }),
            }
        }
    });
    batches.boxed()
}

fn read(mut request: ReadRequest, runtime: &Handle, output: &Output) -> Result<(), Stop> {
    let compression = compression(&request, runtime)?;
    if request.split.range.is_some() && compression.is_some() {
        // Its name did not tell: the first of its splits reads it as a whole.
        if !request.split.begins_file() {
            return Ok(());
        }
        request.split.range = None;
    }
    if compression == Some(Compression::Zip) {
        for entry in archive::entries(&request, runtime, &|| output.is_wanted())? {
            let entry = Some(entry);
            read_file(
                &ReadRequest {
                    entry,
                    ..request.clone()
                },
                runtime,
                output,
            )?;
        }
        return Ok(());
    }
    read_file(&request, runtime, output)
}

fn read_file(request: &ReadRequest, runtime: &Handle, output: &Output) -> Result<(), Stop> {
    match &request.format.kind {
        FormatKind::Json(json) => json::read(request, json, runtime, output),
        FormatKind::Delimited(delimited) => delimited::read(request, delimited, runtime, output),
        FormatKind::Regex(regex) => lines::read_regex(request, regex, runtime, output),
        FormatKind::Lines => lines::read(request, runtime, output),
        FormatKind::Parquet(columnar) => parquet::read(request, columnar, runtime, output),
        FormatKind::Orc(columnar) => orc::read(request, columnar, runtime, output),
        FormatKind::Avro(avro) => avro::read(request, avro, runtime, output),
    }
}

/// Names in the headers of a delimited file, or of the files of an archive.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn header_names(request: ReadRequest) -> Result<Vec<String>, StorageError> {
    let (runtime, file) = (Handle::current(), request.file());
    let reading = tokio::task::spawn_blocking(move || {
        let FormatKind::Delimited(format) = &request.format.kind else {
            return Ok(Vec::new());
        };
        if compression(&request, &runtime)? != Some(Compression::Zip) {
            return delimited::header(&request, format, &runtime);
        }
        let mut names = Vec::new();
        for entry in archive::entries(&request, &runtime, &|| true)?
            .into_iter()
            .take(SAMPLED_ENTRIES)
        {
            let entry = Some(entry);
            names.extend(delimited::header(
                &ReadRequest {
                    entry,
                    ..request.clone()
                },
                format,
                &runtime,
            )?);
        }
        Ok(names)
    });
    let failed = |error: tokio::task::JoinError| StorageError::file(file, error);
    reading.await.map_err(failed)?
}

/// Files of an archive whose headers are sampled.
const SAMPLED_ENTRIES: usize = 8;

/// How a request's file is compressed: by its first bytes where it can be read from any place, which is cheap for local files
/// and needed for files in ranges, else by its name.
fn compression(request: &ReadRequest, runtime: &Handle) -> Result<Option<Compression>, StorageError> {
    let is_local = matches!(request.source, InputSource::Local(..));
    let named = Compression::of_name(&request.split.location);
    if !is_local && request.split.range.is_none() {
        return Ok(named);
    }
    let opened: Box<dyn Read> = match request.open(0, runtime)? {
        Opened::Local(file) => Box::new(file),
        Opened::Object(object) => object.body(Some((0, MAGIC_BYTES)), runtime),
        Opened::Stream(_) => return Ok(named),
    };
    let mut first = Vec::new();
    opened
        .take(MAGIC_BYTES)
        .read_to_end(&mut first)
        .map_err(|error| StorageError::file(request.file(), error))?;
    Ok(Compression::of_bytes(&first))
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Where readers put batches.
struct Output {
    sender: mpsc::Sender<Result<RecordBatch, StorageError>>,
    counters: Arc<ReadCounters>,
    /// Columns whose value is the same in all rows of a file.
    constants: Vec<(usize, Option<String>)>,
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
        let batch = self.with_constants(batch)?;
        self.sender.blocking_send(Ok(batch)).map_err(|_| Stop::Gone)
    }

    /// Stops a reader whose stream nobody reads any more, where it may have nothing to send for long.
    fn check_wanted(&self) -> Result<(), Stop> {
        match self.is_wanted() {
            true => Ok(()),
            false => Err(Stop::Gone),
        }
    }

    /// Whether somebody reads the stream.
    fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    fn with_constants(&self, batch: RecordBatch) -> Result<RecordBatch, StorageError> {
        if self.constants.is_empty() {
            return Ok(batch);
        }
        let failed = |error: ArrowError| StorageError::Spec(error.to_string());
        let (schema, mut columns, rows) = batch.into_parts();
        for (column, value) in &self.constants {
            if let (Some(slot), Some(field)) = (columns.get_mut(*column), schema.fields().get(*column)) {
                let texts: StringViewArray = std::iter::repeat_n(value.as_deref(), rows).collect();
                *slot = arrow::compute::cast(&texts, field.data_type()).map_err(failed)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(failed)
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
