//! Parts of JSON: JSON_VALUE, JSON_QUERY and what looks into their paths.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeStringArray, ListBuilder, StringViewBuilder,
};
use arrow::array::{Float64Builder, Int64Builder, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use super::path::{Path, paths};
use super::value::Json;
use super::write::{json_text, values};
use crate::cast::{parse_double, parse_long, to_type};
use crate::function::{Call, Definition, Gives, list_of};
use crate::number::print::double_text;
use crate::operand::Operand::{Any, Text};
use crate::time::timestamp_type;

const fn value(name: &'static str, gives: Gives) -> Definition {
    Definition::new(name, &[Any, Text], gives, json_value)
}

/// Whether a filter takes what is at a path for a value: a primitive one, or an array of such.
pub const HAS_VALUE: &str = "__json_has_value";

/// JSON_VALUE is one function per type that it returns: a fragment's functions are found by name.
pub(super) const FUNCTIONS: [Definition; 14] = [
    value("json_value", Gives::Text),
    value("__json_value_long", Gives::Long),
    value("__json_value_double", Gives::Double),
    value("__json_value_float", Gives::Of(|_| Ok(DataType::Float32))),
    value("__json_value_condition", Gives::Condition),
    value("__json_value_time", Gives::Of(|_| Ok(timestamp_type()))),
    value("__json_value_texts", Gives::Texts),
    value("__json_value_longs", Gives::Of(|_| Ok(list_of(DataType::Int64)))),
    value(
        "__json_value_doubles",
        Gives::Of(|_| Ok(list_of(DataType::Float64))),
    ),
    Definition::new(HAS_VALUE, &[Any, Text], Gives::Condition, has_value),
    Definition::new("json_query", &[Any, Text], Gives::Json, json_query),
    Definition::new(
        "json_query_array",
        &[Any, Text],
        Gives::Of(|_| Ok(list_of(DataType::LargeUtf8))),
        query_array,
    ),
    Definition::new("json_keys", &[Any, Text], Gives::Texts, json_keys),
    Definition::new("json_paths", &[Any], Gives::Texts, json_paths),
];

/// The path of each row, read once where it is a literal.
enum Paths {
    One(Path),
    None,
    Each(StringViewArray),
}

impl Paths {
    fn of(call: &Call<'_>) -> Result<Self> {
        if call.constant(1).is_none() {
            return Ok(Paths::Each(call.texts(1)?));
        }
        Ok(match call.literal_text(1)? {
            None => Paths::None,
            Some(path) => Paths::One(parsed(path)?),
        })
    }

    fn find<'j>(&self, json: &'j Json, row: usize) -> Result<Option<&'j Json>> {
        Ok(match self {
            Paths::One(path) => path.find(json),
            Paths::None => None,
            Paths::Each(paths) if paths.is_null(row) => None,
            Paths::Each(paths) => parsed(paths.value(row))?.find(json),
        })
    }
}

fn parsed(path: &str) -> Result<Path> {
    match Path::parse(path) {
        Ok(path) => Ok(path),
        Err(error) => exec_err!("{error}"),
    }
}

/// What is at each row's path.
fn found(call: &Call<'_>) -> Result<Vec<Option<Json>>> {
    let (paths, array) = (Paths::of(call)?, call.array(0)?);
    if let (Paths::One(path), Some(texts)) = (&paths, array.as_string_opt::<i64>()) {
        return Ok(texts.iter().map(|text| path.find_in(text?)).collect());
    }
    let roots = values(&array)?;
    roots
        .iter()
        .enumerate()
        .map(|(row, root)| Ok(paths.find(root, row)?.cloned()))
        .collect()
}

fn text_of(value: &Json) -> Option<String> {
    Some(match value {
        Json::Condition(value) => value.to_string(),
        Json::Long(value) => value.to_string(),
        Json::Double(value) => double_text(*value),
        Json::Text(text) => text.clone(),
        _ => return None,
    })
}

fn long_of(value: &Json) -> Option<i64> {
    match value {
        Json::Condition(value) => Some(i64::from(*value)),
        Json::Long(value) => Some(*value),
        Json::Double(value) => Some(*value as i64),
        Json::Text(text) => parse_long(text),
        _ => None,
    }
}

fn double_of(value: &Json) -> Option<f64> {
    match value {
        Json::Condition(value) => Some(f64::from(u8::from(*value))),
        Json::Long(value) => Some(*value as f64),
        Json::Double(value) => Some(*value),
        Json::Text(text) => parse_double(text),
        _ => None,
    }
}

fn condition_of(value: &Json) -> Option<bool> {
    match value {
        Json::Condition(value) => Some(*value),
        Json::Long(value) => Some(*value > 0),
        Json::Double(value) => Some(*value > 0.0),
        Json::Text(text) => Some(text.eq_ignore_ascii_case("true")),
        _ => None,
    }
}

