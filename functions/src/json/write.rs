//! JSON as text, and Arrow values as JSON.

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimestampMillisecondType};
use datafusion::common::Result;

use super::value::Json;
use crate::cast::to_text;
use crate::number::print::double_text;

/// A value as Jackson writes it: no spaces.
pub(crate) fn json_text(value: &Json) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(text: &mut String, value: &Json) {
    match value {
        Json::Null => text.push_str("null"),
        Json::Condition(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::Long(value) => text.push_str(&value.to_string()),
        Json::Double(value) if value.is_finite() => text.push_str(&double_text(*value)),
        Json::Double(value) => quote(text, &double_text(*value)),
        Json::Text(value) => quote(text, value),
        Json::Array(elements) => {
            text.push('[');
            for (position, element) in elements.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write(text, element);
            }
            text.push(']');
        }
        Json::Object(fields) => {
            text.push('{');
            for (position, (name, field)) in fields.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                quote(text, name);
                text.push(':');
                write(text, field);
            }
            text.push('}');
        }
    }
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' => text.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// The rows of a column as JSON values; a JSON column's texts are read.
pub(crate) fn values(array: &ArrayRef) -> Result<Vec<Json>> {
    let of = |value: fn(&ArrayRef, usize) -> Json| -> Vec<Json> {
        (0..array.len())
            .map(|row| {
                if array.is_null(row) {
                    Json::Null
                } else {
                    value(array, row)
                }
            })
            .collect()
    };
    Ok(match array.data_type() {
        DataType::Null => vec![Json::Null; array.len()],
        DataType::Boolean => of(|array, row| Json::Condition(array.as_boolean().value(row))),
        DataType::Int64 => of(|array, row| Json::Long(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => of(|array, row| Json::Double(array.as_primitive::<Float64Type>().value(row))),
        DataType::Float32 => {
            of(|array, row| Json::Double(array.as_primitive::<Float32Type>().value(row).into()))
        }
        DataType::Timestamp(..) => {
            of(|array, row| Json::Long(array.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        DataType::LargeUtf8 => {
            of(|array, row| Json::parse(array.as_string::<i64>().value(row)).unwrap_or(Json::Null))
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let elements = values(lists.values())?;
            (0..lists.len())
                .map(|row| match crate::array::span(lists, row) {
                    None => Json::Null,
                    Some(span) => Json::Array(elements.get(span).unwrap_or_default().to_vec()),
                })
                .collect()
        }
        DataType::LargeList(_) => {
            let lists = arrow::compute::cast(array, &crate::function::list_of(DataType::Utf8View))?;
            values(&lists)?
                .into_iter()
                .map(|value| match value {
                    // One value is no array.
                    Json::Array(mut elements) if elements.len() == 1 => elements.pop().unwrap_or(Json::Null),
                    other => other,
                })
                .collect()
        }
        _ => {
            let texts = to_text(array)?;
            let texts = texts.as_string_view();
            texts
                .iter()
                .map(|text| text.map_or(Json::Null, |text| Json::Text(text.to_owned())))
                .collect()
        }
    })
}

/// The rows of a column as JSON texts; NULL stays NULL.
pub(crate) fn texts(array: &ArrayRef) -> Result<StringViewArray> {
    Ok(values(array)?
        .iter()
        .enumerate()
        .map(|(row, value)| array.is_valid(row).then(|| json_text(value)))
        .collect())
}
