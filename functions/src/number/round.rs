//! Rounding and signs: the result has the type of the number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use datafusion::common::Result;

use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Long, Number};

pub(super) const FUNCTIONS: [Definition; 5] = [
    Definition::new("abs", &[Number], Gives::First, |call| {
        each(call, |value, _| value.wrapping_abs(), |value, _| value.abs())
    }),
    Definition::new("ceil", &[Number], Gives::First, |call| {
        each(call, |value, _| value, |value, _| value.ceil())
    })
    .also(&["ceiling"]),
    Definition::new("floor", &[Number], Gives::First, |call| {
        each(call, |value, _| value, |value, _| value.floor())
    }),
    Definition::new("round", &[Number], Gives::First, |call| {
        each(call, |value, digits| whole(value, digits, half_up), round)
    })
    .or(&[Long]),
    Definition::new("truncate", &[Number], Gives::First, |call| {
        each(
            call,
            |value, digits| whole(value, digits, |value, unit| value / unit * unit),
            truncate,
        )
    })
    .or(&[Long])
    .also(&["trunc"]),
];

/// Applies the function of the argument's type; digits are 0 without a second argument.
fn each(
    call: &Call<'_>,
    of_long: impl Fn(i64, i32) -> i64,
    of_double: impl Fn(f64, i32) -> f64,
) -> Result<ArrayRef> {
    let array = call.array(0)?;
    let digits = if call.has(1) { Some(call.longs(1)?) } else { None };
    let digit = |row: usize| match &digits {
        None => Some(0),
        Some(digits) if digits.is_valid(row) => i32::try_from(digits.value(row)).ok(),
        Some(_) => None,
    };
    Ok(match array.data_type() {
        DataType::Int64 => {
            let longs = array.as_primitive::<Int64Type>().iter().enumerate();
            Arc::new(
                longs
                    .map(|(row, value)| Some(of_long(value?, digit(row)?)))
                    .collect::<Int64Array>(),
            )
        }
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>().iter().enumerate();
            Arc::new(
                floats
                    .map(|(row, value)| Some(of_double(value?.into(), digit(row)?) as f32))
                    .collect::<Float32Array>(),
            )
        }
        _ => {
            let doubles = call.doubles(0)?;
            Arc::new(
                doubles
                    .iter()
                    .enumerate()
                    .map(|(row, value)| Some(of_double(value?, digit(row)?)))
                    .collect::<Float64Array>(),
            )
        }
    })
}

/// A whole number brought to a multiple of ten to the `-digits`.
fn whole(value: i64, digits: i32, to: impl Fn(i128, i128) -> i128) -> i64 {
    if digits >= 0 {
        return value;
    }
    let unit = 10_i128.checked_pow(digits.unsigned_abs()).unwrap_or(i128::MAX);
    i64::try_from(to(value.into(), unit)).unwrap_or(value)
}

fn half_up(value: i128, unit: i128) -> i128 {
    let down = value / unit * unit;
    if (value - down).abs().saturating_mul(2) >= unit {
        down + unit * value.signum()
    } else {
        down
    }
}

/// Rounds the shortest decimal text of a number half up, so that 2.675 becomes 2.68.
fn round(value: f64, digits: i32) -> f64 {
    if value.is_nan() {
        return 0.0;
    }
    if value.is_infinite() {
        return f64::MAX.copysign(value);
    }
    if let Some(rounded) = round_at_once(value, digits) {
        return rounded;
    }
    decimal(value, digits, |rest| {
        rest.bytes().next().is_some_and(|digit| digit >= b'5')
    })
}

/// As the decimal text would be rounded, where its digits need not be looked at: the number is far enough from the middle
/// for the error of the product not to matter, and the quotient of two numbers without error is the nearest one.
fn round_at_once(value: f64, digits: i32) -> Option<f64> {
    let unit = UNITS.get(usize::try_from(digits).ok()?)?;
    let scaled = value.abs() * unit;
    let below = scaled.floor();
    let rest = scaled - below;
    if scaled > 1e11 || (rest - 0.5).abs() < 1e-4 {
        return None;
    }
    let whole = if rest > 0.5 { below + 1.0 } else { below };
    Some((whole / unit).copysign(value))
}

/// Powers of ten from the first one.
const UNITS: [f64; 12] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];

fn truncate(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    // By way of a LONG, as in Druid: what is no number is 0, and what is too large is as much as there is room for.
    (value * scale) as i64 as f64 / scale
}

/// Cuts a number's decimal text after so many digits; `up` says of the rest whether the last one grows.
fn decimal(value: f64, digits: i32, up: impl Fn(&str) -> bool) -> f64 {
    let text = format!("{}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let all = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).unwrap_or(i32::MAX);
    let Ok(keep) = usize::try_from(point.saturating_add(digits)) else {
        return 0.0;
    };
    if keep >= all.len() {
        return value;
    }
    let (kept, rest) = all.split_at(keep);
    let mut kept: Vec<u8> = std::iter::once(b'0').chain(kept.bytes()).collect();
    if up(rest) {
        for digit in kept.iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    let kept = String::from_utf8(kept).unwrap_or_default();
    let rounded: f64 = format!("{kept}e{}", -digits).parse().unwrap_or(value.abs());
    rounded.copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_up_in_decimal() {
        for (value, digits, rounded) in [
            (2.675, 2, 2.68),
            (-2.5, 0, -3.0),
            (1.4, 0, 1.0),
            (1234.5, -2, 1200.0),
            (0.05, 1, 0.1),
            (9.99, 1, 10.0),
            (5.0, -2, 0.0),
        ] {
            assert_eq!(round(value, digits), rounded, "{value} {digits}");
        }
        for number in 0..20_000_i32 {
            for (divisor, digits) in [(7.0, 2), (1000.0, 2), (8.0, 0), (2e6, 5), (1e9, 9), (-3.0, 1)] {
                let value = f64::from(number) / divisor;
                let exact = decimal(value, digits, |rest| {
                    rest.bytes().next().is_some_and(|digit| digit >= b'5')
                });
                assert_eq!(
                    round(value, digits).to_bits(),
                    exact.to_bits(),
                    "{value} {digits}"
                );
            }
        }
        assert_eq!(whole(150, -2, half_up), 200);
        assert_eq!(whole(-149, -2, half_up), -100);
        assert_eq!(truncate(-1.29, 1), -1.2);
        assert_eq!(truncate(f64::NAN, 2), 0.0);
        assert_eq!(truncate(f64::NEG_INFINITY, 11), -92_233_720.368_547_75);
    }
}
