//! Arguments of functions over sketches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::scalar::ScalarValue;

use crate::function::{Call, Gives};

/// The type of a function that gives sketches of that name.
pub(super) const fn sketch(name: &'static str) -> Gives {
    Gives::Complex(name)
}

/// The sketches of an argument.
///
/// # Errors
/// For an argument of another type.
pub(super) fn sketches(call: &Call<'_>, position: usize) -> Result<BinaryArray> {
    let array = call.array(position)?;
    match array.as_binary_opt::<i32>() {
        Some(sketches) => Ok(sketches.clone()),
        None if array.data_type().is_binary() || array.data_type().is_null() => {
            Ok(arrow::compute::cast(&array, &DataType::Binary)?
                .as_binary()
                .clone())
        }
        None => exec_err!(
            "argument {} of {} is no sketch",
            position + 1,
            call.name.to_uppercase()
        ),
    }
}

/// The bytes of a row.
pub(super) fn at(column: &BinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}

/// The sketches of all arguments from the first on that is one.
pub(super) fn all_sketches(call: &Call<'_>, positions: std::ops::Range<usize>) -> Result<Vec<BinaryArray>> {
    positions.map(|position| sketches(call, position)).collect()
}

/// Whether an argument is a literal number.
pub(super) fn is_number(call: &Call<'_>, position: usize) -> bool {
    call.constant(position)
        .is_some_and(|value| value.data_type().is_numeric())
}

/// An argument that must be a literal.
///
/// # Errors
/// For one that differs from row to row.
fn literal<'a>(call: &'a Call<'_>, position: usize) -> Result<&'a ScalarValue> {
    match call.constant(position) {
        Some(value) => Ok(value),
        None => exec_err!(
            "argument {} of {} must be a literal",
            position + 1,
            call.name.to_uppercase()
        ),
    }
}

/// A number that is the same for all rows.
///
/// # Errors
/// For NULL, and for what is no literal.
pub(super) fn number(call: &Call<'_>, position: usize) -> Result<f64> {
    match literal(call, position)?.cast_to(&DataType::Float64)? {
        ScalarValue::Float64(Some(number)) => Ok(number),
        _ => exec_err!(
            "argument {} of {} is NULL",
            position + 1,
            call.name.to_uppercase()
        ),
    }
}

/// A condition that is the same for all rows; NULL and an absent one are false.
///
/// # Errors
/// For what is no literal.
pub(super) fn flag(call: &Call<'_>, position: usize) -> Result<bool> {
    Ok(call.has(position) && *literal(call, position)? == ScalarValue::Boolean(Some(true)))
}

/// A number for each sketch of the first argument.
pub(super) fn doubles(call: &Call<'_>, of: impl Fn(&[u8]) -> Result<f64>) -> Result<ArrayRef> {
    let found = sketches(call, 0)?;
    let found = found.iter().map(|bytes| bytes.map(&of).transpose());
    Ok(Arc::new(found.collect::<Result<Float64Array>>()?))
}

/// A text for each sketch of the first argument.
pub(super) fn texts(call: &Call<'_>, of: impl Fn(&[u8]) -> Result<String>) -> Result<ArrayRef> {
    let found = sketches(call, 0)?;
    let found = found.iter().map(|bytes| bytes.map(&of).transpose());
    Ok(Arc::new(found.collect::<Result<StringViewArray>>()?))
}

/// A sketch made of those of each row; NULL is an empty sketch, of no bytes.
pub(super) fn combined(
    call: &Call<'_>,
    columns: &[BinaryArray],
    of: impl Fn(&[&[u8]]) -> Result<Vec<u8>>,
) -> Result<ArrayRef> {
    let made = (0..call.rows).map(|row| {
        let found: Vec<&[u8]> = columns
            .iter()
            .map(|column| at(column, row).unwrap_or_default())
            .collect();
        Ok(Some(of(&found)?))
    });
    Ok(Arc::new(made.collect::<Result<BinaryArray>>()?))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::function::Definition;
    use crate::types::complex_field;

    /// What a function gives for constants.
    pub(in crate::sketches) fn called(
        functions: &[Definition],
        name: &str,
        arguments: &[ScalarValue],
    ) -> Result<ScalarValue> {
        let definition = functions.iter().find(|function| function.name == name).unwrap();
        let arguments: Vec<ColumnarValue> = arguments.iter().cloned().map(ColumnarValue::Scalar).collect();
        let call = Call {
            name: definition.name,
            arguments: &arguments,
            gives: &DataType::Null,
            rows: 1,
        };
        ScalarValue::try_from_array(&(definition.body)(&call)?, 0)
    }

    /// What a function gives for a column of sketches and another argument.
    pub(in crate::sketches) fn called_with_column(
        functions: &[Definition],
        name: &str,
        column: ArrayRef,
        argument: ColumnarValue,
    ) -> Result<ArrayRef> {
        let definition = functions.iter().find(|function| function.name == name).unwrap();
        let rows = column.len();
        let arguments = [ColumnarValue::Array(column), argument];
        (definition.body)(&Call {
            name: definition.name,
            arguments: &arguments,
            gives: &DataType::Null,
            rows,
        })
    }

    pub(in crate::sketches) fn bytes(bytes: &[u8]) -> ScalarValue {
        ScalarValue::Binary(Some(bytes.to_vec()))
    }

    #[test]
    fn a_type_has_the_name_of_its_sketch() {
        assert_eq!(
            crate::types::complex_name(&complex_field("x", "HLLSketch")),
            Some("HLLSketch")
        );
    }
}
