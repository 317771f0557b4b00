//! CSV and TSV.

use csv_core::{ReadRecordResult, ReaderBuilder};
use tokio::runtime::Handle;

use super::bytes_source::Window;
use super::columns::Columns;
use super::{Output, ReadRequest, Stop};
use crate::StorageError;
use crate::format::Delimited;

pub(super) fn read(
    request: &ReadRequest,
    format: &Delimited,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let header = if format.find_columns_from_header {
        Some(header(request, format, runtime)?)
    } else {
        None
    };
    let names = header.as_deref().unwrap_or(&format.columns);
    let columns = request.columns();
    // Field position in the file by output column.
    let targets: Vec<Option<usize>> = names
        .iter()
        .map(|name| columns.iter().position(|(column, _)| column == name))
        .collect();
    let mut records = Records::new(format, Window::open(request, runtime)?);
    let range = request.split.range;
    let begins_file = request.split.begins_file();
    if begins_file {
        let skipped = format.skip_header_rows + u64::from(format.find_columns_from_header);
        for _ in 0..skipped {
            records.next()?;
        }
    } else {
        records.window.align(range)?;
    }
    let mut builder = Columns::new(&columns, request.batch_rows);
    while records.starts_within(range)? && records.next()? {
        if records.is_blank() {
            continue;
        }
        builder.begin_row();
        for (field, target) in records.fields().zip(&targets) {
            if let (Some(column), false) = (target, field.is_empty()) {
                let cell = match std::str::from_utf8(field) {
                    Ok(text) => builder.text(text),
                    Err(_) => builder.text(&String::from_utf8_lossy(field)),
                };
                builder.set(*column, cell);
            }
        }
        builder.end_row();
        if builder.is_full()
            && let Some(batch) = builder.finish()?
        {
            output.send(batch)?;
        }
    }
    if let Some(batch) = builder.finish()? {
        output.send(batch)?;
    }
    Ok(())
}

/// Names in the file's first row, wherever the split is.
fn header(request: &ReadRequest, format: &Delimited, runtime: &Handle) -> Result<Vec<String>, StorageError> {
    let mut whole = request.clone();
    if let Some((_, end)) = whole.split.range {
        whole.split.range = Some((0, end));
    }
    whole.counters = Default::default();
    let mut records = Records::new(format, Window::open(&whole, runtime)?);
    for _ in 0..format.skip_header_rows {
        records.next()?;
    }
    records.next()?;
    let mut names: Vec<String> = records
        .fields()
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect();
    // A byte order mark is no part of the first name.
    if let Some(first) = names.first_mut()
        && let Some(rest) = first.strip_prefix('\u{feff}')
    {
        *first = rest.to_owned();
    }
    Ok(names)
}

/// Takes records from a window.
struct Records {
    parser: csv_core::Reader,
    window: Window,
    /// Fields of the current record, one after another.
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    count: usize,
    rows: u64,
}

impl Records {
    fn new(format: &Delimited, window: Window) -> Self {
        // Only CSV has quotes: in other files they belong to the values, as for Druid.
        let parser = ReaderBuilder::new()
            .delimiter(format.delimiter)
            .quoting(format.delimiter == b',')
            .build();
        Records {
            parser,
            window,
            text: vec![0; 4096],
            text_length: 0,
            ends: vec![0; 64],
            count: 0,
            rows: 0,
        }
    }

    /// Whether the next record begins in `range`. What stands between it and the one before (the rest of a line end,
    /// empty lines) belongs to no record.
    fn starts_within(&mut self, range: Option<(u64, u64)>) -> Result<bool, StorageError> {
        loop {
            match self.window.available().first().copied() {
                Some(b'\n' | b'\r') => self.window.take(1),
                None if self.window.more()? => {}
                _ => return Ok(self.window.is_within(range)),
            }
        }
    }

    /// Reads the next record; false at the end.
    fn next(&mut self) -> Result<bool, StorageError> {
        self.text_length = 0;
        self.count = 0;
        let mut ended = false;
        loop {
            if self.window.available().is_empty() && !ended {
                ended = !self.window.more()?;
            }
            let (result, read, written, ends) = self.parser.read_record(
                self.window.available(),
                self.text.get_mut(self.text_length..).unwrap_or_default(),
                self.ends.get_mut(self.count..).unwrap_or_default(),
            );
            self.window.take(read);
            self.text_length += written;
            self.count += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => {
                    self.rows += 1;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().take(self.count).map(move |end| {
            let field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            field
        })
    }

    fn is_blank(&self) -> bool {
        self.count <= 1 && self.text_length == 0
    }
}
