//! Multi-value strings: VARCHARs that hold several values. In Arrow they are lists of texts, and their fields are marked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray};
use arrow::compute::kernels::regexp::regexp_is_match_scalar;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use crate::array::{
    append, at, concat, contains, filtered, join, length, lists, offset_of, ordinal_of, overlap, prepend,
    slice, span, values_of,
};
use crate::cast::to_type;
use crate::function::{Body, Call, Definition, Gives, defined, list_of};
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
    Definition::new("mv_contains", &[ArrayOrScalar, Any], Gives::Condition, |call| {
        with_null(call, contains)
    }),
    Definition::new(
        "mv_overlap",
        &[ArrayOrScalar, ArrayOrScalar],
        Gives::Condition,
        |call| with_null(call, overlap),
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

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(FUNCTIONS)
}

/// The body over strings without a value as ones that hold NULL.
fn with_null(call: &Call<'_>, body: Body) -> Result<ArrayRef> {
    let mut arguments = call.arguments.to_vec();
    for (position, argument) in arguments.iter_mut().enumerate() {
        // What is looked for in a string may be a plain value.
        if position == 0 || call.name == "mv_overlap" {
            *argument = ColumnarValue::Array(values_of(&lists(call, position)?)?);
        }
    }
    body(&Call {
        arguments: &arguments,
        ..*call
    })
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
    filtered(&values, |row, position| {
        let own = text(own, position);
        let is_among =
            span(&others, row).is_some_and(|mut others| others.any(|other| text(texts, other) == own));
        is_among == wanted
    })
}

/// Values that a test of one literal holds for.
fn that(call: &Call<'_>, holds: impl Fn(&StringViewArray, &str) -> Result<BooleanArray>) -> Result<ArrayRef> {
    let values = lists(call, 0)?;
    let held = match call.literal_text(1)? {
        None => BooleanArray::new_null(values.values().len()),
        Some(literal) => holds(values.values().as_string_view(), literal)?,
    };
    filtered(&values, |_, position| {
        held.is_valid(position) && held.value(position)
    })
}
