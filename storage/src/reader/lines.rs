//! Whole lines, and lines that a regular expression takes apart.

use tokio::runtime::Handle;

use super::bytes_source::Window;
use super::columns::Columns;
use super::{Output, ReadRequest, Stop};
use crate::StorageError;
use crate::format::RegexFormat;

/// The column of a file of lines.
const LINE: &str = "line";

/// Reads lines into the column `line`.
pub(super) fn read(request: &ReadRequest, runtime: &Handle, output: &Output) -> Result<(), Stop> {
    let column = request.columns().iter().position(|(name, _)| name == LINE);
    each_line(request, runtime, output, |columns, line| {
        if let Some(column) = column {
            let cell = columns.text(line);
            columns.set(column, cell);
        }
        Ok(())
    })
}

/// Reads the groups of a regular expression; a line that does not match is a bad row.
pub(super) fn read_regex(
    request: &ReadRequest,
    format: &RegexFormat,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let columns = request.columns();
    // The column of each group.
    let targets: Vec<Option<usize>> = format
        .columns
        .iter()
        .map(|name| columns.iter().position(|(column, _)| column == name))
        .collect();
    let mut captures = format.regex.capture_locations();
    each_line(request, runtime, output, |columns, line| {
        if format.regex.captures_read(&mut captures, line).is_none() {
            return Err(format!("Incorrect Regex: {} . No match found.", format.pattern));
        }
        for (group, target) in targets.iter().enumerate() {
            if let (Some(column), Some((start, end))) = (target, captures.get(group + 1)) {
                let text = line.get(start..end).unwrap_or_default();
                let cell = columns.field(text, &format.list_delimiter, false);
                columns.set(*column, cell);
            }
        }
        Ok(())
    })
}

fn each_line(
    request: &ReadRequest,
    runtime: &Handle,
    output: &Output,
    mut fill: impl FnMut(&mut Columns, &str) -> Result<(), String>,
) -> Result<(), Stop> {
    let mut columns = Columns::new(&request.columns(), request.batch_rows);
    let mut window = Window::open(request, runtime)?;
    window.align(request.split.range)?;
    let mut number = 0;
    while window.is_within(request.split.range)
        && let Some((length, with_end)) = window.next_line()?
    {
        number += 1;
        let bytes = window.available().get(..length).unwrap_or_default();
        let line = String::from_utf8_lossy(bytes);
        columns.begin_row();
        match fill(&mut columns, &line) {
            Ok(()) => columns.end_row(),
            Err(reason) => request.parse_errors.record(&StorageError::Row {
                file: request.path(),
                record: columns.records() + 1,
                line: number,
                text: line.chars().take(200).collect(),
                reason,
            })?,
        }
        window.take(with_end);
        output.send_full(&mut columns)?;
    }
    output.send_rest(&mut columns)
}
