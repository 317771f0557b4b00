//! JSON objects, one a line, or spread over lines, or several on one.

mod lenient;
mod open;

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokio::runtime::Handle;

use self::open::Scan;
use super::bytes_source::Window;
use super::columns::{Cell, Columns};
use super::{Output, ReadRequest, Stop};
use crate::StorageError;
use crate::format::{Features, Json, Path};

pub(super) fn read(
    request: &ReadRequest,
    format: &Json,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let columns = request.columns();
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let positions: HashMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(position, name)| (name.as_str(), position))
        .collect();
    let mut rows = Rows {
        columns: Columns::new(&columns, request.batch_rows),
        positions,
        keys: Vec::new(),
        features: &format.features,
        strict: Vec::new(),
        paths: match format.flatten.is_empty() {
            true => Vec::new(),
            false => names
                .iter()
                .map(|name| (name.as_str(), format.flatten.path(name)))
                .collect(),
        },
    };
    let spread = match request.split.range {
        None => Spread::Unknown,
        Some(_) if is_spread(request, format, runtime)? => {
            // Its lines say nothing of where objects begin: the first split has all of them.
            if !request.split.begins_file() {
                return Ok(());
            }
            let mut whole = request.clone();
            whole.split.range = None;
            return read_rows(&whole, &mut rows, Spread::Yes, runtime, output);
        }
        Some(_) => Spread::No,
    };
    read_rows(request, &mut rows, spread, runtime, output)
}

/// Whether objects are spread over lines: where the first one begins on a line and does not end there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// As long as there was none.
    Unknown,
    Yes,
    No,
}

impl Spread {
    fn of_line(line: &[u8], features: &Features) -> Self {
        let mut scan = Scan::default();
        scan.see(line, features);
        match scan.is_open() && !scan.is_malformed() {
            true => Spread::Yes,
            false if scan.has_brackets() => Spread::No,
            false => Spread::Unknown,
        }
    }
}

/// Bytes within which the first object of a file in splits has to begin if it is spread over lines.
const FIRST_BYTES: u64 = 1 << 20;

/// Whether the objects of a file of which a split is read are spread over lines.
fn is_spread(request: &ReadRequest, format: &Json, runtime: &Handle) -> Result<bool, StorageError> {
    let mut first = request.clone();
    first.split.range = Some((0, FIRST_BYTES));
    first.counters = Default::default();
    let mut window = Window::open(&first, runtime)?;
    while window.is_within(first.split.range)
        && let Some((length, with_end)) = window.next_line()?
    {
        let line = window.available().get(..length).unwrap_or_default();
        match Spread::of_line(line, &format.features) {
            Spread::Unknown => window.take(with_end),
            spread => return Ok(spread == Spread::Yes),
        }
    }
    Ok(false)
}

/// Bytes that an object may have which is spread over lines.
const MOST_OBJECT_BYTES: usize = 16 << 20;

fn read_rows(
    request: &ReadRequest,
    rows: &mut Rows,
    mut spread: Spread,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let mut window = Window::open(request, runtime)?;
    window.align(request.split.range)?;
    let mut line_number = 0_u64;
    // Text of what is not whole yet.
    let mut open = Open::default();
    while window.is_within(request.split.range)
        && let Some((length, with_end)) = window.next_line()?
    {
        line_number += 1;
        let line = window.available().get(..length).unwrap_or_default();
        if spread == Spread::Unknown {
            spread = Spread::of_line(line, rows.features);
        }
        let parsed = match spread {
            Spread::Yes => open.parse(line, rows),
            Spread::Unknown | Spread::No => {
                rows.parse(line).map_err(|error| (shown(line), error.to_string()))
            }
        };
        if let Err((text, reason)) = parsed {
            record(request, rows, line_number, text, reason)?;
            output.check_wanted()?;
        }
        window.take(with_end);
        output.send_full(&mut rows.columns)?;
    }
    if open.text.iter().any(|byte| !byte.is_ascii_whitespace()) {
        let reason = "the file ends in the middle of an object".to_owned();
        record(request, rows, line_number, shown(&open.text), reason)?;
    }
    output.send_rest(&mut rows.columns)
}

fn record(
    request: &ReadRequest,
    rows: &Rows,
    line: u64,
    text: String,
    reason: String,
) -> Result<(), StorageError> {
    request.parse_errors.record(&StorageError::Row {
        file: request.path(),
        record: rows.columns.records() + 1,
        line,
        text,
        reason,
    })
}

