//! Multi-value strings: VARCHARs that hold several values.
//!
//! As a statement has them they are VARCHARs, and so are the results of functions that make them. The planner puts the
//! functions of [`explicit_name`] in their place, whose results are lists of texts.

pub mod explicit;
mod find;
mod map;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::regexp::regexp_is_match_scalar;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ScalarUDF;

use crate::array::{
    append, at, concat, filtered, join, length, lists, offset_of, ordinal_of, prepend, slice, span,
};
use crate::cast::to_type;
use crate::function::{Call, Definition, Gives, defined, list_of};
use crate::operand::Operand::{Any, ArrayOrScalar, Long, Text, Values};

const FUNCTIONS: [Definition; 19] = [
    Definition::new("mv_length", &[ArrayOrScalar], Gives::Long, length),
    Definition::new("mv_offset", &[ArrayOrScalar, Long], Gives::Text, |call| {
        at(call, 0)
    }),
    Definition::new("mv_ordinal", &[ArrayOrScalar, Long], Gives::Text, |call| {
        at(call, 1)
    }),
    Definition::new("mv_offset_of", &[ArrayOrScalar, Any], Gives::Long, offset_of),
    Definition::new("mv_ordinal_of", &[ArrayOrScalar, Any], Gives::Long, ordinal_of),
    Definition::new(
        "mv_contains",
        &[ArrayOrScalar, Any],
        Gives::Condition,
        find::contains,
    ),
    Definition::new(
        "mv_overlap",
        &[ArrayOrScalar, ArrayOrScalar],
        Gives::Condition,
        find::overlap,
    ),
    Definition::new("mv_append", &[ArrayOrScalar, Any], Gives::Values, append),
    Definition::new("mv_prepend", &[Any, ArrayOrScalar], Gives::Values, prepend),
    Definition::new(
        "mv_concat",
        &[ArrayOrScalar, ArrayOrScalar],
        Gives::Values,
        concat,
    ),
    Definition::new("mv_slice", &[ArrayOrScalar, Long], Gives::Values, slice).or(&[Long]),
    Definition::new("mv_to_string", &[ArrayOrScalar, Text], Gives::Text, join),
    Definition::new("array_to_mv", &[ArrayOrScalar], Gives::Values, |call| {
        texts_of(call, 0)
    }),
    Definition::new("string_to_mv", &[Text, Text], Gives::Values, crate::text::split),
    Definition::new(
        "mv_filter_only",
        &[Values, ArrayOrScalar],
        Gives::Values,
        |call| among(call, true),
    ),
    Definition::new(
        "mv_filter_none",
        &[Values, ArrayOrScalar],
        Gives::Values,
        |call| among(call, false),
    ),
    Definition::new("mv_filter_regex", &[Values, Text], Gives::Values, |call| {
        that(call, |values, pattern| {
            Ok(regexp_is_match_scalar(values, pattern, None)?)
        })
    }),
    Definition::new("mv_filter_prefix", &[Values, Text], Gives::Values, |call| {
        that(call, |values, prefix| {
            Ok(values
                .iter()
                .map(|value| value.map(|value| value.starts_with(prefix)))
                .collect())
        })
    }),
    Definition::new("mv_harmonize_nulls", &[ArrayOrScalar], Gives::Values, |call| {
        texts_of(call, 0)
    }),
];

pub use map::{MAP_VALUES, MapValues, Sees};

/// Functions that give multi-value strings, and their names where a plan says so.
const EXPLICIT: [(&str, &str); 11] = [
    ("array_to_mv", "__array_to_mv"),
    ("mv_append", "__mv_append"),
    ("mv_concat", "__mv_concat"),
    ("mv_filter_none", "__mv_filter_none"),
    ("mv_filter_only", "__mv_filter_only"),
    ("mv_filter_prefix", "__mv_filter_prefix"),
    ("mv_filter_regex", "__mv_filter_regex"),
    ("mv_harmonize_nulls", "__mv_harmonize_nulls"),
    ("mv_prepend", "__mv_prepend"),
    ("mv_slice", "__mv_slice"),
    ("string_to_mv", "__string_to_mv"),
];

