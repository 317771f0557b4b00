//! Numbers as Java prints them.

/// A double as Java's `Double.toString`: `1.0`, `1.0E10`, `NaN`.
pub fn double_text(value: f64) -> String {
    special(value).unwrap_or_else(|| digits(value < 0.0, &format!("{:e}", value.abs())))
}

/// A float as Java's `Float.toString`.
pub fn float_text(value: f32) -> String {
    special(value.into()).unwrap_or_else(|| digits(value < 0.0, &format!("{:e}", value.abs())))
}

fn special(value: f64) -> Option<String> {
    let text = if value.is_nan() {
        "NaN"
    } else if value == f64::INFINITY {
        "Infinity"
    } else if value == f64::NEG_INFINITY {
        "-Infinity"
    } else if value == 0.0 {
        if value.is_sign_negative() { "-0.0" } else { "0.0" }
    } else {
        return None;
    };
    Some(text.to_owned())
}

/// Lays out `d.ddde±x`, the shortest digits that mean the number.
fn digits(negative: bool, scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let sign = if negative { "-" } else { "" };
    let or_zero = |text: &str| {
        if text.is_empty() {
            "0".to_owned()
        } else {
            text.to_owned()
        }
    };
    match exponent {
        -3..0 => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
        0..7 => {
            let whole = usize::try_from(exponent).unwrap_or(0) + 1;
            let padded = format!("{digits:0<whole$}");
            let (left, right) = padded.split_at(whole);
            format!("{sign}{left}.{}", or_zero(right))
        }
        _ => {
            let (left, right) = digits.split_at(1.min(digits.len()));
            format!("{sign}{left}.{}E{exponent}", or_zero(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_as_java_writes_them() {
        for (value, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-0.25, "-0.25"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1234567.0, "1234567.0"),
            (12345678.0, "1.2345678E7"),
            (1e10, "1.0E10"),
            (1.5e300, "1.5E300"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (-0.5, "-0.5"),
            (1e7, "1.0E7"),
            (9_999_999.5, "9999999.5"),
            (1.25e-4, "1.25E-4"),
        ] {
            assert_eq!(double_text(value), text);
        }
        assert_eq!(float_text(0.1), "0.1");
    }
}
