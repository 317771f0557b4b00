//! Rows as lines of CSV and JSON, as Druid writes values (Druid: SqlResults.coerce, CsvWriter).

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMillisecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use base64::Engine;
use datafusion::common::{Result, exec_err};

/// Names of the columns as a line.
pub(super) fn csv_header(schema: &Schema) -> Vec<u8> {
    let names = schema.fields().iter().map(|field| quoted(field.name()));
    (names.collect::<Vec<_>>().join(",") + "\n").into_bytes()
}

/// A line a row. A line of one empty value is quoted, so that none of the lines is empty.
pub(super) fn csv_lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    let columns = prepared(batch)?;
    let mut lines = Vec::with_capacity(batch.num_rows() * columns.len() * 8);
    let mut value = Vec::new();
    for row in 0..batch.num_rows() {
        let start = lines.len();
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                lines.push(b',');
            }
            value.clear();
            if !column.is_null(row) {
                plain(column, row, &mut value)?;
            }
            push_quoted(&value, &mut lines);
        }
        if lines.len() == start {
            lines.extend_from_slice(b"\"\"");
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// An object a line, with a field for every column.
pub(super) fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    let columns = prepared(batch)?;
    let schema = batch.schema();
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| serde_json::Value::from(field.name().as_str()).to_string())
        .collect();
    let mut lines = Vec::with_capacity(batch.num_rows() * columns.len() * 16);
    for row in 0..batch.num_rows() {
        for (position, (column, name)) in columns.iter().zip(&names).enumerate() {
            lines.push(if position == 0 { b'{' } else { b',' });
            lines.extend_from_slice(name.as_bytes());
            lines.push(b':');
            json(column, row, &mut lines)?;
        }
        if columns.is_empty() {
            lines.push(b'{');
        }
        lines.extend_from_slice(b"}\n");
    }
    Ok(lines)
}

