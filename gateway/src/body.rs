//! What is wrong with a body of JSON, in the words and with the places of Druid's reader.

use serde_json::Value;

/// Druid's class for a query; clients see it in errors.
const QUERY: &str = "org.apache.druid.sql.http.SqlQuery";

/// One step into a document.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Words for a body that is no JSON.
pub fn syntax(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return format!(
            "Unexpected end-of-input within/between Object entries{}",
            source(body, body.len())
        );
    }
    let text = error.to_string();
    let reason = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    format!(
        "{reason}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]",
        error.line(),
        error.column()
    )
}

/// Words for a value of the wrong type at `path`, where `class` belongs; `chain` says through which fields.
pub fn wrong_type(body: &[u8], path: &[Step<'_>], value: &Value, class: Class, chain: &str) -> String {
    let simple = class.name();
    let words = match value {
        Value::Array(_) => format!(
            "Cannot deserialize value of type `{}` from Array value (token `JsonToken.START_ARRAY`)",
            class.full_name()
        ),
        Value::Object(_) => format!(
            "Cannot deserialize value of type `{}` from Object value (token `JsonToken.START_OBJECT`)",
            class.full_name()
        ),
        Value::String(text) => creator(simple, "String", &format!("String value ('{text}')")),
        Value::Number(number) => creator(simple, "int/Int", &format!("Number value ({number})")),
        Value::Bool(flag) => creator(simple, "boolean/Boolean", &format!("Boolean value ({flag})")),
        Value::Null => format!("Cannot construct instance of `{simple}`, problem: null"),
    };
    let at = locate(body, path).unwrap_or(0);
    format!("{words}{}{}", source(body, at), reference(chain))
}

/// Words for a query without text; Druid notices at the end of the object.
pub fn no_query(body: &[u8]) -> String {
    let end = body.trim_ascii_end().len().saturating_sub(1);
    format!(
        "Cannot construct instance of `{QUERY}`, problem: query{}",
        source(body, end)
    )
}

/// Words for a name that is none of `accepted`.
pub fn not_accepted(
    body: &[u8],
    path: &[Step<'_>],
    class: &str,
    name: &str,
    accepted: &[&str],
    chain: &str,
) -> String {
    format!(
        "Cannot deserialize value of type `{class}` from String \"{name}\": not one of the values accepted for Enum \
         class: [{}]{}{}",
        accepted.join(", "),
        source(body, locate(body, path).unwrap_or(0)),
        reference(chain)
    )
}

/// What a place of the body should hold.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    Query,
    Map,
    List,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::Query => QUERY,
            Class::Map => "java.util.LinkedHashMap",
            Class::List => "java.util.ArrayList",
        }
    }

    fn full_name(self) -> &'static str {
        match self {
            Class::Query => QUERY,
            Class::Map => "java.util.LinkedHashMap<java.lang.String,java.lang.Object>",
            Class::List => "java.util.ArrayList<org.apache.druid.sql.http.SqlParameter>",
        }
    }
}

fn creator(class: &str, argument: &str, found: &str) -> String {
    format!(
        "Cannot construct instance of `{class}` (although at least one Creator exists): no {argument}-argument \
         constructor/factory method to deserialize from {found}"
    )
}

fn reference(chain: &str) -> String {
    if chain.is_empty() {
        return String::new();
    }
    format!(" (through reference chain: {QUERY}{chain})")
}

/// Line and column, from 1, of the byte at `offset`.
fn source(body: &[u8], offset: usize) -> String {
    let before = body.get(..offset.min(body.len())).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!(
        "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )
}

/// Offset of the value at `path` in valid JSON.
fn locate(body: &[u8], path: &[Step<'_>]) -> Option<usize> {
    let mut at = skip_space(body, 0);
    for step in path {
        let mut position = 0;
        at = skip_space(body, at + 1);
        loop {
            let found = match step {
                Step::Key(key) => {
                    let end = skip_value(body, at)?;
                    let name: String = serde_json::from_slice(body.get(at..end)?).ok()?;
                    // Past the colon.
                    at = skip_space(body, skip_space(body, end) + 1);
                    name == *key
                }
                Step::Index(index) => position == *index,
            };
            if found {
                break;
            }
            at = skip_space(body, skip_value(body, at)?);
            if body.get(at) != Some(&b',') {
                return None;
            }
            at = skip_space(body, at + 1);
            position += 1;
        }
    }
    Some(at)
}

fn skip_space(body: &[u8], at: usize) -> usize {
    let rest = body.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Offset behind the value that begins at `at`.
fn skip_value(body: &[u8], at: usize) -> Option<usize> {
    let rest = body.get(at..)?;
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    Some(at + values.byte_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_path() {
        let body = br#"{"query": "SELECT ?", "parameters": [{"type": "NOPE", "value": 1}]}"#;
        let path = [Step::Key("parameters"), Step::Index(0), Step::Key("type")];
        assert_eq!(locate(body, &path), Some(46));
        assert_eq!(locate(body, &[Step::Key("context")]), None);
    }

    #[test]
    fn a_place_has_line_and_column_from_one() {
        assert!(source(b"{\n \"a\"", 3).ends_with("line: 2, column: 2]"));
    }
}
