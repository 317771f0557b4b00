//! Texts. Positions and lengths count UTF-16 code units, as Java's do.

mod affix;
mod format;
mod part;
mod regexp;
mod search;

pub(crate) use regexp::{check_pattern, split};

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use crate::function::{Call, defined};

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = defined(part::FUNCTIONS);
    functions.extend(defined(affix::FUNCTIONS));
    functions.extend(defined(search::FUNCTIONS));
    functions.extend(defined(regexp::FUNCTIONS));
    functions.extend(defined(format::FUNCTIONS));
    functions
}

/// A text of each row's first argument.
fn map_text<'a>(call: &Call<'_>, map: impl Fn(&str) -> Option<Cow<'a, str>>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let mapped: StringViewArray = texts.iter().map(|text| text.and_then(&map)).collect();
    Ok(Arc::new(mapped))
}

/// A text as UTF-16 code units, cut at `from..to`; halves of a pair become replacement characters.
pub(crate) fn slice_units(text: &str, from: usize, to: usize) -> Cow<'_, str> {
    if text.is_ascii() {
        let end = to.min(text.len());
        return Cow::Borrowed(text.get(from.min(end)..end).unwrap_or_default());
    }
    let units: Vec<u16> = text
        .encode_utf16()
        .skip(from)
        .take(to.saturating_sub(from))
        .collect();
    Cow::Owned(String::from_utf16_lossy(&units))
}

/// Length in UTF-16 code units.
pub(crate) fn length_units(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.encode_utf16().count()
    }
}

/// Where `needle` begins in `text` at or after the unit `from`, in units.
pub(crate) fn find_units(text: &str, needle: &str, from: usize) -> Option<usize> {
    let start = if text.is_ascii() {
        from
    } else {
        let mut units = 0;
        text.char_indices()
            .find(|(_, character)| {
                let found = units >= from;
                units += character.len_utf16();
                found
            })
            .map_or(text.len(), |(position, _)| position)
    };
    let found = text.get(start..)?.find(needle)? + start;
    text.get(..found).map(length_units)
}
