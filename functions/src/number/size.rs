//! HUMAN_READABLE_…: sizes with a unit.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use datafusion::common::{Result, exec_err};

use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::Long;

pub(super) const FUNCTIONS: [Definition; 3] = [
    Definition::new(
        "human_readable_binary_byte_format",
        &[Long],
        Gives::Text,
        |call| each(call, binary),
    )
    .or(&[Long]),
    Definition::new(
        "human_readable_decimal_byte_format",
        &[Long],
        Gives::Text,
        |call| each(call, |value, digits| decimal(value, digits, "B")),
    )
    .or(&[Long]),
    Definition::new("human_readable_decimal_format", &[Long], Gives::Text, |call| {
        each(call, |value, digits| {
            decimal(value, digits, "").trim_end().to_owned()
        })
    })
    .or(&[Long]),
];

/// Digits after the point unless said otherwise.
const PRECISION: i64 = 2;

fn each(call: &Call<'_>, show: impl Fn(i64, usize) -> String) -> Result<ArrayRef> {
    let values = call.longs(0)?;
    let precisions = if call.has(1) { Some(call.longs(1)?) } else { None };
    let texts = values.iter().enumerate().map(|(row, value)| {
        let Some(value) = value else { return Ok(None) };
        let precision = precisions
            .as_ref()
            .map_or(PRECISION, |precisions| precisions.value(row));
        match usize::try_from(precision) {
            Ok(digits) if digits <= 3 => Ok(Some(show(value, digits))),
            _ => exec_err!(
                "Function[{}] precision [{precision}] must be in the range of [0,3]",
                call.name
            ),
        }
    });
    let texts: StringViewArray = texts.collect::<Result<_>>()?;
    Ok(Arc::new(texts))
}

fn binary(value: i64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if (-1023..1024).contains(&value) {
        return format!("{value} B");
    }
    let unit = (63 - value.unsigned_abs().leading_zeros()) / 10;
    let scaled = value as f64 / 2_f64.powi(i32::try_from(unit * 10).unwrap_or(0));
    let name = UNITS.get(unit as usize).copied().unwrap_or_default();
    format!("{scaled:.digits$} {name}B")
}

fn decimal(value: i64, digits: usize, suffix: &str) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if (-999..1000).contains(&value) {
        return format!("{value} {suffix}");
    }
    let (mut value, mut unit) = (value, 0);
    while !(-999_999..1_000_000).contains(&value) {
        value /= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    format!("{:.digits$} {name}{suffix}", value as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(binary(1_048_576, 2), "1.00 MiB");
        assert_eq!(binary(500, 2), "500 B");
        assert_eq!(decimal(1_048_576, 2, "B"), "1.05 MB");
        assert_eq!(decimal(1_048_576, 0, ""), "1 M");
        assert_eq!(decimal(-999, 2, "B"), "-999 B");
    }
}