/// The function whose result is a multi-value string, where `name` as it is written gives a VARCHAR.
pub fn explicit_name(name: &str) -> Option<&'static str> {
    let mut names = EXPLICIT.iter();
    names
        .find(|(written, _)| *written == name)
        .map(|(_, explicit)| *explicit)
}

/// Positions of the arguments that a function takes for strings with several values, or for arrays.
pub fn whole_arguments(name: &str) -> &'static [usize] {
    match name {
        "string_to_mv" | "scalar_in_array" => &[],
        "mv_prepend" | "array_prepend" => &[1],
        "mv_concat" | "mv_overlap" | "array_concat" | "array_overlap" => &[0, 1],
        other if takes_whole(other) => &[0],
        _ => &[],
    }
}

/// Whether a function takes multi-value strings as they are, not value by value.
pub fn takes_whole(name: &str) -> bool {
    let is_own = |definition: &Definition| definition.name == name || definition.aliases.contains(&name);
    name.starts_with("__mv_")
        || name.starts_with(MAP_VALUES)
        || matches!(
            name,
            "__array_to_mv"
                | "__string_to_mv"
                | explicit::ANY_HOLDS
                | explicit::AS_VALUES
                | explicit::ONLY_VALUE
                | explicit::JOINED_VALUES
                | explicit::FIRST_VALUE
                | explicit::STORED_VALUES
                | explicit::UNNESTED_VALUES
        )
        || FUNCTIONS.iter().any(is_own)
        || crate::array::takes_whole(name)
}

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let explicit = FUNCTIONS.iter().filter_map(|definition| {
        explicit_name(definition.name).map(|name| Definition { name, ..*definition })
    });
    let written = FUNCTIONS.map(|definition| match definition.gives {
        Gives::Values => Definition {
            gives: Gives::Text,
            body: |call| internal_err!("{} was planned without its values", call.name),
            ..definition
        },
        _ => definition,
    });
    let mut functions = defined(written);
    functions.extend(defined(explicit));
    functions.extend(explicit::functions());
    functions
}

fn texts_of(call: &Call<'_>, position: usize) -> Result<ArrayRef> {
    to_type(&call.array(position)?, &list_of(DataType::Utf8View))
}

/// Values that are, or are not, among those of an array.
fn among(call: &Call<'_>, wanted: bool) -> Result<ArrayRef> {
    let (values, others) = (lists(call, 0)?, lists(call, 1)?);
    let texts = to_type(others.values(), &DataType::Utf8View)?;
    let (texts, own) = (texts.as_string_view(), values.values().as_string_view());
    let text = |texts: &StringViewArray, position: usize| {
        texts.is_valid(position).then(|| texts.value(position).to_owned())
    };
    left(&filtered(&values, |row, position| {
        let own = text(own, position);
        let is_among =
            span(&others, row).is_some_and(|mut others| others.any(|other| text(texts, other) == own));
        is_among == wanted
    })?)
}

/// What a filter leaves of strings: NULL where it is no value.
fn left(filtered: &ArrayRef) -> Result<ArrayRef> {
    let lists = filtered.as_list::<i32>();
    let has_values = (0..lists.len()).map(|row| lists.is_valid(row) && lists.value_length(row) > 0);
    let valid: NullBuffer = has_values.collect::<Vec<bool>>().into();
    let (field, offsets, values, _) = lists.clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(valid))?))
}

/// Values that a test of one literal holds for.
fn that(call: &Call<'_>, holds: impl Fn(&StringViewArray, &str) -> Result<BooleanArray>) -> Result<ArrayRef> {
    let values = lists(call, 0)?;
    let held = match call.literal_text(1)? {
        None => BooleanArray::new_null(values.values().len()),
        Some(literal) => holds(values.values().as_string_view(), literal)?,
    };
    left(&filtered(&values, |_, position| {
        held.is_valid(position) && held.value(position)
    })?)
}
