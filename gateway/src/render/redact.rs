//! Statements without the secrets of their EXTERN sources.

use sarsen_kernel::secret::without_userinfo;
use serde_json::Value;

/// What stands in the place of a secret (Druid: MSQTaskQueryMakerUtils).
const MASKED: &str = "<masked>";

/// The statement with every secret masked that a JSON text in it holds or that is an argument of a table function:
/// passwords, keys and tokens, the values of request headers, users within URLs. Such a text is written anew; all others
/// stay as they are.
pub fn statement(sql: &str) -> String {
    let mut shown = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(begin) = next_literal(rest) {
        let (before, literal) = rest.split_at(begin);
        let length = literal_length(literal);
        let (literal, after) = literal.split_at(length);
        shown += before;
        let redacted = match parameter(before) {
            Some(name) if is_secret(name) => Some(format!("'{MASKED}'")),
            name => redacted_literal(literal, is_unicode(before), name),
        };
        shown += &redacted.unwrap_or_else(|| literal.to_owned());
        rest = after;
    }
    shown + rest
}

/// Where the next text in single quotes begins, beyond comments and quoted names.
fn next_literal(sql: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = sql.get(at..) {
        let found = rest.find(['\'', '"', '-', '/'])?;
        let begin = at + found;
        let rest = sql.get(begin..)?;
        let skipped = if rest.starts_with('\'') {
            return Some(begin);
        } else if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(name) = rest.strip_prefix('"') {
            name.find('"').map_or(rest.len(), |end| end + 2)
        } else {
            1
        };
        at = begin + skipped;
    }
    None
}

/// Bytes of a text with its quotes; two quotes within it are one.
fn literal_length(literal: &str) -> usize {
    let mut at = 1;
    while let Some(found) = literal.get(at..).and_then(|rest| rest.find('\'')) {
        at += found + 1;
        if !literal.get(at..).is_some_and(|rest| rest.starts_with('\'')) {
            return at;
        }
        at += 1;
    }
    literal.len()
}

fn is_unicode(before: &str) -> bool {
    before.ends_with("U&") || before.ends_with("u&")
}

/// The parameter to which a text belongs that stands behind `before`: `name => 'text'`.
fn parameter(before: &str) -> Option<&str> {
    let before = before.trim_end_matches(['U', 'u', '&']).trim_end();
    let before = before.strip_suffix("=>")?.trim_end().trim_end_matches('"');
    let begin = before.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_');
    before.get(begin.map_or(0, |begin| begin + 1)..)
}

/// A literal that holds secrets, without them; `None` for any other.
fn redacted_literal(literal: &str, unicode: bool, parameter: Option<&str>) -> Option<String> {
    let inner = literal.strip_prefix('\'')?;
    let inner = inner.strip_suffix('\'').unwrap_or(inner).replace("''", "'");
    let text = if unicode { decoded(&inner) } else { inner };
    let mut text = match serde_json::from_str::<Value>(&text) {
        Ok(mut json) => {
            let is_headers = parameter.is_some_and(|name| name.eq_ignore_ascii_case("headers"));
            let found = if is_headers {
                mask_values(&mut json)
            } else {
                redact(&mut json)
            };
            found.then(|| json.to_string())?
        }
        Err(_) => {
            let shown = without_userinfo(&text);
            (shown != text).then_some(shown)?
        }
    };
    if unicode {
        text = text.replace('\\', "\\\\");
    }
    Some(format!("'{}'", text.replace('\'', "''")))
}

/// A text of `U&'…'`: `\XXXX`, `\+XXXXXX` and `\\` are characters.
fn decoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        shown += before;
        let (digits, from) = if after.starts_with('+') { (6, 1) } else { (4, 0) };
        let code = after.get(from..from + digits);
        let character = code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
        rest = match (character, after.strip_prefix('\\')) {
            (_, Some(after)) => {
                shown.push('\\');
                after
            }
            (Some(character), None) => {
                shown.push(character);
                after.get(from + digits..).unwrap_or_default()
            }
            (None, None) => after,
        };
    }
    shown + rest
}