/// A value as text, as the name of a folder has it; `None` for NULL.
pub(super) fn text(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    let column = simple(column)?;
    if column.is_null(row) {
        return Ok(None);
    }
    let mut value = Vec::new();
    plain(&column, row, &mut value)?;
    Ok(Some(String::from_utf8_lossy(&value).into_owned()))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    push_quoted(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn push_quoted(value: &[u8], out: &mut Vec<u8>) {
    if !value
        .iter()
        .any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'))
    {
        out.extend_from_slice(value);
        return;
    }
    out.push(b'"');
    for byte in value {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Columns in the few types that values are made of.
fn prepared(batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    batch.columns().iter().map(simple).collect()
}

fn simple(column: &ArrayRef) -> Result<ArrayRef> {
    let target = match column.data_type() {
        DataType::Utf8View | DataType::Dictionary(..) => DataType::Utf8,
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Millisecond => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Float16 => DataType::Float64,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        _ => return Ok(Arc::clone(column)),
    };
    Ok(cast(column, &target)?)
}

/// A value that is not NULL as it stands in CSV: texts as they are, all else as JSON.
fn plain(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
    match column.data_type() {
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Float32 | DataType::Float64 => {
            let value = double(column, row);
            out.extend_from_slice(number_text(column, row, value).as_bytes());
        }
        // A multi-value string of one value is that text.
        DataType::LargeList(_) if column.as_list::<i64>().value(row).len() == 1 => {
            let items = simple(&column.as_list::<i64>().value(row))?;
            if !items.is_null(0) {
                plain(&items, 0, out)?;
            }
        }
        DataType::LargeList(_) if column.as_list::<i64>().value(row).is_empty() => {}
        _ => json(column, row, out)?,
    }
    Ok(())
}

fn double(column: &ArrayRef, row: usize) -> f64 {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().value(row).into(),
        _ => column.as_primitive::<Float64Type>().value(row),
    }
}

/// As Java writes it; of a float, the shortest text that means it.
fn number_text(column: &ArrayRef, row: usize, value: f64) -> String {
    let shortest = match column.data_type() {
        DataType::Float32 if value.is_finite() => column
            .as_primitive::<Float32Type>()
            .value(row)
            .to_string()
            .parse()
            .unwrap_or(value),
        _ => value,
    };
    sarsen_functions::double_text(shortest)
}

fn json(column: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    macro_rules! number {
        ($kind:ty) => {
            write!(out, "{}", column.as_primitive::<$kind>().value(row))?
        };
    }
    match column.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => write!(out, "{}", column.as_boolean().value(row))?,
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Timestamp(TimeUnit::Millisecond, _) => number!(TimestampMillisecondType),
        DataType::Float32 | DataType::Float64 => {
            let value = double(column, row);
            let text = number_text(column, row, value);
            // JSON has no words for what is not a number; Druid puts them into quotes.
            if value.is_finite() {
                out.extend_from_slice(text.as_bytes());
            } else {
                write!(out, "\"{text}\"")?;
            }
        }
        DataType::Utf8 => push_json(column.as_string::<i32>().value(row), out)?,
        // Of the type `COMPLEX<json>`: it is JSON already.
        DataType::LargeUtf8 => out.extend_from_slice(column.as_string::<i64>().value(row).as_bytes()),
        DataType::List(_) => list(&column.as_list::<i32>().value(row), out)?,
        DataType::LargeList(_) => {
            let items = column.as_list::<i64>().value(row);
            match items.len() {
                0 => out.extend_from_slice(b"null"),
                1 => json(&simple(&items)?, 0, out)?,
                _ => list(&items, out)?,
            }
        }
        DataType::Binary => {
            let text = base64::engine::general_purpose::STANDARD.encode(column.as_binary::<i32>().value(row));
            push_json(&text, out)?;
        }
        other => return exec_err!("a column of type {other} cannot be exported as text"),
    }
    Ok(())
}

fn list(items: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    let items = simple(items)?;
    out.push(b'[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(b',');
        }
        json(&items, item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn push_json(text: &str, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, text)
        .map_err(|error| datafusion::common::DataFusionError::External(Box::new(error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{
        BinaryArray, BooleanArray, Float32Array, Float64Array, Int64Array, LargeListArray, LargeStringArray,
        ListArray, StringViewArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::Field;

    use super::*;

    fn batch() -> RecordBatch {
        let multi = LargeListArray::new(
            Arc::new(Field::new("item", DataType::Utf8View, true)),
            arrow::buffer::OffsetBuffer::from_lengths([2, 1]),
            Arc::new(StringViewArray::from(vec!["x", "y", "z"])),
            None,
        );
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "t",
                Arc::new(TimestampMillisecondArray::from(vec![0, 1_442_018_818_771]).with_timezone("UTC")),
            ),
            ("s", Arc::new(StringViewArray::from(vec![Some("a,\"b\""), None]))),
            ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("d", Arc::new(Float64Array::from(vec![f64::NAN, 1e300]))),
            ("f", Arc::new(Float32Array::from(vec![0.1, 1.0]))),
            ("b", Arc::new(BooleanArray::from(vec![true, false]))),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                    Some([Some(1), None]),
                    None,
                ])),
            ),
            ("m", Arc::new(multi)),
            (
                "j",
                Arc::new(LargeStringArray::from(vec![Some("{\"c\":1}"), None])),
            ),
            ("x", Arc::new(BinaryArray::from(vec![b"ab".as_slice(), b""]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn values_are_written_as_druid_writes_them() {
        let lines = String::from_utf8(csv_lines(&batch()).unwrap()).unwrap();
        assert_eq!(
            lines,
            "0,\"a,\"\"b\"\"\",1,NaN,0.1,true,\"[1,null]\",\"[\"\"x\"\",\"\"y\"\"]\",\"{\"\"c\"\":1}\",\"\"\"YWI=\"\"\"\n\
             1442018818771,,,1.0E300,1.0,false,,z,,\"\"\"\"\"\"\n"
        );
        let lines = String::from_utf8(json_lines(&batch()).unwrap()).unwrap();
        let mut rows = lines.lines();
        assert_eq!(
            rows.next().unwrap(),
            r#"{"t":0,"s":"a,\"b\"","n":1,"d":"NaN","f":0.1,"b":true,"l":[1,null],"m":["x","y"],"j":{"c":1},"x":"YWI="}"#
        );
        let second: serde_json::Value = serde_json::from_str(rows.next().unwrap()).unwrap();
        assert_eq!(second.get("d").unwrap(), &serde_json::json!(1e300));
        assert_eq!(second.get("m").unwrap(), "z");
    }

    #[test]
    fn no_line_of_csv_is_empty() {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![None, Some(""), Some("a")]));
        let one = RecordBatch::try_from_iter([("a b", column)]).unwrap();
        assert_eq!(csv_lines(&one).unwrap(), b"\"\"\n\"\"\na\n");
        assert_eq!(csv_header(&one.schema()), b"a b\n");
    }
}
