//! Arrays.

mod build;
mod find;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringViewBuilder, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ScalarUDF;

use crate::cast::{to_text, to_type};
use crate::function::{Call, Definition, Gives, defined, list_of};
use crate::operand::Operand::{Any, Array as AnArray, Element, Long, Text};

pub(crate) use build::{append, concat, filtered, prepend, slice};
pub(crate) use find::{contains, offset_of, ordinal_of, overlap};

const FUNCTIONS: [Definition; 14] = [
    Definition::new("array_length", &[AnArray], Gives::Long, length),
    Definition::new("array_offset", &[AnArray, Long], Gives::Of(element), |call| {
        at(call, 0)
    }),
    Definition::new("array_ordinal", &[AnArray, Long], Gives::Of(element), |call| {
        at(call, 1)
    }),
    Definition::new("array_offset_of", &[AnArray, Any], Gives::Long, offset_of),
    Definition::new("array_ordinal_of", &[AnArray, Any], Gives::Long, ordinal_of),
    Definition::new("array_contains", &[AnArray, Any], Gives::Condition, contains),
    Definition::new("array_overlap", &[AnArray, AnArray], Gives::Condition, overlap),
    Definition::new(
        "scalar_in_array",
        &[Any, AnArray],
        Gives::Condition,
        find::scalar_in,
    ),
    Definition::new("array_append", &[AnArray, Element], Gives::Of(of_first), append),
    Definition::new("array_prepend", &[Any, AnArray], Gives::Of(second), prepend),
    Definition::new("array_concat", &[AnArray, AnArray], Gives::Of(of_first), concat),
    Definition::new("array_slice", &[AnArray, Long], Gives::Of(of_first), slice).or(&[Long]),
    Definition::new("array_to_string", &[AnArray, Text], Gives::Text, join),
    Definition::new("mv_to_array", &[Any], Gives::Texts, |call| {
        to_type(
            &(Arc::new(lists(call, 0)?) as ArrayRef),
            &list_of(DataType::Utf8View),
        )
    }),
];

/// Whether a function takes a multi-value string as an array.
pub(crate) fn takes_whole(name: &str) -> bool {
    name != "scalar_in_array" && FUNCTIONS.iter().any(|definition| definition.name == name)
}

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(FUNCTIONS)
}

/// The type of an array's elements.
pub(crate) fn element(types: &[DataType]) -> Result<DataType> {
    Ok(match types.first() {
        Some(DataType::List(element) | DataType::LargeList(element)) => element.data_type().clone(),
        Some(scalar) if !scalar.is_null() => scalar.clone(),
        _ => DataType::Utf8View,
    })
}

fn of_first(types: &[DataType]) -> Result<DataType> {
    Ok(array_of(types.first()))
}

fn second(types: &[DataType]) -> Result<DataType> {
    Ok(array_of(types.get(1)))
}

/// An array's own type; that of an array of it for a VARCHAR, and of its values for a multi-value string.
fn array_of(found: Option<&DataType>) -> DataType {
    match found {
        Some(array @ DataType::List(_)) => array.clone(),
        Some(DataType::LargeList(value)) => list_of(value.data_type().clone()),
        Some(scalar) if !scalar.is_null() => list_of(scalar.clone()),
        _ => list_of(DataType::Utf8View),
    }
}

/// An argument as lists; a scalar is a list of one.
pub(crate) fn lists(call: &Call<'_>, position: usize) -> Result<ListArray> {
    let array = call.array(position)?;
    let array = match array.data_type() {
        DataType::List(_) => array,
        DataType::Null => to_type(&array, &list_of(DataType::Utf8View))?,
        DataType::LargeList(value) => arrow::compute::cast(&array, &list_of(value.data_type().clone()))?,
        scalar => to_type(&array, &list_of(scalar.clone()))?,
    };
    match array.as_list_opt::<i32>() {
        Some(lists) => Ok(lists.clone()),
        None => internal_err!("expected an array, found {}", array.data_type()),
    }
}

/// A multi-value string's values: without one there is NULL.
pub(crate) fn values_of(lists: &ListArray) -> Result<ArrayRef> {
    let element = new_null_array(lists.values().data_type(), 1);
    let mut picks = Vec::with_capacity(lists.values().len());
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        match span(lists, row) {
            Some(elements) if !elements.is_empty() => {
                lengths.push(elements.len());
                picks.extend(elements.map(|position| (0, position)));
            }
            _ => {
                lengths.push(1);
                picks.push((1, 0));
            }
        }
    }
    let values = arrow::compute::interleave(&[lists.values().as_ref(), element.as_ref()], &picks)?;
    let valid = vec![true; lengths.len()];
    to_type(&list_array(values, &lengths, valid), &list_of(DataType::Utf8View))
}

/// Where a row's elements lie among all; `None` for NULL.
pub(crate) fn span(lists: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    if lists.is_null(row) {
        return None;
    }
    let offset = |row: usize| lists.offsets().get(row).map_or(0, |offset| *offset as usize);
    Some(offset(row)..offset(row + 1))
}

/// Lists of so many elements each, of all of `values`.
pub(crate) fn list_array(values: ArrayRef, lengths: &[usize], valid: Vec<bool>) -> ArrayRef {
    Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(values.data_type().clone(), true)),
        OffsetBuffer::from_lengths(lengths.iter().copied()),
        values,
        Some(NullBuffer::from(valid)),
    ))
}

pub(crate) fn length(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let lengths: Int64Array = (0..lists.len())
        .map(|row| i64::try_from(span(&lists, row)?.len()).ok())
        .collect();
    Ok(Arc::new(lengths))
}

/// The element at an index that counts from `first`; NULL beyond the ends.
pub(crate) fn at(call: &Call<'_>, first: i64) -> Result<ArrayRef> {
    let (lists, indices) = (lists(call, 0)?, call.longs(1)?);
    let positions: arrow::array::UInt64Array = indices
        .iter()
        .enumerate()
        .map(|(row, index)| {
            let elements = span(&lists, row)?;
            let index = usize::try_from(index?.checked_sub(first)?).ok()?;
            (index < elements.len()).then(|| (elements.start + index) as u64)
        })
        .collect();
    to_type(
        &arrow::compute::take(lists.values(), &positions, None)?,
        call.gives,
    )
}

/// Elements as one text; NULL elements read `null`.
pub(crate) fn join(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let delimiters = call.texts(1)?;
    let texts = to_text(lists.values())?;
    let texts = texts.as_string_view();
    let mut joined = StringViewBuilder::with_capacity(lists.len());
    for row in 0..lists.len() {
        let Some(elements) = span(&lists, row) else {
            joined.append_null();
            continue;
        };
        if elements.len() == 1 && texts.is_null(elements.start) {
            joined.append_null();
            continue;
        }
        let delimiter = if delimiters.is_valid(row) {
            delimiters.value(row)
        } else {
            ""
        };
        let parts: Vec<&str> = elements
            .map(|element| {
                if texts.is_valid(element) {
                    texts.value(element)
                } else {
                    "null"
                }
            })
            .collect();
        joined.append_value(parts.join(delimiter));
    }
    Ok(Arc::new(joined.finish()))
}
