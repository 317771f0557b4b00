//! Numbers within the texts that describe sketches, as Java's formatter writes them.

/// `%,d`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `%12.6e`.
pub(super) fn scientific(number: f64) -> String {
    let text = if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 {
            "Infinity".to_owned()
        } else {
            "-Infinity".to_owned()
        }
    } else {
        let text = format!("{number:.6e}");
        match text.split_once('e') {
            Some((digits, exponent)) => {
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                format!("{digits}e{sign}{exponent:0>2}")
            }
            None => text,
        }
    };
    format!("{text:>12}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_javas_formatter() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (566_138, "566,138"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        let table = [
            (24.0, "2.400000e+01"),
            (-0.0012, "-1.200000e-03"),
            (1e100, "1.000000e+100"),
            (f64::NAN, "         NaN"),
        ];
        for (number, text) in table {
            assert_eq!(scientific(number), text);
        }
    }
}
