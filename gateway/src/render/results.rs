//! Rows as JSON or CSV.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use base64::Engine;
use sarsen_functions::time::{Tz, iso_in, parse_zone};
use sarsen_kernel::query::ColumnDescriptor;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::request::ResultFormat;

/// How timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// As text in the query's zone, in answers to synchronous queries.
    Iso(Tz),
    /// As numbers, in reports.
    Millis,
}

impl Times {
    /// As text in the zone of the query's context, `sqlTimeZone`.
    pub fn in_zone_of(context: &Map<String, Value>) -> Self {
        let zone = context.get("sqlTimeZone").and_then(Value::as_str);
        Times::Iso(zone.and_then(parse_zone).unwrap_or(Tz::UTC))
    }
}

/// How cells are written.
#[derive(Debug, Clone)]
pub struct Style {
    pub times: Times,
    /// Arrays as JSON text rather than as JSON.
    pub stringify_arrays: bool,
}

impl Style {
    /// As the query's context wants it.
    pub fn of_context(context: &Map<String, Value>, times: Times) -> Self {
        Style {
            times,
            stringify_arrays: context.get("sqlStringifyArrays") != Some(&Value::Bool(false)),
        }
    }
}

/// How an answer is laid out.
#[derive(Debug, Clone)]
pub struct Shape {
    pub format: ResultFormat,
    pub header: bool,
    pub types_header: bool,
    pub sql_types_header: bool,
    pub style: Style,
}

/// Batches of an Arrow IPC stream; none of an empty one.
///
/// # Errors
/// When the bytes are no such stream.
pub fn read(ipc: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    if ipc.is_empty() {
        return Ok(Vec::new());
    }
    StreamReader::try_new(ipc, None)?.collect()
}

/// All rows as JSON arrays.
pub fn rows(batches: &[RecordBatch], style: &Style) -> Value {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = prepared(batch);
        rows.extend((0..batch.num_rows()).map(|row| Value::Array(row_of(&columns, row, style))));
    }
    Value::Array(rows)
}

/// The body of an answer.
pub fn write(batches: &[RecordBatch], signature: &[ColumnDescriptor], shape: &Shape) -> Vec<u8> {
    let mut out = Writer::new(shape.clone(), signature.to_vec());
    for batch in batches {
        out.batch(batch);
    }
    out.end();
    out.take()
}

/// Makes an answer's body, a part at a time.
pub struct Writer {
    shape: Shape,
    signature: Vec<ColumnDescriptor>,
    bytes: Vec<u8>,
    rows: usize,
}

impl Writer {
    /// Begins with what stands before the rows.
    pub fn new(shape: Shape, signature: Vec<ColumnDescriptor>) -> Self {
        let mut out = Writer {
            shape,
            signature,
            bytes: Vec::new(),
            rows: 0,
        };
        out.begin();
        for header in out.headers() {
            out.row(header);
        }
        out
    }

    /// Appends rows, whose columns stand as those of the signature.
    pub fn batch(&mut self, batch: &RecordBatch) {
        let columns = prepared(batch);
        for row in 0..batch.num_rows() {
            let cells = row_of(&columns, row, &self.shape.style);
            self.row(cells);
        }
    }