/// Masks the secrets of a value; answers whether there were any.
fn redact(json: &mut Value) -> bool {
    match json {
        Value::Object(fields) => {
            let mut found = false;
            for (name, value) in fields {
                if is_secret(name) && !value.is_null() {
                    *value = MASKED.into();
                    found = true;
                } else if name.eq_ignore_ascii_case("requestHeaders") {
                    found |= mask_values(value);
                } else {
                    found |= redact(value);
                }
            }
            found
        }
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |found, value| redact(value) | found),
        Value::String(text) => {
            let shown = without_userinfo(text);
            let found = shown != *text;
            *text = shown;
            found
        }
        _ => false,
    }
}

fn mask_values(json: &mut Value) -> bool {
    let Some(fields) = json.as_object_mut() else {
        return false;
    };
    for (_, value) in fields.iter_mut() {
        *value = MASKED.into();
    }
    !fields.is_empty()
}

/// Whether a field of an input source is a secret, by its name (Druid: ingestion/input-sources.md).
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token", "credential"]
        .iter()
        .any(|part| name.contains(part))
        || matches!(
            name.as_str(),
            "key" | "accesskeyid" | "accountkey" | "sharedaccesssignature"
        )
}

#[cfg(test)]
mod tests {
    use super::statement;

    #[test]
    fn secrets_of_sources_are_masked_however_they_are_written() {
        for sql in [
            r#"EXTERN('{"type":"http","httpAuthenticationPassword" : "geheim","uris":[]}')"#,
            r#"EXTERN('{"httpAuthenticationPassword":{"type":"default","password":"geheim"}}')"#,
            r#"EXTERN('{"httpAuthenticationPassw\u006frd":"geheim"}')"#,
            r#"EXTERN('{"HTTPAUTHENTICATIONPASSWORD":"it''s geheim"}')"#,
            r#"EXTERN('{"requestHeaders":{"X-Any":"geheim"}}')"#,
            r#"EXTERN('{"uris":["http://u:geheim@h/a"]}')"#,
            r#"EXTERN('{"properties":{"secretAccessKey":{"type":"environment","variable":"geheim"}}}')"#,
            r#"EXTERN('{"delegates":[{"sessionToken":"geheim"}]}')"#,
            r#"/* ' */ SELECT "'" FROM EXTERN('{"password":"geheim"}') -- '"#,
            r#"EXTERN(U&'{"p\0061ssword":"geheim"}')"#,
            r#"EXTERN('{"password":"geheim"}'"#,
            r#"EXTERN(x) HTTP(userName => 'u', password => 'geheim')"#,
            r#"EXTERN(x) HTTP("password"=>U&'geheim')"#,
            r#"EXTERN(x) HTTP(headers => '{"X-Any":"geheim"}')"#,
            r#"EXTERN(x) HTTP(uris => ARRAY['http://h/b', 'http://u:geheim@h/a'])"#,
            r#"EXTERN(x) S3(uris => ARRAY['s3://b/a'], secretAccessKey => 'it''s geheim')"#,
        ] {
            let shown = statement(sql);
            assert!(!shown.contains("geheim") && shown.contains("EXTERN("), "{shown}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is_written() {
        for sql in [
            "SELECT 1",
            r#"SELECT 'it''s', "a'b" FROM EXTERN('{"type" : "local", "files":["a"]}') -- 'x"#,
            r#"SELECT 'ä', '{"key' || '"'"#,
            "SELECT 'a",
            "SELECT '",
        ] {
            assert_eq!(statement(sql), sql);
        }
        assert_eq!(
            statement(r#"x '{"type":"http","password":"p"}' y"#),
            r#"x '{"type":"http","password":"<masked>"}' y"#
        );
    }
}
