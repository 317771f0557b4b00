//! CSV and TSV.

use csv_core::{ReadRecordResult, ReaderBuilder};
use memchr::memmem::Finder;
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
        for (position, (field, target)) in records.fields().zip(&targets).enumerate() {
            // Nothing between delimiters is null, an empty text in quotes is one.
            let is_null = field.is_empty() && !records.is_in_quotes(position);
            if let (Some(column), false) = (target, is_null) {
                let text = String::from_utf8_lossy(field);
                let cell = builder.field(&text, &format.list_delimiter, format.try_parse_numbers);
                builder.set(*column, cell);
            }
        }
        builder.end_row();
        output.send_full(&mut builder)?;
    }
    output.send_rest(&mut builder)
}

/// Names in the file's first row, wherever the split is.
pub(super) fn header(
    request: &ReadRequest,
    format: &Delimited,
    runtime: &Handle,
) -> Result<Vec<String>, StorageError> {
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
    // Druid names them by their position.
    for (position, name) in names.iter_mut().enumerate().filter(|(_, name)| name.is_empty()) {
        *name = format!("column_{}", position + 1);
    }
    Ok(names)
}

/// Takes records from a window.
struct Records {
    window: Window,
    parser: Parser,
    /// Fields of the current record, one after another.
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    count: usize,
    /// The current record as it lies in the file, where it has quotes or came in pieces.
    raw: Vec<u8>,
    /// Its fields in quotes, where any may be empty.
    in_quotes: Vec<usize>,
}

enum Parser {
    /// Fields may stand in quotes.
    Quoted(Box<csv_core::Reader>),
    /// Fields are what stands between these bytes.
    Plain(Box<Finder<'static>>),
}

impl Records {
    fn new(format: &Delimited, window: Window) -> Self {
        let parser = match format.is_quoted {
            true => Parser::Quoted(Box::new(ReaderBuilder::new().build())),
            false => Parser::Plain(Box::new(Finder::new(format.delimiter.as_bytes()).into_owned())),
        };
        Records {
            window,
            parser,
            text: vec![0; 4096],
            text_length: 0,
            ends: vec![0; 64],
            count: 0,
            raw: Vec::new(),
            in_quotes: Vec::new(),
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
        match self.parser {
            Parser::Quoted(_) => self.next_quoted(),
            Parser::Plain(_) => self.next_line(),
        }
    }

    fn next_quoted(&mut self) -> Result<bool, StorageError> {
        let Parser::Quoted(parser) = &mut self.parser else {
            return Ok(false);
        };
        self.raw.clear();
        let mut ended = false;
        loop {
            if self.window.available().is_empty() && !ended {
                ended = !self.window.more()?;
            }
            let (result, read, written, ends) = parser.read_record(
                self.window.available(),
                self.text.get_mut(self.text_length..).unwrap_or_default(),
                self.ends.get_mut(self.count..).unwrap_or_default(),
            );
            let consumed = self.window.available().get(..read).unwrap_or_default();
            let is_whole = matches!(result, ReadRecordResult::Record | ReadRecordResult::End);
            if !is_whole || !self.raw.is_empty() || memchr::memchr(b'"', consumed).is_some() {
                self.raw.extend_from_slice(consumed);
            }
            self.window.take(read);
            self.text_length += written;
            self.count += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => {
                    self.find_quotes();
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn next_line(&mut self) -> Result<bool, StorageError> {
        let Parser::Plain(delimiter) = &self.parser else {
            return Ok(false);
        };
        let Some((length, with_end)) = self.window.next_line()? else {
            return Ok(false);
        };
        self.text.clear();
        self.ends.clear();
        let mut rest = self.window.available().get(..length).unwrap_or_default();
        while let Some(end) = delimiter.find(rest) {
            self.text.extend_from_slice(rest.get(..end).unwrap_or_default());
            self.ends.push(self.text.len());
            rest = rest.get(end + delimiter.needle().len()..).unwrap_or_default();
        }
        self.text.extend_from_slice(rest);
        self.ends.push(self.text.len());
        self.text_length = self.text.len();
        self.count = self.ends.len();
        self.window.take(with_end);
        Ok(true)
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().take(self.count).map(move |end| {
            let field = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            field
        })
    }

    /// Whether a field of a quoted format stands in quotes, as far as the record has empty ones.
    fn is_in_quotes(&self, position: usize) -> bool {
        self.in_quotes.binary_search(&position).is_ok()
    }

    /// Notes which fields of the record stand in quotes.
    fn find_quotes(&mut self) {
        self.in_quotes.clear();
        if memchr::memmem::find(&self.raw, b"\"\"").is_none() {
            return;
        }
        let (mut field, mut is_inside, mut begins) = (0, false, true);
        for byte in &self.raw {
            match byte {
                b'"' if begins => {
                    self.in_quotes.push(field);
                    is_inside = true;
                }
                // Of a pair within quotes the second one opens them again.
                b'"' if self.in_quotes.last() == Some(&field) => is_inside = !is_inside,
                b',' if !is_inside => field += 1,
                _ => {}
            }
            let is_line_end = matches!(byte, b'\n' | b'\r');
            begins = !is_inside && (*byte == b',' || (begins && field == 0 && is_line_end));
        }
    }

    fn is_blank(&self) -> bool {
        self.count <= 1 && self.text_length == 0 && !self.is_in_quotes(0)
    }
}
