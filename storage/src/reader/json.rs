//! JSON objects, one a line, or spread over lines, or several on one.

mod lenient;

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokio::runtime::Handle;

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
    let mut window = Window::open(request, runtime)?;
    window.align(request.split.range)?;
    let mut line_number = 0_u64;
    // Text of an object that began on an earlier line; only a file whose first line is no whole object has such.
    let mut open_object: Option<Vec<u8>> = None;
    while window.is_within(request.split.range)
        && let Some((length, with_end)) = window.next_line()?
    {
        line_number += 1;
        let line = window.available().get(..length).unwrap_or_default();
        let parsed = match &mut open_object {
            Some(text) => {
                text.push(b'\n');
                text.extend_from_slice(line);
                rows.parse(text)
            }
            None => rows.parse(line),
        };
        match parsed {
            Ok(()) => {
                if let Some(text) = &mut open_object {
                    text.clear();
                }
            }
            Err(error) if error.is_eof() && (open_object.is_some() || line_number == 1) => {
                open_object.get_or_insert_with(|| line.to_vec());
            }
            Err(error) => {
                let text = String::from_utf8_lossy(line).chars().take(200).collect();
                let bad = StorageError::Row {
                    file: request.path(),
                    record: rows.columns.records() + 1,
                    line: line_number,
                    text,
                    reason: error.to_string(),
                };
                request.parse_errors.record(&bad)?;
                if let Some(text) = &mut open_object {
                    text.clear();
                }
            }
        }
        window.take(with_end);
        output.send_full(&mut rows.columns)?;
    }
    if let Some(text) = open_object.filter(|text| text.iter().any(|byte| !byte.is_ascii_whitespace())) {
        let bad = StorageError::Row {
            file: request.path(),
            record: rows.columns.records() + 1,
            line: line_number,
            text: String::from_utf8_lossy(&text).chars().take(200).collect(),
            reason: "the file ends in the middle of an object".to_owned(),
        };
        request.parse_errors.record(&bad)?;
    }
    output.send_rest(&mut rows.columns)
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
