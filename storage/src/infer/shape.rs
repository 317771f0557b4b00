//! What the values of a column have in common.

use serde_json::Value;

use crate::signature::DruidType;

/// What some values are; each includes those before it, as far as they have an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// No value at all.
    Null,
    /// Whole numbers and truth values.
    Long,
    Double,
    Text,
    Array(Box<Shape>),
    /// Objects, and what has nothing else in common.
    Json,
}

impl Shape {
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Shape::Null,
            Value::Bool(_) => Shape::Long,
            Value::Number(number) if number.is_i64() => Shape::Long,
            Value::Number(_) => Shape::Double,
            Value::String(_) => Shape::Text,
            Value::Array(elements) => Shape::array(elements, Shape::of_value),
            Value::Object(_) => Shape::Json,
        }
    }

    /// Of a value in a text file, where numbers are texts too.
    pub(super) fn of_text(value: &Value) -> Self {
        match value {
            Value::String(text) => number(text),
            Value::Array(elements) => Shape::array(elements, Shape::of_text),
            other => Shape::of_value(other),
        }
    }

    fn array(elements: &[Value], shape: fn(&Value) -> Shape) -> Self {
        let element = elements.iter().map(shape).fold(Shape::Null, Shape::and);
        match element {
            Shape::Json => Shape::Json,
            element => Shape::Array(Box::new(element)),
        }
    }

    /// What these and others are together.
    pub(super) fn and(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Null, shape) | (shape, Shape::Null) => shape,
            (Shape::Json, _) | (_, Shape::Json) => Shape::Json,
            (Shape::Array(left), Shape::Array(right)) => array_of(left.and(*right)),
            // A reader takes a single value for an array of it.
            (Shape::Array(element), single) | (single, Shape::Array(element)) => {
                array_of(element.and(single))
            }
            (Shape::Text, _) | (_, Shape::Text) => Shape::Text,
            (Shape::Double, _) | (_, Shape::Double) => Shape::Double,
            (Shape::Long, Shape::Long) => Shape::Long,
        }
    }

    /// The type of a column that holds them all.
    pub(super) fn druid_type(&self) -> DruidType {
        match self {
            Shape::Null | Shape::Text => DruidType::String,
            Shape::Long => DruidType::Long,
            Shape::Double => DruidType::Double,
            Shape::Array(element) => DruidType::Array(Box::new(element.druid_type())),
            Shape::Json => DruidType::Complex("json".to_owned()),
        }
    }
}

fn array_of(element: Shape) -> Shape {
    match element {
        Shape::Json => Shape::Json,
        element => Shape::Array(Box::new(element)),
    }
}

/// A text that is a number and would look the same as one: `007` and `+1` would not.
fn number(text: &str) -> Shape {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let begins_well = match digits.as_bytes() {
        [b'0', rest, ..] => *rest == b'.',
        [first, ..] => first.is_ascii_digit(),
        [] => false,
    };
    if !begins_well
        || !digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return Shape::Text;
    }
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(_), _) => Shape::Long,
        // More digits than a double has are those of a key.
        (Err(_), Ok(_)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Shape::Text,
        (Err(_), Ok(value)) if value.is_finite() => Shape::Double,
        _ => Shape::Text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_a_type_in_common() {
        for (values, expected) in [
            (vec![json!(1), json!(null), json!(true)], "LONG"),
            (vec![json!(1), json!(2.5)], "DOUBLE"),
            (vec![json!(u64::MAX)], "DOUBLE"),
            (vec![json!(1), json!("a")], "STRING"),
            (vec![json!(null)], "STRING"),
            (vec![json!([1, null]), json!([2.5]), json!([])], "ARRAY<DOUBLE>"),
            (vec![json!([]), json!("a")], "ARRAY<STRING>"),
            (vec![json!([[1], [2, 3]])], "ARRAY<ARRAY<LONG>>"),
            (vec![json!([{ "a": 1 }])], "COMPLEX<json>"),
            (vec![json!({ "a": 1 }), json!(1)], "COMPLEX<json>"),
        ] {
            let shape = values.iter().map(Shape::of_value).fold(Shape::Null, Shape::and);
            assert_eq!(shape.druid_type().name(), expected, "{values:?}");
        }
    }

    #[test]
    fn texts_are_numbers_where_nothing_is_lost() {
        for (text, expected) in [
            ("12", Shape::Long),
            ("-7", Shape::Long),
            ("0", Shape::Long),
            ("1.50", Shape::Double),
            ("-0.5", Shape::Double),
            ("1e3", Shape::Double),
            ("007", Shape::Text),
            ("+1", Shape::Text),
            ("99999999999999999999", Shape::Text),
            ("1.2.3", Shape::Text),
            ("2015-09-12", Shape::Text),
            ("NaN", Shape::Text),
            ("", Shape::Text),
        ] {
            assert_eq!(Shape::of_text(&json!(text)), expected, "{text}");
        }
    }
}
