//! Arrays of arrays and the like, from JSON. An element that its type cannot hold is null.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use serde_json::Value;

use crate::signature::DruidType;

pub(super) fn text(element: Value) -> Option<String> {
    match element {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

pub(super) fn long(element: &Value) -> Option<i64> {
    let from_text = || element.as_str().and_then(|text| text.parse().ok());
    let from_double = element.as_f64().map(|value| value as i64);
    let from_bool = || element.as_bool().map(i64::from);
    element
        .as_i64()
        .or(from_double)
        .or_else(from_text)
        .or_else(from_bool)
}

pub(super) fn double(element: &Value) -> Option<f64> {
    let from_text = || element.as_str().and_then(|text| text.parse().ok());
    let from_bool = || element.as_bool().map(|value| f64::from(u8::from(value)));
    element.as_f64().or_else(from_text).or_else(from_bool)
}

/// Arrays with elements of a type, one a row.
pub(super) fn arrays(rows: Vec<Option<Vec<Value>>>, element: &DruidType) -> ArrayRef {
    let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len)).collect();
    let valid: NullBuffer = rows.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    let elements: Vec<Value> = rows.into_iter().flatten().flatten().collect();
    Arc::new(ListArray::new(
        Arc::new(element.arrow_field("item")),
        OffsetBuffer::from_lengths(lengths),
        values(elements, element),
        Some(valid),
    ))
}

fn values(values: Vec<Value>, of_type: &DruidType) -> ArrayRef {
    match of_type {
        DruidType::String | DruidType::MultiValue => {
            Arc::new(values.into_iter().map(text).collect::<StringViewArray>())
        }
        DruidType::Long => Arc::new(values.iter().map(long).collect::<Int64Array>()),
        DruidType::Double => Arc::new(values.iter().map(double).collect::<Float64Array>()),
        DruidType::Float => {
            let floats = values.iter().map(|value| double(value).map(|value| value as f32));
            Arc::new(floats.collect::<Float32Array>())
        }
        DruidType::Complex(_) => {
            let texts = values.iter().map(|value| match value {
                Value::Null => None,
                other => Some(other.to_string()),
            });
            Arc::new(texts.collect::<LargeStringArray>())
        }
        DruidType::Array(element) => {
            let rows = values.into_iter().map(|value| match value {
                Value::Null => None,
                Value::Array(elements) => Some(elements),
                other => Some(vec![other]),
            });
            arrays(rows.collect(), element)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int64Type;
    use serde_json::json;

    use super::*;

    #[test]
    fn arrays_hold_arrays() {
        let rows = vec![
            Some(vec![json!([1, "2"]), json!(null), json!(3)]),
            None,
            Some(vec![]),
        ];
        let made = arrays(rows, &DruidType::Array(Box::new(DruidType::Long)));
        let lists = made.as_list::<i32>();
        assert!(lists.is_null(1) && lists.value(2).is_empty());
        let first = lists.value(0);
        let first = first.as_list::<i32>();
        assert!(first.is_null(1));
        let numbers = |row: usize| first.value(row).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!((numbers(0), numbers(2)), (vec![1, 2], vec![3]));
    }
}
