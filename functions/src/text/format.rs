//! STRING_FORMAT: Java's `String.format`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::Result;

use crate::cast::to_text;
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Any, Text};

pub(super) const FUNCTIONS: [Definition; 1] =
    [Definition::new("string_format", &[Text], Gives::Text, format).and_more(Any)];

/// A value of a row.
enum Argument {
    Null,
    Long(i64),
    Double(f64),
    Text(String),
}

fn argument(array: &ArrayRef, texts: &ArrayRef, row: usize) -> Argument {
    if array.is_null(row) {
        return Argument::Null;
    }
    match array.data_type() {
        DataType::Int64 => Argument::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Argument::Double(array.as_primitive::<Float64Type>().value(row)),
        _ => Argument::Text(texts.as_string_view().value(row).to_owned()),
    }
}

fn format(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.texts(0)?;
    let mut columns = Vec::new();
    for position in 1..call.arguments.len() {
        let array = call.array(position)?;
        let array = match array.data_type() {
            DataType::Float32 => arrow::compute::cast(&array, &DataType::Float64)?,
            DataType::Boolean => arrow::compute::cast(&array, &DataType::Int64)?,
            _ => array,
        };
        let texts = to_text(&array)?;
        columns.push((array, texts));
    }
    let mut formatted = StringViewBuilder::with_capacity(call.rows);
    for (row, pattern) in patterns.iter().enumerate() {
        let Some(pattern) = pattern else {
            formatted.append_null();
            continue;
        };
        let arguments: Vec<Argument> = columns
            .iter()
            .map(|(array, texts)| argument(array, texts, row))
            .collect();
        // A pattern that does not fit its arguments is given out with them behind it, as Druid does.
        let text = one(pattern, &arguments).unwrap_or_else(|| {
            let shown: Vec<String> = arguments.iter().map(shown).collect();
            std::iter::once(pattern.to_owned())
                .chain(shown)
                .collect::<Vec<_>>()
                .join("; ")
        });
        formatted.append_value(text);
    }
    Ok(Arc::new(formatted.finish()))
}

fn shown(argument: &Argument) -> String {
    match argument {
        Argument::Null => "null".to_owned(),
        Argument::Long(value) => value.to_string(),
        Argument::Double(value) => crate::number::print::double_text(*value),
        Argument::Text(text) => text.clone(),
    }
}

/// What stands between `%` and its letter.
#[derive(Default)]
struct Layout {
    flags: String,
    width: usize,
    precision: Option<usize>,
}

fn one(pattern: &str, arguments: &[Argument]) -> Option<String> {
    let mut text = String::new();
    let mut next = 0;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut layout = Layout::default();
        let mut number = String::new();
        let mut given = None;
        loop {
            match *letters.peek()? {
                digit if digit.is_ascii_digit() && !(number.is_empty() && digit == '0') => number.push(digit),
                '$' => {
                    given = Some(number.parse::<usize>().ok()?.checked_sub(1)?);
                    number.clear();
                }
                flag @ ('-' | '+' | ' ' | '0' | ',' | '#' | '(') => layout.flags.push(flag),
                _ => break,
            }
            letters.next();
        }
        layout.width = number.parse().unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            layout.precision = Some(digits.parse().ok()?);
        }
        match letters.next()? {
            '%' => text.push('%'),
            'n' => text.push('\n'),
            conversion => {
                let position = given.unwrap_or_else(|| {
                    next += 1;
                    next - 1
                });
                text.push_str(&layout.apply(&converted(conversion, arguments.get(position)?, &layout)?));
            }
        }
    }
    Some(text)
}

fn converted(conversion: char, argument: &Argument, layout: &Layout) -> Option<String> {
    let precision = layout.precision.unwrap_or(6);
    let text = match (conversion.to_ascii_lowercase(), argument) {
        (_, Argument::Null) => "null".to_owned(),
        ('s', argument) => {
            let text = shown(argument);
            match layout.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text,
            }
        }
        ('b', _) => "true".to_owned(),
        ('d', Argument::Long(value)) => {
            layout.signed(*value < 0, layout.grouped(&value.unsigned_abs().to_string()))
        }
        ('x', Argument::Long(value)) => format!("{value:x}"),
        ('o', Argument::Long(value)) => format!("{value:o}"),
        ('f', Argument::Double(value)) => layout.signed(
            value.is_sign_negative(),
            layout.grouped(&format!("{:.precision$}", value.abs())),
        ),
        ('e', Argument::Double(value)) => {
            let text = format!("{:.precision$e}", value.abs());
            let (mantissa, exponent) = text.split_once('e')?;
            let exponent: i32 = exponent.parse().ok()?;
            let sign = if exponent < 0 { '-' } else { '+' };
            layout.signed(
                value.is_sign_negative(),
                format!("{mantissa}e{sign}{:02}", exponent.abs()),
            )
        }
        _ => return None,
    };
    Some(if conversion.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    })
}

impl Layout {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn signed(&self, negative: bool, digits: String) -> String {
        if negative {
            format!("-{digits}")
        } else if self.has('+') {
            format!("+{digits}")
        } else if self.has(' ') {
            format!(" {digits}")
        } else {
            digits
        }
    }

    /// Thousands parted by commas, if that is wanted.
    fn grouped(&self, number: &str) -> String {
        if !self.has(',') {
            return number.to_owned();
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut grouped = String::new();
        for (position, digit) in whole.chars().enumerate() {
            if position > 0 && (whole.len() - position).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        if fraction.is_empty() {
            grouped
        } else {
            format!("{grouped}.{fraction}")
        }
    }

    fn apply(&self, text: &str) -> String {
        let width = self.width;
        if self.has('-') {
            format!("{text:<width$}")
        } else if self.has('0') && text.chars().count() < width {
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            let width = width - sign.len();
            format!("{sign}{digits:0>width$}")
        } else {
            format!("{text:>width$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_java_does() {
        let arguments = [
            Argument::Text("a".to_owned()),
            Argument::Long(-1234567),
            Argument::Double(2.5),
            Argument::Null,
        ];
        for (pattern, text) in [
            ("%s-%d", "a--1234567"),
            ("%2$,d|%1$5s|%1$-5s|", "-1,234,567|    a|a    |"),
            ("%3$.2f %3$08.3f %3$e", "2.50 0002.500 2.500000e+00"),
            ("100%% %4$s", "100% null"),
        ] {
            assert_eq!(one(pattern, &arguments).as_deref(), Some(text), "{pattern}");
        }
        assert_eq!(one("%d", &arguments), None);
    }
}
