//! Arrow builders that are filled a row at a time. A row is gathered as cells first, so that one that turns out bad leaves
//! nothing behind.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, Float64Builder, Int64Builder, LargeStringBuilder, ListBuilder, RecordBatch,
    StringViewBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use serde_json::Value;

use super::schema_of;
use crate::StorageError;
use crate::signature::DruidType;

/// A value of the current row; texts lie in the row's scratch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    Null,
    Long(i64),
    Double(f64),
    Bool(bool),
    Text {
        start: usize,
        end: usize,
    },
    /// As `Text`, but it is JSON.
    Json {
        start: usize,
        end: usize,
    },
}

/// Bytes of a batch at about the most.
const BATCH_BYTES: usize = 8 << 20;

pub(super) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    pub(super) cells: Vec<Cell>,
    pub(super) scratch: String,
    rows: usize,
    records: u64,
    bytes: usize,
    batch_rows: usize,
}

enum Builder {
    Text(StringViewBuilder),
    Json(LargeStringBuilder),
    Long(Int64Builder),
    Double(Float64Builder),
    Float(Float32Builder),
    Texts(ListBuilder<StringViewBuilder>),
    Longs(ListBuilder<Int64Builder>),
    Doubles(ListBuilder<Float64Builder>),
}

impl Columns {
    pub(super) fn new(columns: &[(String, DruidType)], batch_rows: usize) -> Self {
        let schema = schema_of(columns);
        let builders = columns.iter().map(|(_, of_type)| builder(of_type)).collect();
        Columns {
            schema,
            builders,
            cells: vec![Cell::Null; columns.len()],
            scratch: String::new(),
            rows: 0,
            records: 0,
            bytes: 0,
            batch_rows: batch_rows.max(1),
        }
    }

    /// Forgets the cells.
    pub(super) fn begin_row(&mut self) {
        self.cells.fill(Cell::Null);
        self.scratch.clear();
    }

    pub(super) fn set(&mut self, column: usize, cell: Cell) {
        if let Some(slot) = self.cells.get_mut(column) {
            *slot = cell;
        }
    }

    /// Puts a text into the scratch.
    pub(super) fn text(&mut self, text: &str) -> Cell {
        let start = self.scratch.len();
        self.scratch.push_str(text);
        Cell::Text {
            start,
            end: self.scratch.len(),
        }
    }

    /// Adds the gathered row. A value that its column's type cannot hold becomes null, as Druid has it.
    pub(super) fn end_row(&mut self) {
        for (builder, cell) in self.builders.iter_mut().zip(&self.cells) {
            builder.append(*cell, &self.scratch);
        }
        self.rows += 1;
        self.records += 1;
        self.bytes += self.scratch.len() + 8 * self.cells.len();
    }

    /// Rows since the beginning.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES
    }

    /// The rows so far as a batch, `None` without any.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>, StorageError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(|error| StorageError::Spec(error.to_string()))
    }
}

fn builder(of_type: &DruidType) -> Builder {
    let element = |data_type: DataType| Arc::new(arrow::datatypes::Field::new("item", data_type, true));
    match of_type {
        DruidType::String => Builder::Text(StringViewBuilder::new()),
        DruidType::Complex(_) => Builder::Json(LargeStringBuilder::new()),
        DruidType::Long => Builder::Long(Int64Builder::new()),
        DruidType::Double => Builder::Double(Float64Builder::new()),
        DruidType::Float => Builder::Float(Float32Builder::new()),
        DruidType::Array(inner) => match inner.as_ref() {
            DruidType::Long => {
                Builder::Longs(ListBuilder::new(Int64Builder::new()).with_field(element(DataType::Int64)))
            }
            DruidType::Double | DruidType::Float => Builder::Doubles(
                ListBuilder::new(Float64Builder::new()).with_field(element(DataType::Float64)),
            ),
            _ => Builder::Texts(
                ListBuilder::new(StringViewBuilder::new()).with_field(element(DataType::Utf8View)),
            ),
        },
    }
}

fn text_of(cell: Cell, scratch: &str) -> Option<&str> {
    match cell {
        Cell::Text { start, end } | Cell::Json { start, end } => scratch.get(start..end),
        _ => None,
    }
}

