//! What the planner puts into a plan where it makes explicit how an expression takes a multi-value string.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeListArray, StringViewArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

use crate::cast::{to_text, to_type};
use crate::function::{Call, Definition, Gives, defined};
use crate::operand::Operand::{Any, Text};
use crate::types::{is_multi_value, multi_value_of, multi_value_type};

/// Whether any value is true: true, else NULL where one is, else false.
pub const ANY_HOLDS: &str = "__any_holds";

/// `x` as a multi-value string of one value.
pub const AS_VALUES: &str = "__as_values";

/// `(x, what)`: the only value, or an error that says `what`.
pub const ONLY_VALUE: &str = "__only_value";

/// The values as one text, as Druid's string aggregations see them: `a`, or `[a, b]`.
pub const JOINED_VALUES: &str = "__joined_values";

/// The first value.
pub const FIRST_VALUE: &str = "__first_of_values";

/// Texts, with NULL for a string without a value: what segments hold.
pub const STORED_VALUES: &str = "__stored_values";

/// A multi-value string's values as an array to be unnested: without one there is NULL.
pub const UNNESTED_VALUES: &str = "__unnested_values";

const FUNCTIONS: [Definition; 7] = [
    Definition::new(ANY_HOLDS, &[Any], Gives::Condition, any_holds),
    Definition::new(
        AS_VALUES,
        &[Any],
        Gives::Of(|types| {
            Ok(match types.first() {
                Some(values) if is_multi_value(values) => values.clone(),
                Some(scalar) => multi_value_of(scalar.clone()),
                None => multi_value_type(),
            })
        }),
        as_values,
    ),
    Definition::new(ONLY_VALUE, &[Any, Text], Gives::Of(element), only_value),
    Definition::new(JOINED_VALUES, &[Any], Gives::Text, joined),
    Definition::new(FIRST_VALUE, &[Any], Gives::Of(element), |call| {
        picked(call, |_, values| Ok(Some(values.start)))
    }),
    Definition::new(
        STORED_VALUES,
        &[Any],
        Gives::Of(|_| Ok(multi_value_type())),
        stored,
    ),
    Definition::new(UNNESTED_VALUES, &[Any], Gives::Texts, |call| {
        crate::array::values_of(&crate::array::lists(call, 0)?)
    }),
];

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(FUNCTIONS)
}

/// A string that should have one value has several.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SeveralValues(pub String);

fn element(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::LargeList(element)) => Ok(element.data_type().clone()),
        Some(scalar) => Ok(scalar.clone()),
        None => exec_err!("a multi-value string is missing"),
    }
}

fn values(call: &Call<'_>) -> Result<LargeListArray> {
    let array = call.array(0)?;
    match array.as_list_opt::<i64>() {
        Some(lists) => Ok(lists.clone()),
        None => exec_err!("expected a multi-value string, found {}", array.data_type()),
    }
}

/// Where a row's values lie among all.
fn span(lists: &LargeListArray, row: usize) -> std::ops::Range<usize> {
    let offset = |row: usize| {
        let offset = lists.offsets().get(row).copied().unwrap_or_default();
        usize::try_from(offset).unwrap_or_default()
    };
    if lists.is_null(row) {
        return 0..0;
    }
    offset(row)..offset(row + 1)
}

fn any_holds(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = values(call)?;
    let conditions = to_type(lists.values(), &DataType::Boolean)?;
    let conditions = conditions.as_boolean();
    let held: BooleanArray = (0..lists.len())
        .map(|row| {
            let mut all = Some(false);
            for position in span(&lists, row) {
                if conditions.is_null(position) {
                    all = None;
                } else if conditions.value(position) {
                    return Some(true);
                }
            }
            all
        })
        .collect();
    Ok(Arc::new(held))
}

fn as_values(call: &Call<'_>) -> Result<ArrayRef> {
    let array = call.array(0)?;
    if is_multi_value(array.data_type()) {
        return Ok(array);
    }
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, array.len()));
    let field = Arc::new(Field::new_list_field(array.data_type().clone(), true));
    Ok(Arc::new(LargeListArray::try_new(field, offsets, array, None)?))
}

/// One value of each row, which `pick` chooses among those that there are.
fn picked(
    call: &Call<'_>,
    pick: impl Fn(&LargeListArray, std::ops::Range<usize>) -> Result<Option<usize>>,
) -> Result<ArrayRef> {
    if !is_multi_value(call.array(0)?.data_type()) {
        return call.array(0);
    }
    let lists = values(call)?;
    let picks = (0..lists.len())
        .map(|row| {
            let values = span(&lists, row);
            if values.is_empty() {
                return Ok(None);
            }
            Ok(pick(&lists, values)?.map(|position| position as u64))
        })
        .collect::<Result<arrow::array::UInt64Array>>()?;
    Ok(arrow::compute::take(lists.values(), &picks, None)?)
}

fn only_value(call: &Call<'_>) -> Result<ArrayRef> {
    let error = call.literal_text(1)?.unwrap_or_default();
    picked(call, |_, values| {
        if values.len() > 1 {
            return Err(DataFusionError::External(Box::new(SeveralValues(
                error.to_owned(),
            ))));
        }
        Ok(Some(values.start))
    })
}

fn joined(call: &Call<'_>) -> Result<ArrayRef> {
    if !is_multi_value(call.array(0)?.data_type()) {
        return to_text(&call.array(0)?);
    }
    let lists = values(call)?;
    let texts = to_text(lists.values())?;
    let texts = texts.as_string_view();
    let text = |position: usize| texts.is_valid(position).then(|| texts.value(position));
    let joined: StringViewArray = (0..lists.len())
        .map(|row| {
            let values = span(&lists, row);
            match values.len() {
                0 => None,
                1 => text(values.start).map(str::to_owned),
                _ => {
                    let all: Vec<&str> = values.map(|position| text(position).unwrap_or("null")).collect();
                    Some(format!("[{}]", all.join(", ")))
                }
            }
        })
        .collect();
    Ok(Arc::new(joined))
}

fn stored(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = values(call)?;
    let texts = to_text(lists.values())?;
    let has_value = (0..lists.len()).map(|row| {
        let values = span(&lists, row);
        !values.is_empty() && (values.len() > 1 || texts.is_valid(values.start))
    });
    let valid: NullBuffer = has_value.collect::<Vec<bool>>().into();
    Ok(Arc::new(LargeListArray::try_new(
        Arc::new(Field::new_list_field(DataType::Utf8View, true)),
        lists.offsets().clone(),
        texts,
        Some(valid),
    )?))
}
