//! Elements looked for in arrays. NULL is an element like any other.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray};
use arrow::datatypes::DataType;
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::{Result, exec_err};

use super::{lists, span};
use crate::cast::to_type;
use crate::function::Call;
use crate::operand::is_text;

/// Two arrays of elements as rows that can be compared.
struct Comparable {
    left: Rows,
    right: Rows,
}

impl Comparable {
    /// The right elements are brought to the type of the left ones.
    fn new(left: &ArrayRef, right: &ArrayRef) -> Result<Self> {
        let right = to_type(right, left.data_type())?;
        let converter = RowConverter::new(vec![SortField::new(left.data_type().clone())])?;
        Ok(Comparable {
            left: converter.convert_columns(&[Arc::clone(left)])?,
            right: converter.convert_columns(&[right])?,
        })
    }

    fn left(&self, position: usize) -> Row<'_> {
        self.left.row(position)
    }

    fn right(&self, position: usize) -> Row<'_> {
        self.right.row(position)
    }
}

/// A text that does not become a number is in no array of numbers, not even where NULL is.
fn lost(given: &ArrayRef, cast: &ArrayRef, row: usize) -> bool {
    given.is_valid(row) && cast.is_null(row)
}

/// `(array, element)` or `(array, array)`, whose elements must all be there.
pub(crate) fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    let (array, wanted) = (lists(call, 0)?, call.array(1)?);
    if matches!(wanted.data_type(), DataType::List(_)) {
        return of_two_arrays(call, |compare, left, mut right| {
            right.all(|wanted| {
                left.clone()
                    .any(|element| compare.left(element) == compare.right(wanted))
            })
        });
    }
    let compare = Comparable::new(array.values(), &wanted)?;
    let cast = to_type(&wanted, array.values().data_type())?;
    let found: BooleanArray = (0..array.len())
        .map(|row| {
            let mut elements = span(&array, row)?;
            let is_there = !lost(&wanted, &cast, row)
                && elements.any(|element| compare.left(element) == compare.right(row));
            Some(is_there)
        })
        .collect();
    Ok(Arc::new(found))
}

/// `(array, array)`: whether they have an element in common.
pub(crate) fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    of_two_arrays(call, |compare, mut left, right| {
        left.any(|element| {
            right
                .clone()
                .any(|other| compare.left(element) == compare.right(other))
        })
    })
}

/// Holds for the elements of two arrays, by position: NULL where the left array is, false where only the right one is.
fn of_two_arrays(
    call: &Call<'_>,
    holds: impl Fn(&Comparable, Range<usize>, Range<usize>) -> bool,
) -> Result<ArrayRef> {
    let (left, right) = (lists(call, 0)?, lists(call, 1)?);
    let compare = Comparable::new(left.values(), right.values())?;
    let found: BooleanArray = (0..left.len())
        .map(|row| {
            let elements = span(&left, row)?;
            Some(span(&right, row).is_some_and(|others| holds(&compare, elements, others)))
        })
        .collect();
    Ok(Arc::new(found))
}

/// `(element, array)`: unknown for NULL unless the array holds it.
pub(crate) fn scalar_in(call: &Call<'_>) -> Result<ArrayRef> {
    let (wanted, array) = (call.array(0)?, lists(call, 1)?);
    let compare = Comparable::new(array.values(), &wanted)?;
    let cast = to_type(&wanted, array.values().data_type())?;
    let found: BooleanArray = (0..array.len())
        .map(|row| {
            let mut elements = span(&array, row)?;
            let is_there = elements.any(|element| compare.left(element) == compare.right(row));
            if wanted.is_null(row) {
                is_there.then_some(true)
            } else {
                Some(is_there && !lost(&wanted, &cast, row))
            }
        })
        .collect();
    Ok(Arc::new(found))
}

/// Index from 0 of the first such element; NULL without one.
pub(crate) fn offset_of(call: &Call<'_>) -> Result<ArrayRef> {
    index_of(call, 0)
}

/// Index from 1 of the first such element; NULL without one.
pub(crate) fn ordinal_of(call: &Call<'_>) -> Result<ArrayRef> {
    index_of(call, 1)
}

fn index_of(call: &Call<'_>, first: i64) -> Result<ArrayRef> {
    let (array, wanted): (ListArray, ArrayRef) = (lists(call, 0)?, call.array(1)?);
    if matches!(wanted.data_type(), DataType::List(_)) {
        return exec_err!("Function[{}] second argument must be a scalar", call.name);
    }
    // `1` and `'1'`, and `1` and `1.0`, are different elements.
    if kind(array.values().data_type()) != kind(wanted.data_type()) {
        return Ok(Arc::new(Int64Array::new_null(array.len())));
    }
    let compare = Comparable::new(array.values(), &wanted)?;
    let cast = to_type(&wanted, array.values().data_type())?;
    let indices: Int64Array = (0..array.len())
        .map(|row| {
            let mut elements = span(&array, row)?;
            if lost(&wanted, &cast, row) {
                return None;
            }
            let position = elements.position(|element| compare.left(element) == compare.right(row))?;
            Some(i64::try_from(position).ok()? + first)
        })
        .collect();
    Ok(Arc::new(indices))
}

/// What Java's objects for values of a type are equal to.
#[derive(PartialEq, Eq)]
enum Kind {
    Text,
    Long,
    Double,
    Other,
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        text if is_text(text) || text.is_null() => Kind::Text,
        number if number.is_floating() => Kind::Double,
        number if number.is_integer() || number.is_temporal() || *number == DataType::Boolean => Kind::Long,
        _ => Kind::Other,
    }
}
