//! What is put before, after and between texts, and taken off them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder};
use datafusion::common::Result;

use super::{length_units, slice_units};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Long, Text};

pub(super) const FUNCTIONS: [Definition; 7] = [
    Definition::new("concat", &[Text], Gives::Text, concat).and_more(Text),
    Definition::new("textcat", &[Text, Text], Gives::Text, concat),
    Definition::new("lpad", &[Text, Long], Gives::Text, |call| pad(call, Side::Left)).or(&[Text]),
    Definition::new("rpad", &[Text, Long], Gives::Text, |call| pad(call, Side::Right)).or(&[Text]),
    Definition::new("btrim", &[Text], Gives::Text, |call| {
        trim(call, |text, is_in| text.trim_matches(is_in))
    })
    .or(&[Text])
    .also(&["trim"]),
    Definition::new("ltrim", &[Text], Gives::Text, |call| {
        trim(call, |text, is_in| text.trim_start_matches(is_in))
    })
    .or(&[Text]),
    Definition::new("rtrim", &[Text], Gives::Text, |call| {
        trim(call, |text, is_in| text.trim_end_matches(is_in))
    })
    .or(&[Text]),
];

/// All arguments of a row joined; NULL when one of them is.
fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let columns: Vec<StringViewArray> = (0..call.arguments.len())
        .map(|position| call.texts(position))
        .collect::<Result<_>>()?;
    let mut joined = StringViewBuilder::with_capacity(call.rows);
    let mut text = String::new();
    for row in 0..call.rows {
        if columns.iter().any(|column| column.is_null(row)) {
            joined.append_null();
            continue;
        }
        text.clear();
        for column in &columns {
            text.push_str(column.value(row));
        }
        joined.append_value(&text);
    }
    Ok(Arc::new(joined.finish()))
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

fn pad(call: &Call<'_>, side: Side) -> Result<ArrayRef> {
    let (texts, lengths) = (call.texts(0)?, call.longs(1)?);
    let pads = if call.has(2) { Some(call.texts(2)?) } else { None };
    let padded: StringViewArray = texts
        .iter()
        .zip(&lengths)
        .enumerate()
        .map(|(row, (text, length))| {
            let pad = match &pads {
                None => " ",
                Some(pads) if pads.is_valid(row) => pads.value(row),
                Some(_) => return None,
            };
            padded(text?, length.unwrap_or(0), pad, side)
        })
        .collect();
    Ok(Arc::new(padded))
}

fn padded(text: &str, length: i64, pad: &str, side: Side) -> Option<String> {
    if length == 0 {
        return None;
    }
    let length = usize::try_from(length).unwrap_or(0);
    let missing = length.saturating_sub(length_units(text));
    if missing == 0 {
        return Some(slice_units(text, 0, length).into_owned());
    }
    let width = length_units(pad);
    if width == 0 {
        return Some(text.to_owned());
    }
    let filling = pad.repeat(missing.div_ceil(width));
    let filling = slice_units(&filling, 0, missing);
    Some(match side {
        Side::Left => format!("{filling}{text}"),
        Side::Right => format!("{text}{filling}"),
    })
}

/// Takes off characters of a set, spaces by default.
fn trim(
    call: &Call<'_>,
    off: impl for<'t> Fn(&'t str, &dyn Fn(char) -> bool) -> &'t str,
) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let sets = if call.has(1) { Some(call.texts(1)?) } else { None };
    let trimmed: StringViewArray = texts
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let set = match &sets {
                None => " ",
                Some(sets) if sets.is_valid(row) => sets.value(row),
                Some(_) => return None,
            };
            text.map(|text| off(text, &|character| set.contains(character)))
        })
        .collect();
    Ok(Arc::new(trimmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_from_its_own_beginning_and_cuts_what_is_too_long() {
        assert_eq!(padded("abc", 7, "xy", Side::Left).as_deref(), Some("xyxyabc"));
        assert_eq!(padded("abc", 6, "xy", Side::Left).as_deref(), Some("xyxabc"));
        assert_eq!(padded("abc", 6, "xy", Side::Right).as_deref(), Some("abcxyx"));
        assert_eq!(padded("abc", 2, "xy", Side::Right).as_deref(), Some("ab"));
        assert_eq!(padded("abc", 5, "", Side::Right).as_deref(), Some("abc"));
        assert_eq!(padded("abc", 0, "x", Side::Right), None);
    }
}
