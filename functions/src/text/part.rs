//! Lengths, parts and changes of texts.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use datafusion::common::{Result, exec_err};

use super::{length_units, map_text, slice_units};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Long, Text};

pub(super) const FUNCTIONS: [Definition; 9] = [
    Definition::new("length", &[Text], Gives::Long, length).also(&[
        "char_length",
        "character_length",
        "strlen",
    ]),
    Definition::new("lower", &[Text], Gives::Text, |call| {
        map_text(call, |text| Some(text.to_lowercase().into()))
    }),
    Definition::new("upper", &[Text], Gives::Text, |call| {
        map_text(call, |text| Some(text.to_uppercase().into()))
    }),
    Definition::new("reverse", &[Text], Gives::Text, |call| {
        map_text(call, |text| Some(text.chars().rev().collect::<String>().into()))
    }),
    Definition::new("repeat", &[Text, Long], Gives::Text, |call| {
        with_count(call, repeat)
    }),
    Definition::new("left", &[Text, Long], Gives::Text, |call| {
        with_count(call, |text, count| {
            Ok(Some(slice_units(text, 0, positive("LEFT", count)?)))
        })
    }),
    Definition::new("right", &[Text, Long], Gives::Text, |call| {
        with_count(call, |text, count| {
            let length = length_units(text);
            Ok(Some(slice_units(
                text,
                length.saturating_sub(positive("RIGHT", count)?),
                length,
            )))
        })
    }),
    Definition::new("substring", &[Text, Long], Gives::Text, substring)
        .or(&[Long])
        .also(&["substr"]),
    Definition::new("replace", &[Text, Text, Text], Gives::Text, replace),
];

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    let lengths: Int64Array = call
        .texts(0)?
        .iter()
        .map(|text| text.map(|text| i64::try_from(length_units(text)).unwrap_or(i64::MAX)))
        .collect();
    Ok(Arc::new(lengths))
}

fn positive(name: &str, count: i64) -> Result<usize> {
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => exec_err!("Function[{name}] needs a positive integer as the second argument"),
    }
}

fn with_count(
    call: &Call<'_>,
    part: impl for<'t> Fn(&'t str, i64) -> Result<Option<Cow<'t, str>>>,
) -> Result<ArrayRef> {
    let (texts, counts) = (call.texts(0)?, call.longs(1)?);
    let parts = texts.iter().zip(&counts).map(|row| match row {
        (Some(text), Some(count)) => part(text, count),
        _ => Ok(None),
    });
    let parts: StringViewArray = parts.collect::<Result<_>>()?;
    Ok(Arc::new(parts))
}

/// Texts that REPEAT makes at the most, in bytes.
const MOST_REPEATED: usize = 64 << 20;

fn repeat(text: &str, count: i64) -> Result<Option<Cow<'_, str>>> {
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        return Ok(None);
    };
    if text.len().saturating_mul(count) > MOST_REPEATED {
        return exec_err!("REPEAT would make a string of more than {MOST_REPEATED} bytes");
    }
    Ok(Some(text.repeat(count).into()))
}

/// SUBSTRING(text, start [, length]) from 1; a start beyond the end gives NULL.
fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, starts) = (call.texts(0)?, call.longs(1)?);
    let lengths = if call.has(2) { Some(call.longs(2)?) } else { None };
    let parts = texts.iter().zip(&starts).enumerate().map(|(row, pair)| {
        let (Some(text), Some(start)) = pair else {
            return Ok(None);
        };
        let length = match &lengths {
            None => i64::MAX,
            Some(lengths) => match arrow::array::Array::is_valid(lengths, row) {
                true => lengths.value(row),
                false => return Ok(None),
            },
        };
        if length < 0 {
            return exec_err!("SUBSTRING needs a length that is not negative");
        }
        // Characters before the first one count towards the length.
        let first = start.saturating_sub(1);
        let end = first.saturating_add(length).max(0);
        let first = usize::try_from(first.max(0)).unwrap_or(usize::MAX);
        if first >= length_units(text) {
            return Ok(None);
        }
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        Ok(Some(slice_units(text, first, end.max(first))))
    });
    let parts: StringViewArray = parts.collect::<Result<_>>()?;
    Ok(Arc::new(parts))
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns, replacements) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let replaced: StringViewArray = texts
        .iter()
        .zip(&patterns)
        .zip(&replacements)
        .map(|((text, pattern), replacement)| Some(text?.replace(pattern?, replacement?)))
        .collect();
    Ok(Arc::new(replaced))
}
