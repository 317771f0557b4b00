//! CAST as Druid means it: what does not fit is NULL, a fraction is cut off, times are written as SQL has them.
//!
//! The planner puts these functions in place of casts between types whose Arrow casts mean something else.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, ListArray,
    StringViewArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, TimestampMillisecondType};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, ScalarUDF};

use crate::function::{Body, Definition, Gives, defined, list_of};
use crate::number::print::{double_text, float_text};
use crate::operand::{Operand, is_text};
use crate::time::{Pattern, parse_iso, timestamp_type};

const ANY: &[Operand] = &[Operand::Any];

const fn to(name: &'static str, gives: Gives, body: Body) -> Definition {
    Definition::new(name, ANY, gives, body)
}

const CASTS: [Definition; 10] = [
    to("__cast_text", Gives::Text, |call| to_text(&call.array(0)?)),
    to("__cast_long", Gives::Long, |call| to_long(&call.array(0)?)),
    to("__cast_double", Gives::Double, |call| to_double(&call.array(0)?)),
    to("__cast_float", Gives::Of(|_| Ok(DataType::Float32)), |call| {
        Ok(cast(&to_double(&call.array(0)?)?, &DataType::Float32)?)
    }),
    to("__cast_time", Gives::Time, |call| to_time(&call.array(0)?)),
    to("__cast_condition", Gives::Condition, |call| {
        to_condition(&call.array(0)?)
    }),
    to("__cast_texts", Gives::Texts, |call| {
        to_list(&call.array(0)?, &DataType::Utf8View)
    }),
    to(
        "__cast_longs",
        Gives::Of(|_| Ok(list_of(DataType::Int64))),
        |call| to_list(&call.array(0)?, &DataType::Int64),
    ),
    to(
        "__cast_doubles",
        Gives::Of(|_| Ok(list_of(DataType::Float64))),
        |call| to_list(&call.array(0)?, &DataType::Float64),
    ),
    to(
        "__cast_floats",
        Gives::Of(|_| Ok(list_of(DataType::Float32))),
        |call| to_list(&call.array(0)?, &DataType::Float32),
    ),
];

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(CASTS)
}

/// `expr`, which is of type `from`, as `to`, where Druid's cast differs from Arrow's; `None` where Arrow's will do.
pub fn druid_cast(expr: &Expr, from: &DataType, to: &DataType) -> Option<Expr> {
    let name = match (from, to) {
        _ if from == to => return None,
        (DataType::Null, _) => return None,
        (DataType::List(from), DataType::List(to)) => {
            if is_text(from.data_type()) && is_text(to.data_type()) {
                return None;
            }
            match to.data_type() {
                text if is_text(text) => "__cast_texts",
                DataType::Int64 => "__cast_longs",
                DataType::Float64 => "__cast_doubles",
                DataType::Float32 => "__cast_floats",
                _ => return None,
            }
        }
        (from, to) if is_text(to) && !is_text(from) && !from.is_nested() => "__cast_text",
        (DataType::Timestamp(..), DataType::Timestamp(..)) => return None,
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(..)) => return None,
        (from, time @ DataType::Timestamp(..)) if is_text(from) => {
            let millis = crate::registry::call("__cast_time", vec![expr.clone()])?;
            return Some(if *time == timestamp_type() {
                millis
            } else {
                datafusion::logical_expr::cast(millis, time.clone())
            });
        }
        (from, DataType::Int64) if is_text(from) || from.is_floating() => "__cast_long",
        (from, DataType::Float64) if is_text(from) => "__cast_double",
        (from, DataType::Float32) if is_text(from) => "__cast_float",
        (from, DataType::Boolean) if is_text(from) => "__cast_condition",
        _ => return None,
    };
    crate::registry::call(name, vec![expr.clone()])
}

/// An array as another type, as CAST has it.
///
/// # Errors
/// Between types that have no cast.
pub(crate) fn to_type(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match to {
        same if same == array.data_type() => Ok(Arc::clone(array)),
        text if is_text(text) => to_text(array),
        DataType::Int64 => to_long(array),
        DataType::Float64 => to_double(array),
        DataType::Float32 => Ok(cast(&to_double(array)?, to)?),
        DataType::Timestamp(..) => to_time(array),
        DataType::Boolean => to_condition(array),
        DataType::List(element) => to_list(array, element.data_type()),
        other => Ok(cast(array, other)?),
    }
}

/// A text of each element.
pub(crate) fn to_text(array: &ArrayRef) -> Result<ArrayRef> {
    let texts: StringViewArray = match array.data_type() {
        DataType::Float64 => {
            let doubles = array.as_primitive::<Float64Type>();
            doubles.iter().map(|value| value.map(double_text)).collect()
        }
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            floats.iter().map(|value| value.map(float_text)).collect()
        }
        DataType::Boolean => {
            let conditions = array.as_boolean();
            conditions
                .iter()
                .map(|value| value.map(|value| if value { "true" } else { "false" }))
                .collect()
        }
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            let times = cast(array, &timestamp_type())?;
            let pattern = Pattern::sql();
            times
                .as_primitive::<TimestampMillisecondType>()
                .iter()
                .map(|time| pattern.format(time?, Tz::UTC))
                .collect()
        }
        DataType::List(_) => crate::json::write::texts(array)?,
        _ => return Ok(cast(array, &DataType::Utf8View)?),
    };
    Ok(Arc::new(texts))
}

