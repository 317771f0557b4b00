//! Values looked for in multi-value strings: one without a value holds NULL, and NULL is a value like any other.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use crate::array::{lists, span, values_of};
use crate::cast::to_type;
use crate::function::{Call, list_of};

/// `(string, values)`: whether all of the values are there; a NULL is looked for as a value.
pub(super) fn contains(call: &Call<'_>) -> Result<ArrayRef> {
    of_rows(call, |own, wanted| match wanted {
        None => Some(own.clone().any(|value| value.is_none())),
        Some(wanted) => {
            let own: HashSet<Option<&str>> = own.collect();
            Some(wanted.into_iter().all(|value| own.contains(&value)))
        }
    })
}

/// `(string, values)`: whether any of the values is there; unknown where the string holds NULL and the values do not.
pub(super) fn overlap(call: &Call<'_>) -> Result<ArrayRef> {
    of_rows(call, |mut own, wanted| {
        let Some(wanted) = wanted else {
            return Some(own.any(|value| value.is_none()));
        };
        if wanted.is_empty() {
            return Some(false);
        }
        let mut has_null = false;
        for value in own {
            if wanted.contains(&value) {
                return Some(true);
            }
            has_null |= value.is_none();
        }
        (!has_null).then_some(false)
    })
}

/// What holds for the values of each row and those that are looked for, which may be NULL as a whole.
fn of_rows(
    call: &Call<'_>,
    holds: impl for<'a> Fn(Values<'a>, Option<Vec<Option<&'a str>>>) -> Option<bool>,
) -> Result<ArrayRef> {
    let texts_of = |lists: &ListArray| to_type(lists.values(), &DataType::Utf8View);
    let own = values_of(&lists(call, 0)?)?;
    let Some(own) = own.as_list_opt::<i32>() else {
        return exec_err!("expected an array of values, found {}", own.data_type());
    };
    let wanted = wanted(call)?;
    let (own_texts, wanted_texts) = (texts_of(own)?, texts_of(&wanted)?);
    let (own_texts, wanted_texts) = (own_texts.as_string_view(), wanted_texts.as_string_view());
    let found: BooleanArray = (0..own.len())
        .map(|row| {
            let values = Values::new(own_texts, span(own, row).unwrap_or_default());
            let wanted = span(&wanted, row).map(|span| Values::new(wanted_texts, span).collect());
            holds(values, wanted)
        })
        .collect();
    Ok(Arc::new(found))
}

/// What is looked for: an array, or one value, which stays a value where it is NULL.
fn wanted(call: &Call<'_>) -> Result<ListArray> {
    let array = call.array(1)?;
    if matches!(array.data_type(), DataType::List(_) | DataType::LargeList(_)) {
        return lists(call, 1);
    }
    let texts = to_type(&array, &DataType::Utf8View)?;
    let lists = to_type(&texts, &list_of(DataType::Utf8View))?;
    match lists.as_list_opt::<i32>() {
        Some(lists) => Ok(lists.clone()),
        None => exec_err!("expected an array, found {}", lists.data_type()),
    }
}

/// The texts of a row.
#[derive(Clone)]
struct Values<'a> {
    texts: &'a StringViewArray,
    rest: std::ops::Range<usize>,
}

impl<'a> Values<'a> {
    fn new(texts: &'a StringViewArray, rest: std::ops::Range<usize>) -> Self {
        Values { texts, rest }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.rest.next()?;
        Some(self.texts.is_valid(position).then(|| self.texts.value(position)))
    }
}
