//! Arrow builders that are filled a row at a time. A row is gathered as cells first, so that one that turns out bad leaves
//! nothing behind.

mod nested;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, Float64Builder, Int64Builder, LargeListBuilder, LargeStringBuilder,
    ListBuilder, RecordBatch, StringViewBuilder,
};
use arrow::datatypes::{DataType, SchemaRef};
use sarsen_kernel::print::double_text;
use serde_json::Value;

use super::schema_of;
use crate::StorageError;
use crate::format::ListDelimiter;
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
    /// A multi-value string.
    Values(LargeListBuilder<StringViewBuilder>),
    /// Arrays of anything else.
    Nested {
        element: DruidType,
        arrays: Vec<Option<Vec<Value>>>,
    },
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

    /// Puts a JSON value into the scratch, if it is more than a number.
    pub(super) fn value(&mut self, value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(value) => Cell::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(long) => Cell::Long(long),
                None => Cell::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) => match self.text(&value.to_string()) {
                Cell::Text { start, end } => Cell::Json { start, end },
                other => other,
            },
        }
    }

    /// Puts a field of a text file into the scratch: a list where it has the list delimiter, and a number where numbers are
    /// asked for and it is one.
    pub(super) fn field(&mut self, text: &str, list_delimiter: &ListDelimiter, numbers: bool) -> Cell {
        let parsed = |text: &str| match numbers {
            true => number(text).unwrap_or_else(|| Value::from(text)),
            false => Value::from(text),
        };
        match list_delimiter.split(text) {
            Some(values) => self.value(&values.map(parsed).collect()),
            None if numbers => self.value(&parsed(text)),
            None => self.text(text),
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
        DruidType::MultiValue => Builder::Values(
            LargeListBuilder::new(StringViewBuilder::new()).with_field(element(DataType::Utf8View)),
        ),
        DruidType::Complex(_) => Builder::Json(LargeStringBuilder::new()),
        DruidType::Long => Builder::Long(Int64Builder::new()),
        DruidType::Double => Builder::Double(Float64Builder::new()),
        DruidType::Float => Builder::Float(Float32Builder::new()),
        DruidType::Array(inner) => match inner.as_ref() {
            DruidType::Long => {
                Builder::Longs(ListBuilder::new(Int64Builder::new()).with_field(element(DataType::Int64)))
            }
            DruidType::Double => Builder::Doubles(
                ListBuilder::new(Float64Builder::new()).with_field(element(DataType::Float64)),
            ),
            DruidType::String => Builder::Texts(
                ListBuilder::new(StringViewBuilder::new()).with_field(element(DataType::Utf8View)),
            ),
            other => Builder::Nested {
                element: other.clone(),
                arrays: Vec::new(),
            },
        },
    }
}

/// The number that a text is, as Druid's `tryParseNumbers` sees it: `+5` is a double, `08` is none.
fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_octal =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || (is_octal && digits.contains(['8', '9']))
        || !digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    let long = (!text.starts_with('+'))
        .then(|| text.parse::<i64>().ok())
        .flatten();
    long.map(Value::from)
        .or_else(|| text.parse::<f64>().ok().map(Value::from))
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
        Cell::Double(value) => double_text(value),
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
                Some(elements) => builder.append_value(elements.into_iter().map(nested::text)),
            },
            Builder::Values(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => builder.append_value(elements.into_iter().map(nested::text)),
            },
            Builder::Longs(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => builder.append_value(elements.iter().map(nested::long)),
            },
            Builder::Doubles(builder) => match elements(cell, scratch) {
                None => builder.append_null(),
                Some(elements) => builder.append_value(elements.iter().map(nested::double)),
            },
            Builder::Nested { arrays, .. } => arrays.push(elements(cell, scratch)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Values(builder) => Arc::new(builder.finish()),
            Builder::Nested { element, arrays } => nested::arrays(std::mem::take(arrays), element),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_numbers() {
        let long = |value: i64| Some(Value::from(value));
        for (text, expected) in [
            ("12", long(12)),
            ("-7", long(-7)),
            ("007", long(7)),
            ("08", None),
            ("+5", Some(Value::from(5.0))),
            ("1.50", Some(Value::from(1.5))),
            ("1e3", Some(Value::from(1000.0))),
            (
                "9223372036854775808",
                Some(Value::from(9_223_372_036_854_775_808.0_f64)),
            ),
            ("NaN", None),
            ("12a", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
