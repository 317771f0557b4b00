//! Regular expressions. A pattern may match anywhere in a text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringArray, StringViewArray};
use arrow::compute::cast;
use arrow::compute::kernels::regexp::{regexp_is_match_scalar, regexp_match};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::functions::regex;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;

use crate::function::{Call, Definition, Gives, list_of};
use crate::operand::Operand::{Long, Text};

pub(super) const FUNCTIONS: [Definition; 4] = [
    Definition::new("regexp_like", &[Text, Text], Gives::Condition, like),
    Definition::new("regexp_extract", &[Text, Text], Gives::Text, extract).or(&[Long]),
    Definition::new("regexp_replace", &[Text, Text, Text], Gives::Text, replace),
    Definition::new("string_to_array", &[Text, Text], Gives::Texts, split),
];

/// Refuses a literal pattern that is none when a call is planned.
///
/// # Errors
/// In Druid's words, with the regular expression library's reason.
pub(crate) fn check_pattern(name: &str, literals: &[Option<&ScalarValue>]) -> Result<()> {
    if !name.starts_with("regexp_") {
        return Ok(());
    }
    let literal = literals.get(1).copied().flatten();
    let Some(pattern) = literal.and_then(|pattern| pattern.try_as_str().flatten()) else {
        return Ok(());
    };
    let no_texts = StringViewArray::new_null(0);
    match regexp_is_match_scalar(&no_texts, pattern, None) {
        Ok(_) => Ok(()),
        Err(reason) => plan_err!(
            "An invalid pattern [{pattern}] was provided for the [{name}] function, error: [{reason}]"
        ),
    }
}

fn pattern<'c>(call: &'c Call<'_>) -> Result<Option<&'c str>> {
    call.literal_text(1)
}

fn like(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    Ok(match pattern(call)? {
        None => Arc::new(BooleanArray::new_null(call.rows)),
        Some(pattern) => Arc::new(regexp_is_match_scalar(&texts, pattern, None)?),
    })
}

/// A group of the first match, all of it for group 0; NULL without a match.
fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = cast(&call.texts(0)?, &DataType::Utf8)?;
    let group = match call.constant(2) {
        None => 0,
        Some(group) => match group.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(group)) => group,
            _ => 0,
        },
    };
    let (Some(pattern), Ok(group)) = (pattern(call)?, usize::try_from(group)) else {
        return Ok(Arc::new(StringViewArray::new_null(call.rows)));
    };
    // The kernel gives the groups of a match: all of it is one when it stands in parentheses.
    let pattern = Scalar::new(StringArray::from(vec![format!("({pattern})")]));
    let matches = regexp_match(&texts, &pattern, None)?;
    let matches = matches.as_list::<i32>();
    let found: StringViewArray = (0..matches.len())
        .map(|row| {
            if matches.is_null(row) {
                return None;
            }
            let groups = matches.value(row);
            let groups = groups.as_string::<i32>();
            (group < groups.len() && groups.is_valid(group)).then(|| groups.value(group).to_owned())
        })
        .collect();
    Ok(Arc::new(found))
}

/// Java's `$1` as the regex crate reads it: digits end a group's name.
fn braced(replacement: &str) -> String {
    let mut braced = String::with_capacity(replacement.len());
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => braced.push_str("$$"),
                Some(other) => braced.push(other),
                None => braced.push('\\'),
            },
            '$' => {
                let mut group = String::new();
                while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                    group.push(digit);
                }
                if group.is_empty() {
                    braced.push('$');
                } else {
                    braced.push_str(&format!("${{{group}}}"));
                }
            }
            other => braced.push(other),
        }
    }
    braced
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (Some(pattern), Some(replacement)) = (pattern(call)?, call.literal_text(2)?) else {
        return Ok(Arc::new(StringViewArray::new_null(call.rows)));
    };
    let text = |text: &str| ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text.to_owned())));
    let function = regex::regexp_replace();
    let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8View, true));
    let replaced = function.invoke_with_args(ScalarFunctionArgs {
        args: vec![
            ColumnarValue::Array(Arc::new(call.texts(0)?)),
            text(pattern),
            text(&braced(replacement)),
            text("g"),
        ],
        arg_fields: vec![
            field("text"),
            field("pattern"),
            field("replacement"),
            field("flags"),
        ],
        number_rows: call.rows,
        return_field: field("replaced"),
        config_options: Arc::default(),
    })?;
    Ok(cast(&replaced.to_array(call.rows)?, &DataType::Utf8View)?)
}

/// Texts between the matches of a pattern; empty ones at the end are left out, as in Java.
pub(crate) fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let separator = pattern(call)?.unwrap_or_default();
    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringViewBuilder::new());
    for text in &texts {
        match text {
            None => lists.append_null(),
            Some(text) => {
                for part in parts(text, separator)? {
                    lists.values().append_value(part);
                }
                lists.append(true);
            }
        }
    }
    Ok(cast(
        &(Arc::new(lists.finish()) as ArrayRef),
        &list_of(DataType::Utf8View),
    )?)
}

fn parts(text: &str, separator: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Ok(vec![String::new()]);
    }
    let mut parts = if separator.is_empty() {
        text.chars().map(String::from).collect()
    } else if let Some(literal) = literal(separator) {
        text.split(&literal).map(str::to_owned).collect()
    } else {
        matched_parts(text, separator)?
    };
    while parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Ok(parts)
}

/// A pattern that is a plain text: nothing in it has a meaning, or all that has is escaped.
fn literal(pattern: &str) -> Option<String> {
    let mut literal = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let escaped = letters.next()?;
                if escaped.is_ascii_alphanumeric() {
                    return None;
                }
                literal.push(escaped);
            }
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
            other => literal.push(other),
        }
    }
    Some(literal)
}

/// Splits at matches: each is found as what stands before it, itself, and the rest.
fn matched_parts(text: &str, separator: &str) -> Result<Vec<String>> {
    let pattern = Scalar::new(StringArray::from(vec![format!(
        "(?s)^(.*?)((?:{separator}))(.*)$"
    )]));
    let mut parts = Vec::new();
    let mut rest = text.to_owned();
    loop {
        let row = StringArray::from(vec![rest.as_str()]);
        let found = regexp_match(&row, &pattern, None)?;
        let found = found.as_list::<i32>();
        if found.is_null(0) {
            parts.push(rest);
            return Ok(parts);
        }
        let groups = found.value(0);
        let groups = groups.as_string::<i32>();
        let (before, after) = match groups.len() {
            length if length >= 3 => (groups.value(0).to_owned(), groups.value(length - 1).to_owned()),
            _ => return exec_err!("[{separator}] is not a pattern to split by"),
        };
        if after.len() == rest.len() {
            // A match of nothing stands between any two characters.
            let mut characters = rest.chars();
            let Some(first) = characters.next() else {
                return Ok(parts);
            };
            let after = characters.as_str().to_owned();
            parts.push(first.to_string());
            rest = after;
            continue;
        }
        parts.push(before);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn splits_as_java_does() {
        assert_eq!(parts("a|b||", "\\|").unwrap(), ["a", "b"]);
        assert_eq!(parts("a1b22c", "[0-9]+").unwrap(), ["a", "b", "c"]);
        assert_eq!(parts("abc", "").unwrap(), ["a", "b", "c"]);
        assert_eq!(parts("", ",").unwrap(), [""]);
        assert_eq!(parts("1a2", "|").unwrap(), ["1", "a", "2"]);
    }

    #[test]
    fn groups_of_a_replacement_end_with_their_digits() {
        assert_eq!(braced("$1a\\$ $"), "${1}a$$ $");
    }
}