/// Elements of an array of primitives, or a primitive as one element; `None` for what holds more.
fn elements(value: &Json) -> Option<Vec<Json>> {
    let nested = |value: &Json| matches!(value, Json::Array(_) | Json::Object(_));
    match value {
        Json::Array(elements) if elements.iter().any(nested) => None,
        Json::Array(elements) => Some(elements.clone()),
        Json::Object(_) => None,
        scalar => Some(vec![scalar.clone()]),
    }
}

fn json_value(call: &Call<'_>) -> Result<ArrayRef> {
    let found = found(call)?;
    let each = found.iter().map(Option::as_ref);
    Ok(match call.gives {
        DataType::Int64 => Arc::new(
            each.map(|value| long_of(value?))
                .collect::<arrow::array::Int64Array>(),
        ),
        DataType::Float64 | DataType::Float32 => {
            let doubles: ArrayRef = Arc::new(
                each.map(|value| double_of(value?))
                    .collect::<arrow::array::Float64Array>(),
            );
            cast(&doubles, call.gives)?
        }
        DataType::Boolean => Arc::new(
            each.map(|value| condition_of(value?))
                .collect::<arrow::array::BooleanArray>(),
        ),
        DataType::List(element) => lists(&found, element.data_type())?,
        gives => {
            let texts: ArrayRef = Arc::new(each.map(|value| text_of(value?)).collect::<StringViewArray>());
            to_type(&texts, gives)?
        }
    })
}

fn lists(found: &[Option<Json>], element: &DataType) -> Result<ArrayRef> {
    macro_rules! built {
        ($builder:expr, $of:expr) => {{
            let mut lists = ListBuilder::new($builder);
            for value in found {
                match value.as_ref().and_then(elements) {
                    None => lists.append_null(),
                    Some(elements) => {
                        for element in &elements {
                            lists.values().append_option($of(element));
                        }
                        lists.append(true);
                    }
                }
            }
            Arc::new(lists.finish()) as ArrayRef
        }};
    }
    Ok(match element {
        DataType::Int64 => built!(Int64Builder::new(), long_of),
        DataType::Float64 => built!(Float64Builder::new(), double_of),
        _ => built!(StringViewBuilder::new(), text_of),
    })
}

fn has_value(call: &Call<'_>) -> Result<ArrayRef> {
    // Druid's columns have no paths that count from an array's end.
    let has_path = !matches!(&Paths::of(call)?, Paths::One(path) if path.counts_from_end());
    let found: BooleanArray = found(call)?
        .iter()
        .map(|value| match value {
            None | Some(Json::Object(_)) => Some(false),
            Some(Json::Array(elements)) => {
                let is_nested = |element: &Json| matches!(element, Json::Array(_) | Json::Object(_));
                Some(has_path && !elements.iter().any(is_nested))
            }
            Some(_) => Some(has_path),
        })
        .collect();
    Ok(Arc::new(found))
}

fn json_query(call: &Call<'_>) -> Result<ArrayRef> {
    let texts: LargeStringArray = found(call)?
        .iter()
        .map(|value| value.as_ref().map(json_text))
        .collect();
    Ok(Arc::new(texts))
}

/// The elements of an array at a path, or what is there as the only one.
fn query_array(call: &Call<'_>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(arrow::array::LargeStringBuilder::new());
    for value in found(call)? {
        match value {
            None => lists.append_null(),
            Some(value) => {
                let elements = match value {
                    Json::Array(elements) => elements,
                    other => vec![other],
                };
                for element in &elements {
                    lists
                        .values()
                        .append_option((*element != Json::Null).then(|| json_text(element)));
                }
                lists.append(true);
            }
        }
    }
    Ok(Arc::new(lists.finish()))
}

fn text_lists(rows: impl Iterator<Item = Option<Vec<String>>>) -> ArrayRef {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in rows {
        match row {
            None => lists.append_null(),
            Some(texts) => {
                for text in texts {
                    lists.values().append_value(text);
                }
                lists.append(true);
            }
        }
    }
    Arc::new(lists.finish())
}

/// Names of an object's fields, indices of an array's elements.
fn json_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let found = found(call)?;
    Ok(text_lists(found.into_iter().map(|value| match value? {
        Json::Object(fields) => Some(fields.into_iter().map(|(name, _)| name).collect()),
        Json::Array(elements) => Some((0..elements.len()).map(|index| index.to_string()).collect()),
        _ => None,
    })))
}

fn json_paths(call: &Call<'_>) -> Result<ArrayRef> {
    let roots = values(&call.array(0)?)?;
    Ok(text_lists(roots.iter().map(|root| Some(paths(root)))))
}