/// As much of a bad row as its error shows.
fn shown(text: &[u8]) -> String {
    // A letter has four bytes at the most.
    let first = text.get(..text.len().min(800)).unwrap_or_default();
    String::from_utf8_lossy(first).chars().take(200).collect()
}

/// Lines of objects that are spread over them, as far as these are not whole.
#[derive(Default)]
struct Open {
    text: Vec<u8>,
    scan: Scan,
}

impl Open {
    /// Takes the next line, and adds the objects that it makes whole. A bad row is told by its text, and why it is one.
    fn parse(&mut self, line: &[u8], rows: &mut Rows) -> Result<(), (String, String)> {
        for piece in [line, b"\n"] {
            self.text.extend_from_slice(piece);
            self.scan.see(piece, rows.features);
        }
        if !self.scan.is_open() || self.scan.is_malformed() {
            let parsed = rows.parse(&self.text);
            let bad = parsed.map_err(|error| (shown(&self.text), error.to_string()));
            self.clear();
            return bad;
        }
        if self.scan.whole() > 0 {
            let whole: Vec<u8> = self.text.drain(..self.scan.whole()).collect();
            self.scan.take_whole();
            return rows
                .parse(&whole)
                .map_err(|error| (shown(&whole), error.to_string()));
        }
        if self.text.len() > MOST_OBJECT_BYTES {
            let reason = format!("an object over several lines has more than {MOST_OBJECT_BYTES} bytes");
            let bad = (shown(&self.text), reason);
            self.clear();
            return Err(bad);
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.scan = Scan::default();
    }
}

struct Rows<'a> {
    columns: Columns,
    positions: HashMap<&'a str, usize>,
    /// Keys of the last object in order with their columns: the next object mostly has the same.
    keys: Vec<(String, Option<usize>)>,
    /// Where each column is, for a format that looks into nested values; empty for any other.
    paths: Vec<(&'a str, Option<&'a Path>)>,
    features: &'a Features,
    /// A text without what the features allow.
    strict: Vec<u8>,
}

impl Rows<'_> {
    /// Adds the objects of a text.
    fn parse(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        if self.features.is_plain() {
            return self.parse_strict(text);
        }
        let mut strict = std::mem::take(&mut self.strict);
        strict.clear();
        let parsed = match lenient::strict(text, self.features, &mut strict) {
            Ok(()) => self.parse_strict(&strict),
            Err(reason) => Err(serde::de::Error::custom(reason)),
        };
        self.strict = strict;
        parsed
    }

    fn parse_strict(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        loop {
            self.columns.begin_row();
            match self.paths.is_empty() {
                true => Row { rows: self }.deserialize(&mut deserializer)?,
                false => self.flatten(&Value::deserialize(&mut deserializer)?),
            }
            self.columns.end_row();
            if deserializer.end().is_ok() {
                return Ok(());
            }
        }
    }
}

impl Rows<'_> {
    /// Takes each column from where it is.
    fn flatten(&mut self, row: &Value) {
        for (column, (name, path)) in self.paths.iter().enumerate() {
            let cell = match path {
                Some(path) => path.find(row).map(|value| self.columns.value(&value)),
                None => row.get(*name).map(|value| self.columns.value(value)),
            };
            self.columns.set(column, cell.unwrap_or(Cell::Null));
        }
    }
}

struct Row<'r, 'a> {
    rows: &'r mut Rows<'a>,
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    /// An array has no fields: a row of nulls, as Druid has it.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut position = 0;
        while let Some(column) = map.next_key_seed(Key {
            rows: self.rows,
            position,
        })? {
            position += 1;
            match column {
                Some(column) => {
                    let cell = map.next_value_seed(Field {
                        columns: &mut self.rows.columns,
                    })?;
                    self.rows.columns.set(column, cell);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds the column of a key.
struct Key<'r, 'a> {
    rows: &'r mut Rows<'a>,
    position: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        if let Some((known, column)) = self.rows.keys.get(self.position)
            && known == key
        {
            return Ok(*column);
        }
        let column = self.rows.positions.get(key).copied();
        self.rows.keys.truncate(self.position);
        self.rows.keys.push((key.to_owned(), column));
        Ok(column)
    }
}

/// Reads a value as a cell.
struct Field<'r> {
    columns: &'r mut Columns,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Long(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(i64::try_from(value).map_or(Cell::Double(value as f64), Cell::Long))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cell, E> {
        Ok(self.columns.text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
        let value = Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(self.columns.value(&value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Cell, A::Error> {
        let value = Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
        Ok(self.columns.value(&value))
    }
}