    /// What was written since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    fn is_list(&self) -> bool {
        matches!(self.shape.format, ResultFormat::Object | ResultFormat::Array)
    }

    fn begin(&mut self) {
        if self.is_list() {
            self.bytes.push(b'[');
        }
    }

    /// Header rows: names (objects: nulls or types under the names), native types, SQL types.
    fn headers(&self) -> Vec<Vec<Value>> {
        let texts = |text: fn(&ColumnDescriptor) -> &str| {
            self.signature.iter().map(|column| json!(text(column))).collect()
        };
        if !self.shape.header {
            return Vec::new();
        }
        if matches!(
            self.shape.format,
            ResultFormat::Object | ResultFormat::ObjectLines
        ) {
            return vec![
                self.signature
                    .iter()
                    .map(|column| self.object_header(column))
                    .collect(),
            ];
        }
        let mut headers: Vec<Vec<Value>> = vec![texts(|column| &column.name)];
        if self.shape.types_header {
            headers.push(texts(|column| &column.native_type));
        }
        if self.shape.sql_types_header {
            headers.push(texts(|column| &column.sql_type));
        }
        headers
    }

    fn object_header(&self, column: &ColumnDescriptor) -> Value {
        let mut types = Map::new();
        if self.shape.types_header {
            types.insert("type".to_owned(), json!(column.native_type));
        }
        if self.shape.sql_types_header {
            types.insert("sqlType".to_owned(), json!(column.sql_type));
        }
        if types.is_empty() {
            Value::Null
        } else {
            Value::Object(types)
        }
    }

    fn row(&mut self, cells: Vec<Value>) {
        if self.is_list() && self.rows > 0 {
            self.bytes.push(b',');
        }
        self.rows += 1;
        match self.shape.format {
            ResultFormat::Array | ResultFormat::ArrayLines => self.json(&Value::Array(cells)),
            ResultFormat::Object | ResultFormat::ObjectLines => {
                let named = self
                    .signature
                    .iter()
                    .map(|column| column.name.clone())
                    .zip(cells)
                    .collect();
                self.json(&Value::Object(named));
            }
            ResultFormat::Csv => {
                let line: Vec<String> = cells.iter().map(csv_cell).collect();
                self.bytes.extend_from_slice(line.join(",").as_bytes());
            }
        }
        if !self.is_list() {
            self.bytes.push(b'\n');
        }
    }

    fn json(&mut self, value: &Value) {
        self.bytes.extend_from_slice(value.to_string().as_bytes());
    }

    /// Line formats end with an empty line, from which a client sees that nothing was cut off.
    pub fn end(&mut self) {
        self.bytes
            .extend_from_slice(if self.is_list() { b"]\n" } else { b"\n" });
    }
}

fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Columns in the few types that cells are made of.
fn prepared(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch
        .columns()
        .iter()
        .map(|column| {
            let target = match column.data_type() {
                DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..) => DataType::Utf8,
                DataType::Timestamp(unit, zone) if *unit != TimeUnit::Millisecond => {
                    DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
                }
                DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
                DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Float16 => DataType::Float64,
                DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
                _ => return Arc::clone(column),
            };
            cast(column, &target).unwrap_or_else(|_| Arc::clone(column))
        })
        .collect()
}

fn row_of(columns: &[ArrayRef], row: usize, style: &Style) -> Vec<Value> {
    columns
        .iter()
        .map(|column| match cell(column, row, style) {
            list @ Value::Array(_) if style.stringify_arrays => Value::String(as_text(&list)),
            value => value,
        })
        .collect()
}

fn cell(column: &ArrayRef, row: usize, style: &Style) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int8 => json!(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => json!(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => json!(column.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => json!(column.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            // The shortest text of the float, not that of its double.
            if value.is_finite() {
                value
                    .to_string()
                    .parse::<f64>()
                    .map_or(Value::Null, |value| json!(value))
            } else {
                float(value.into())
            }
        }
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Utf8View => json!(column.as_string_view().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let ms = column.as_primitive::<TimestampMillisecondType>().value(row);
            match style.times {
                Times::Iso(zone) => json!(iso_in(ms, zone)),
                Times::Millis => json!(ms),
            }
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|item| cell(&items, item, style)).collect()
        }
        // A multi-value string: one value is that text, several are the text of an array.
        DataType::LargeList(_) => {
            let items = column.as_list::<i64>().value(row);
            match items.len() {
                0 => Value::Null,
                1 => cell(&items, 0, style),
                length => {
                    let values: Value = (0..length).map(|item| cell(&items, item, style)).collect();
                    json!(as_text(&values))
                }
            }
        }
        // A value of a COMPLEX type: the JSON of its base64, as text.
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            json!(format!(
                "\"{}\"",
                base64::engine::general_purpose::STANDARD.encode(bytes)
            ))
        }
        _ => match arrow::util::display::array_value_to_string(column, row) {
            Ok(text) => json!(text),
            Err(_) => Value::Null,
        },
    }
}