fn shown(cell: Cell, scratch: &str) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Long(value) => value.to_string(),
        Cell::Double(value) => value.to_string(),
        Cell::Bool(value) => value.to_string(),
        Cell::Text { .. } | Cell::Json { .. } => text_of(cell, scratch)
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect(),
    }
}

/// A whole number; a fraction is cut off. `None` for what is no number.
fn to_long(cell: Cell, scratch: &str) -> Option<i64> {
    match cell {
        Cell::Null | Cell::Json { .. } => None,
        Cell::Long(value) => Some(value),
        Cell::Double(value) => Some(value as i64),
        Cell::Bool(value) => Some(i64::from(value)),
        Cell::Text { .. } => {
            let text = text_of(cell, scratch).unwrap_or_default().trim();
            text.parse::<i64>()
                .ok()
                .or_else(|| text.parse::<f64>().ok().map(|value| value as i64))
        }
    }
}

fn to_double(cell: Cell, scratch: &str) -> Option<f64> {
    match cell {
        Cell::Null | Cell::Json { .. } => None,
        Cell::Long(value) => Some(value as f64),
        Cell::Double(value) => Some(value),
        Cell::Bool(value) => Some(f64::from(u8::from(value))),
        Cell::Text { .. } => text_of(cell, scratch).unwrap_or_default().trim().parse().ok(),
    }
}

impl Builder {
    fn append(&mut self, cell: Cell, scratch: &str) {
        match self {
            Builder::Text(builder) => match cell {
                Cell::Null => builder.append_null(),
                Cell::Text { .. } | Cell::Json { .. } => {
                    builder.append_value(text_of(cell, scratch).unwrap_or_default());
                }
                other => builder.append_value(shown(other, scratch)),
            },
            Builder::Json(builder) => match cell {
                Cell::Null => builder.append_null(),
                Cell::Text { .. } => {
                    let text = text_of(cell, scratch).unwrap_or_default();
                    builder.append_value(Value::from(text).to_string());
                }
                other => builder.append_value(match text_of(other, scratch) {
                    Some(json) => json.to_owned(),
                    None => shown(other, scratch),
                }),
            },
            Builder::Long(builder) => builder.append_option(to_long(cell, scratch)),
            Builder::Double(builder) => builder.append_option(to_double(cell, scratch)),
            Builder::Float(builder) => {
                builder.append_option(to_double(cell, scratch).map(|value| value as f32));
            }
            Builder::Texts(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => {
                    for element in elements {
                        builder.values().append_option(match element {
                            Value::Null => None,
                            Value::String(text) => Some(text),
                            other => Some(other.to_string()),
                        });
                    }
                    builder.append(true);
                }
            },
            Builder::Longs(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => {
                    for element in elements {
                        let from_text = element.as_str().and_then(|text| text.parse().ok());
                        let from_double = element.as_f64().map(|value| value as i64);
                        let from_bool = element.as_bool().map(i64::from);
                        let long = element.as_i64().or(from_double).or(from_text).or(from_bool);
                        builder.values().append_option(long);
                    }
                    builder.append(true);
                }
            },
            Builder::Doubles(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => {
                    for element in elements {
                        let from_text = element.as_str().and_then(|text| text.parse().ok());
                        let from_bool = element.as_bool().map(|value| f64::from(u8::from(value)));
                        builder
                            .values()
                            .append_option(element.as_f64().or(from_text).or(from_bool));
                    }
                    builder.append(true);
                }
            },
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Json(builder) => Arc::new(builder.finish()),
            Builder::Long(builder) => Arc::new(builder.finish()),
            Builder::Double(builder) => Arc::new(builder.finish()),
            Builder::Float(builder) => Arc::new(builder.finish()),
            Builder::Texts(builder) => Arc::new(builder.finish()),
            Builder::Longs(builder) => Arc::new(builder.finish()),
            Builder::Doubles(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Elements of an array cell; anything but an array is one element.
fn elements(cell: Cell, scratch: &str) -> Option<Vec<Value>> {
    let value = match cell {
        Cell::Null => return None,
        Cell::Json { .. } => serde_json::from_str(text_of(cell, scratch)?).ok()?,
        Cell::Text { .. } => Value::from(text_of(cell, scratch)?),
        Cell::Long(value) => Value::from(value),
        Cell::Double(value) => Value::from(value),
        Cell::Bool(value) => Value::from(value),
    };
    match value {
        Value::Array(elements) => Some(elements),
        other => Some(vec![other]),
    }
}
