//! Division, and the largest and smallest of several values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{interleave, kernels::cmp};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};

use crate::cast::to_type;
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Any, Number};
use crate::operand::is_text;

pub(super) const FUNCTIONS: [Definition; 4] = [
    Definition::new("div", &[Number, Number], Gives::Long, div),
    Definition::new("safe_divide", &[Number, Number], Gives::Of(widest), safe_divide),
    Definition::new("greatest", &[], Gives::Of(common), |call| most(call, cmp::gt)).and_more(Any),
    Definition::new("least", &[], Gives::Of(common), |call| most(call, cmp::lt)).and_more(Any),
];

/// BIGINT when all are whole, else DOUBLE.
fn widest(types: &[DataType]) -> Result<DataType> {
    Ok(
        if types
            .iter()
            .all(|found| matches!(found, DataType::Int64 | DataType::Null))
        {
            DataType::Int64
        } else {
            DataType::Float64
        },
    )
}

/// The type to which all values of GREATEST and LEAST are brought: texts win over numbers.
fn common(types: &[DataType]) -> Result<DataType> {
    let mut known = types.iter().filter(|found| !found.is_null());
    let Some(first) = known.next() else {
        return Ok(DataType::Utf8View);
    };
    if types.iter().any(is_text) {
        return Ok(DataType::Utf8View);
    }
    if known.all(|other| other == first) {
        return Ok(first.clone());
    }
    widest(types)
}

fn div(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.array(0)?, call.array(1)?);
    let whole = [&left, &right]
        .iter()
        .all(|side| side.data_type() == &DataType::Int64);
    if whole {
        let pairs = left
            .as_primitive::<Int64Type>()
            .iter()
            .zip(right.as_primitive::<Int64Type>());
        let quotients = pairs.map(|pair| match pair {
            (Some(_), Some(0)) => exec_err!("Function[div] encountered exception: / by zero"),
            (Some(left), Some(right)) => Ok(Some(left.wrapping_div(right))),
            _ => Ok(None),
        });
        return Ok(Arc::new(quotients.collect::<Result<Int64Array>>()?));
    }
    let (left, right) = (call.doubles(0)?, call.doubles(1)?);
    let quotients: Int64Array = left
        .iter()
        .zip(&right)
        .map(|(left, right)| Some((left? / right?) as i64))
        .collect();
    Ok(Arc::new(quotients))
}

fn safe_divide(call: &Call<'_>) -> Result<ArrayRef> {
    if call.gives == &DataType::Int64 {
        let (left, right) = (call.longs(0)?, call.longs(1)?);
        let quotients: Int64Array = left
            .iter()
            .zip(&right)
            .map(|(left, right)| left?.checked_div(right?))
            .collect();
        return Ok(Arc::new(quotients));
    }
    let (left, right) = (call.doubles(0)?, call.doubles(1)?);
    let quotients: Float64Array = left
        .iter()
        .zip(&right)
        .map(|(left, right)| match (left?, right?) {
            (0.0, divisor) if divisor == 0.0 || divisor.is_nan() => Some(0.0),
            (_, divisor) if divisor == 0.0 || divisor.is_nan() => None,
            (left, right) => Some(left / right),
        })
        .collect();
    Ok(Arc::new(quotients))
}

/// The first argument that is `beyond` all others; NULLs are left out.
fn most(
    call: &Call<'_>,
    beyond: fn(
        &dyn arrow::array::Datum,
        &dyn arrow::array::Datum,
    ) -> std::result::Result<arrow::array::BooleanArray, arrow::error::ArrowError>,
) -> Result<ArrayRef> {
    let columns: Vec<ArrayRef> = (0..call.arguments.len())
        .map(|position| to_type(&call.array(position)?, call.gives))
        .collect::<Result<_>>()?;
    let Some((first, others)) = columns.split_first() else {
        return Ok(arrow::array::new_null_array(call.gives, call.rows));
    };
    let mut best = Arc::clone(first);
    for other in others {
        let further = beyond(other, &best)?;
        let choice: UInt32Array = (0..call.rows)
            .map(|row| {
                let takes =
                    best.is_null(row) || (other.is_valid(row) && further.is_valid(row) && further.value(row));
                Some(u32::from(takes))
            })
            .collect();
        let indices: Vec<(usize, usize)> = choice
            .values()
            .iter()
            .enumerate()
            .map(|(row, side)| (*side as usize, row))
            .collect();
        best = interleave(&[best.as_ref(), other.as_ref()], &indices)?;
    }
    Ok(best)
}