/// An array as the text that Jackson writes: doubles as Java writes them.
fn as_text(list: &Value) -> String {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, JavaNumbers);
    match list.serialize(&mut writer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => list.to_string(),
    }
}

struct JavaNumbers;

impl serde_json::ser::Formatter for JavaNumbers {
    fn write_f64<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        writer.write_all(sarsen_functions::double_text(value).as_bytes())
    }
}

/// JSON has no words for what is not a number; Druid puts them into quotes.
fn float(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Float64Array, Int64Array, ListArray, StringViewArray, TimestampMillisecondArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn an_array_as_text_has_doubles_as_java_writes_them() {
        let list = json!([1e300, 1.5, 2, "a\"b", null]);
        assert_eq!(as_text(&list), r#"[1.0E300,1.5,2,"a\"b",null]"#);
    }

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            (
                "t",
                Arc::new(TimestampMillisecondArray::from(vec![0, 1_442_018_818_771]).with_timezone("UTC"))
                    as ArrayRef,
            ),
            ("s", Arc::new(StringViewArray::from(vec![Some("a,\"b\""), None]))),
            ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("d", Arc::new(Float64Array::from(vec![f64::NAN, 1.5]))),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                    Some([Some(1), None]),
                    None,
                ])),
            ),
        ])
        .unwrap()
    }

    fn signature() -> Vec<ColumnDescriptor> {
        [
            ("t", "LONG", "TIMESTAMP"),
            ("s", "STRING", "VARCHAR"),
            ("n", "LONG", "BIGINT"),
            ("d", "DOUBLE", "DOUBLE"),
            ("l", "ARRAY<LONG>", "ARRAY"),
        ]
        .map(|(name, native, sql)| ColumnDescriptor {
            name: name.to_owned(),
            native_type: native.to_owned(),
            sql_type: sql.to_owned(),
        })
        .to_vec()
    }

    fn written(format: ResultFormat, header: bool) -> String {
        let style = Style {
            times: Times::Iso(Tz::UTC),
            stringify_arrays: true,
        };
        let shape = Shape {
            format,
            header,
            types_header: header,
            sql_types_header: false,
            style,
        };
        String::from_utf8(write(&[batch()], &signature(), &shape)).unwrap()
    }

    #[test]
    fn every_format_writes_the_same_rows() {
        assert_eq!(
            written(ResultFormat::ArrayLines, true),
            "[\"t\",\"s\",\"n\",\"d\",\"l\"]\n[\"LONG\",\"STRING\",\"LONG\",\"DOUBLE\",\"ARRAY<LONG>\"]\n\
             [\"1970-01-01T00:00:00.000Z\",\"a,\\\"b\\\"\",1,\"NaN\",\"[1,null]\"]\n\
             [\"2015-09-12T00:46:58.771Z\",null,null,1.5,null]\n\n"
        );
        assert_eq!(
            written(ResultFormat::Csv, false),
            "1970-01-01T00:00:00.000Z,\"a,\"\"b\"\"\",1,NaN,\"[1,null]\"\n2015-09-12T00:46:58.771Z,,,1.5,\n\n"
        );
        let objects: Value = serde_json::from_str(&written(ResultFormat::Object, true)).unwrap();
        assert_eq!(objects.pointer("/0/t"), Some(&json!({ "type": "LONG" })));
        assert_eq!(objects.pointer("/2/d"), Some(&json!(1.5)));
    }

    #[test]
    fn reports_write_times_as_numbers() {
        let style = Style {
            times: Times::Millis,
            stringify_arrays: false,
        };
        let rows = rows(&[batch()], &style);
        assert_eq!(rows.pointer("/1/0"), Some(&json!(1_442_018_818_771_i64)));
        assert_eq!(rows.pointer("/0/4"), Some(&json!([1, null])));
    }
}
