//! Reads a source as rows of text.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use sarsen_storage::StorageError;
use sarsen_storage::reader::{ParseErrors, ReadCounters, ReadRequest, read_split};
use sarsen_storage::source::{InputFile, InputSource, InputSplit, SourceContext, split_files};

/// What reading gave.
pub struct Read {
    /// Cells joined by `|`; NULL is `~`.
    pub rows: Vec<String>,
    pub parse_errors: Arc<ParseErrors>,
    pub counters: Arc<ReadCounters>,
}

/// A source, a format and a signature of `name:type` words.
pub struct Reading {
    pub source: String,
    pub format: String,
    pub signature: String,
    pub max_parse_exceptions: i64,
    pub split_bytes: u64,
    pub batch_rows: usize,
}

impl Reading {
    pub fn new(source: &str, format: &str, columns: &str) -> Self {
        let column = |column: &str| {
            let (name, of_type) = column.split_once(':').unwrap();
            format!(r#"{{"name":"{name}","type":"{of_type}"}}"#)
        };
        let columns: Vec<String> = columns.split(' ').map(column).collect();
        Reading {
            source: source.to_owned(),
            format: format.to_owned(),
            signature: format!("[{}]", columns.join(",")),
            max_parse_exceptions: 0,
            split_bytes: u64::MAX,
            batch_rows: 1000,
        }
    }

    /// One file.
    pub fn file(path: &Path, format: &str, columns: &str) -> Self {
        let source = format!(r#"{{"type":"local","files":["{}"]}}"#, path.display());
        Self::new(&source, format, columns)
    }

    /// Text without a file.
    pub fn inline(text: &str, format: &str, columns: &str) -> Self {
        let source = serde_json::json!({ "type": "inline", "data": text });
        Self::new(&source.to_string(), format, columns)
    }

    fn splits(&self, source: &InputSource) -> Vec<InputSplit> {
        let spec: serde_json::Value = serde_json::from_str(&self.source).unwrap();
        let file = |location: &str, size| InputFile {
            location: location.to_owned(),
            size,
        };
        let files = match source {
            InputSource::Inline { .. } => vec![file("", None)],
            InputSource::Http(http) => http.uris.iter().map(|uri| file(uri, None)).collect(),
            InputSource::Objects(_) => unreachable!("objects are listed and read in objects.rs"),
            InputSource::Local(..) => {
                let paths = spec["files"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|path| path.as_str().unwrap());
                paths
                    .map(|path| file(path, std::fs::metadata(path).map(|of| of.len()).ok()))
                    .collect()
            }
        };
        split_files(files, &self.format.parse().unwrap(), self.split_bytes)
    }

    pub fn read(&self) -> Result<Read, StorageError> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let source: InputSource = self.source.parse()?;
        let context = Arc::new(SourceContext::new(&["/".to_owned(), "http://".to_owned()])?);
        let mut read = Read {
            rows: Vec::new(),
            parse_errors: Arc::new(ParseErrors::new(self.max_parse_exceptions)),
            counters: Arc::default(),
        };
        for split in self.splits(&source) {
            let request = ReadRequest {
                split,
                source: source.clone(),
                format: self.format.parse()?,
                signature: self.signature.parse()?,
                projection: None,
                batch_rows: self.batch_rows,
                context: Arc::clone(&context),
                counters: Arc::clone(&read.counters),
                parse_errors: Arc::clone(&read.parse_errors),
                max_bytes: None,
                entry: None,
            };
            runtime.block_on(async {
                let mut batches = read_split(request);
                while let Some(batch) = batches.next().await {
                    read.rows.extend(rows(&batch?));
                }
                Ok::<(), StorageError>(())
            })?;
        }
        Ok(read)
    }

    pub fn rows(&self) -> Vec<String> {
        self.read().unwrap_or_else(|error| panic!("{error}")).rows
    }

    pub fn error(&self) -> String {
        match self.read() {
            Ok(read) => panic!("no error but {:?}", read.rows),
            Err(error) => error.to_string(),
        }
    }
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("~");
    let columns: Vec<ArrayFormatter> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect::<Vec<_>>()
                .join("|")
        })
        .collect()
}
