//! What is in a text, and what its digits mean.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringViewArray};
use datafusion::common::{Result, exec_err};

use super::find_units;
use crate::base64::decode;
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Long, Text};

pub(super) const FUNCTIONS: [Definition; 6] = [
    Definition::new("contains_string", &[Text, Text], Gives::Condition, |call| {
        contains(call, &call.texts(0)?, str::to_owned)
    }),
    Definition::new("icontains_string", &[Text, Text], Gives::Condition, |call| {
        let texts = call.texts(0)?;
        let lower: StringViewArray = texts.iter().map(|text| Some(text?.to_lowercase())).collect();
        contains(call, &lower, str::to_lowercase)
    }),
    Definition::new("strpos", &[Text, Text], Gives::Long, |call| {
        position(call, &call.texts(0)?, &call.texts(1)?)
    }),
    Definition::new("position", &[Text, Text], Gives::Long, |call| {
        position(call, &call.texts(1)?, &call.texts(0)?)
    })
    .or(&[Long]),
    Definition::new("parse_long", &[Text], Gives::Long, parse_long).or(&[Long]),
    Definition::new("decode_base64_utf8", &[Text], Gives::Text, |call| {
        let texts: StringViewArray = call
            .texts(0)?
            .iter()
            .map(|text| match text {
                None => Ok(None),
                Some(text) => match decode(text) {
                    Some(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                    None => exec_err!("Function[decode_base64_utf8] invalid base64 [{text}]"),
                },
            })
            .collect::<Result<_>>()?;
        Ok(Arc::new(texts))
    }),
];

/// Whether the second argument, as `form` has it, is in a text.
fn contains(call: &Call<'_>, texts: &StringViewArray, form: impl Fn(&str) -> String) -> Result<ArrayRef> {
    if let Some(part) = call.constant(1)
        && let Some(Some(part)) = part.try_as_str()
    {
        let part = StringViewArray::new_scalar(form(part));
        return Ok(Arc::new(arrow::compute::contains(texts, &part)?));
    }
    let parts = call.texts(1)?;
    let found: BooleanArray = texts
        .iter()
        .zip(&parts)
        .map(|(text, part)| Some(text?.contains(&form(part?))))
        .collect();
    Ok(Arc::new(found))
}

/// Position of a part from 1, 0 when it is not there; the search may begin later than at the first unit.
fn position(call: &Call<'_>, texts: &StringViewArray, parts: &StringViewArray) -> Result<ArrayRef> {
    let starts = if call.has(2) { Some(call.longs(2)?) } else { None };
    let positions: Int64Array = texts
        .iter()
        .zip(parts)
        .enumerate()
        .map(|(row, (text, part))| {
            let start = match &starts {
                None => 1,
                Some(starts) if starts.is_valid(row) => starts.value(row),
                Some(_) => return None,
            };
            let from = usize::try_from(start - 1).unwrap_or(0);
            Some(find_units(text?, part?, from).map_or(0, |found| {
                i64::try_from(found).unwrap_or(i64::MAX).saturating_add(1)
            }))
        })
        .collect();
    Ok(Arc::new(positions))
}

/// PARSE_LONG(text [, radix]): NULL for what is no such number.
fn parse_long(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let radixes = if call.has(1) { Some(call.longs(1)?) } else { None };
    let longs: Int64Array = texts
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let radix = match &radixes {
                None => 10,
                Some(radixes) if radixes.is_valid(row) => u32::try_from(radixes.value(row)).ok()?,
                Some(_) => 10,
            };
            if !(2..=36).contains(&radix) {
                return None;
            }
            let text = text?;
            let digits = match text.get(..2) {
                Some("0x" | "0X") if radix == 16 => text.get(2..)?,
                _ => text,
            };
            i64::from_str_radix(digits, radix).ok()
        })
        .collect();
    Ok(Arc::new(longs))
}