/// A number that a text means: a whole one where it is one.
fn parse_number(text: &str) -> Option<Number> {
    if text.eq_ignore_ascii_case("true") {
        return Some(Number::Long(1));
    }
    if text.eq_ignore_ascii_case("false") {
        return Some(Number::Long(0));
    }
    if let Ok(long) = text.parse::<i64>() {
        return Some(Number::Long(long));
    }
    // Rust reads words such as `inf` which Java does not know.
    let is_word = text
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E'));
    match text {
        "NaN" => Some(Number::Double(f64::NAN)),
        "Infinity" | "+Infinity" => Some(Number::Double(f64::INFINITY)),
        "-Infinity" => Some(Number::Double(f64::NEG_INFINITY)),
        _ if is_word => None,
        _ => text.parse().ok().map(Number::Double),
    }
}

enum Number {
    Long(i64),
    Double(f64),
}

/// The whole number that a text means.
pub(crate) fn parse_long(text: &str) -> Option<i64> {
    parse_number(text).map(|number| match number {
        Number::Long(long) => long,
        Number::Double(double) => double as i64,
    })
}

/// The number that a text means.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    parse_number(text).map(|number| match number {
        Number::Long(long) => long as f64,
        Number::Double(double) => double,
    })
}

fn texts_of(array: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast(array, &DataType::Utf8View)?.as_string_view().clone())
}

fn to_long(array: &ArrayRef) -> Result<ArrayRef> {
    let longs: Int64Array = match array.data_type() {
        text if is_text(text) => texts_of(array)?
            .iter()
            .map(|text| text.and_then(parse_long))
            .collect(),
        DataType::Float64 | DataType::Float32 => {
            let doubles = cast(array, &DataType::Float64)?;
            doubles
                .as_primitive::<Float64Type>()
                .iter()
                .map(|value| value.map(|value| value as i64))
                .collect()
        }
        _ => return Ok(cast(array, &DataType::Int64)?),
    };
    Ok(Arc::new(longs))
}

fn to_double(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        text if is_text(text) => {
            let doubles: Float64Array = texts_of(array)?
                .iter()
                .map(|text| text.and_then(parse_double))
                .collect();
            Ok(Arc::new(doubles))
        }
        DataType::Timestamp(..) => Ok(cast(&cast(array, &DataType::Int64)?, &DataType::Float64)?),
        _ => Ok(cast(array, &DataType::Float64)?),
    }
}

fn to_time(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        text if is_text(text) => {
            let times: TimestampMillisecondArray = texts_of(array)?
                .iter()
                .map(|text| text.and_then(|text| parse_iso(text, Tz::UTC)))
                .collect();
            Ok(Arc::new(times.with_timezone("UTC")))
        }
        DataType::Float64 | DataType::Float32 => Ok(cast(&to_long(array)?, &timestamp_type())?),
        _ => Ok(cast(array, &timestamp_type())?),
    }
}

fn to_condition(array: &ArrayRef) -> Result<ArrayRef> {
    let conditions: BooleanArray = match array.data_type() {
        text if is_text(text) => texts_of(array)?
            .iter()
            .map(|text| text.map(|text| text.eq_ignore_ascii_case("true")))
            .collect(),
        DataType::Float32 => {
            let floats: &Float32Array = array.as_primitive();
            floats
                .iter()
                .map(|value| value.map(|value| value > 0.0))
                .collect()
        }
        DataType::Float64 => {
            let doubles: &Float64Array = array.as_primitive();
            doubles
                .iter()
                .map(|value| value.map(|value| value > 0.0))
                .collect()
        }
        DataType::Int64 => {
            let longs = array.as_primitive::<Int64Type>();
            longs.iter().map(|value| value.map(|value| value > 0)).collect()
        }
        _ => return Ok(cast(array, &DataType::Boolean)?),
    };
    Ok(Arc::new(conditions))
}

/// Lists of such elements; a scalar becomes a list of one.
fn to_list(array: &ArrayRef, element: &DataType) -> Result<ArrayRef> {
    let Some(lists) = array.as_list_opt::<i32>() else {
        let ones = to_type(array, element)?;
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(1, array.len()));
        return Ok(Arc::new(ListArray::new(
            Arc::new(Field::new_list_field(element.clone(), true)),
            offsets,
            ones,
            array.nulls().cloned(),
        )));
    };
    let values = to_type(lists.values(), element)?;
    Ok(Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(element.clone(), true)),
        lists.offsets().clone(),
        values,
        lists.nulls().cloned(),
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_text_that_is_no_number_is_null() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![
            "1", "1.9", "-2e1", "x", "", "true", "inf",
        ]));
        let longs = to_long(&texts).unwrap();
        assert_eq!(
            longs.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            [Some(1), Some(1), Some(-20), None, None, Some(1), None]
        );
        let doubles = to_double(&texts).unwrap();
        assert_eq!(doubles.as_primitive::<Float64Type>().value(1), 1.9);
    }

    #[test]
    fn times_are_written_as_sql_has_them_and_read_in_both_forms() {
        let times: ArrayRef =
            Arc::new(TimestampMillisecondArray::from(vec![1_566_691_200_031]).with_timezone("UTC"));
        assert_eq!(
            to_text(&times).unwrap().as_string_view().value(0),
            "2019-08-25 00:00:00"
        );
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![
            "2019-08-25 00:00:00",
            "2019-08-25T00:00:00Z",
            "2019-08-25",
            "no time",
        ]));
        let times = to_time(&texts).unwrap();
        assert_eq!(
            times
                .as_primitive::<TimestampMillisecondType>()
                .iter()
                .collect::<Vec<_>>(),
            [
                Some(1_566_691_200_000),
                Some(1_566_691_200_000),
                Some(1_566_691_200_000),
                None
            ]
        );
    }

    #[test]
    fn lists_are_cast_element_by_element() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            None,
        ]));
        let texts = to_list(&lists, &DataType::Utf8View).unwrap();
        assert_eq!(texts.as_list::<i32>().value(0).as_string_view().value(0), "1");
        assert!(texts.is_null(1));
    }
}
