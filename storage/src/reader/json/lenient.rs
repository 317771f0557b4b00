//! JSON with the deviations of a `featureSpec`, rewritten as JSON without them. What else is wrong with it stays wrong, for
//! the JSON reader to tell.

use std::collections::HashSet;

use crate::format::Features;

/// Rewrites a text.
///
/// # Errors
/// In words, for a name that an object has twice where that is refused.
pub(super) fn strict(text: &[u8], features: &Features, output: &mut Vec<u8>) -> Result<(), String> {
    let mut rewriter = Rewriter {
        text,
        position: 0,
        features,
        output,
        open: Vec::new(),
        last: Last::Nothing,
    };
    while let Some(byte) = rewriter.peek(0) {
        rewriter.token(byte)?;
    }
    Ok(())
}

struct Rewriter<'a> {
    text: &'a [u8],
    position: usize,
    features: &'a Features,
    output: &'a mut Vec<u8>,
    /// Arrays and objects that are open, the latter with their names.
    open: Vec<Open>,
    last: Last,
}

enum Open {
    Array,
    Object(HashSet<Vec<u8>>),
}

/// What stands before the current place, white space aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Opening,
    /// Where in the output it stands.
    Comma(usize),
    Colon,
    Value,
}

impl Rewriter<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.position + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn copy(&mut self, byte: u8) {
        self.output.push(byte);
        self.position += 1;
    }

    fn token(&mut self, byte: u8) -> Result<(), String> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => self.copy(byte),
            b'/' if self.features.comments && self.peek(1) == Some(b'/') => self.skip_line(),
            b'/' if self.features.comments && self.peek(1) == Some(b'*') => self.skip_comment(),
            b'#' if self.features.yaml_comments => self.skip_line(),
            b'{' | b'[' => {
                self.open.push(match byte {
                    b'{' => Open::Object(HashSet::new()),
                    _ => Open::Array,
                });
                self.copy(byte);
                self.last = Last::Opening;
            }
            b'}' | b']' => self.close(byte),
            b',' => {
                if self.lacks_value() {
                    self.output.extend_from_slice(b"null");
                }
                self.last = Last::Comma(self.output.len());
                self.copy(byte);
            }
            b':' => {
                self.copy(byte);
                self.last = Last::Colon;
            }
            b'"' => self.quoted(byte)?,
            b'\'' if self.features.single_quotes => self.quoted(byte)?,
            _ => self.word()?,
        }
        Ok(())
    }

    /// Whether a value may be missing here: in an array, or behind a colon.
    fn lacks_value(&self) -> bool {
        self.features.missing_values
            && match self.last {
                Last::Colon => true,
                Last::Opening | Last::Comma(_) => matches!(self.open.last(), Some(Open::Array)),
                Last::Nothing | Last::Value => false,
            }
    }

    fn close(&mut self, byte: u8) {
        match self.last {
            Last::Comma(place) if self.features.trailing_comma => self.output.truncate(place),
            // `[1,]` ends with a null where values may be missing, `[]` does not.
            Last::Comma(_) | Last::Colon if self.lacks_value() => self.output.extend_from_slice(b"null"),
            _ => {}
        }
        self.open.pop();
        self.copy(byte);
        self.last = Last::Value;
    }

    fn skip_line(&mut self) {
        let end = memchr::memchr(b'\n', self.rest());
        self.position += end.unwrap_or(self.rest().len());
    }

    fn skip_comment(&mut self) {
        let end = memchr::memmem::find(self.rest(), b"*/");
        self.position += end.map_or(self.rest().len(), |end| end + 2);
    }

    /// Whether a name is to come.
    fn expects_name(&self) -> bool {
        matches!(self.open.last(), Some(Open::Object(_)))
            && matches!(self.last, Last::Opening | Last::Comma(_))
    }

    /// A name or a value has been written from `start` on.
    fn written(&mut self, start: usize, is_name: bool) -> Result<(), String> {
        self.last = Last::Value;
        if let (true, true, Some(Open::Object(names))) =
            (is_name, self.features.no_duplicates, self.open.last_mut())
        {
            let name = self.output.get(start..).unwrap_or_default();
            if !names.insert(name.to_vec()) {
                return Err(format!("Duplicate field {}", String::from_utf8_lossy(name)));
            }
        }
        Ok(())
    }

    fn quoted(&mut self, quote: u8) -> Result<(), String> {
        let (start, is_name) = (self.output.len(), self.expects_name());
        self.position += 1;
        self.output.push(b'"');
        while let Some(byte) = self.peek(0) {
            match byte {
                _ if byte == quote => {
                    self.position += 1;
                    self.output.push(b'"');
                    break;
                }
                // Within single quotes.
                b'"' => {
                    self.output.push(b'\\');
                    self.copy(byte);
                }
                b'\\' => self.escape(),
                0..=0x1f if self.features.control_characters => {
                    self.output.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    self.position += 1;
                }
                _ => self.copy(byte),
            }
        }
        self.written(start, is_name)
    }

    fn escape(&mut self) {
        match self.peek(1) {
            Some(b'\'') if self.features.single_quotes || self.features.any_escape => {
                self.output.push(b'\'');
                self.position += 2;
            }
            Some(escaped) if self.features.any_escape && !b"\"\\/bfnrtu".contains(&escaped) => {
                self.position += 1;
                self.copy(escaped);
            }
            Some(escaped) => {
                self.copy(b'\\');
                self.copy(escaped);
            }
            None => self.copy(b'\\'),
        }
    }

    /// What stands without quotes: a number, true, false, null, or a name.
    fn word(&mut self) -> Result<(), String> {
        let ends = |byte: &u8| b" \t\r\n,:{}[]\"'/#".contains(byte);
        let length = self
            .rest()
            .iter()
            .position(ends)
            .unwrap_or(self.rest().len())
            .max(1);
        let word = self.rest().get(..length).unwrap_or_default().to_vec();
        let (start, is_name) = (self.output.len(), self.expects_name());
        self.position += length;
        match String::from_utf8(word) {
            Ok(word) if is_name && self.features.unquoted_names && is_identifier(&word) => {
                self.output.extend_from_slice(format!("\"{word}\"").as_bytes());
            }
            Ok(word) if self.features.non_numbers && NON_NUMBERS.contains(&word.as_str()) => {
                let value = word.trim_start_matches('+').replace("INF", "Infinity");
                self.output.extend_from_slice(format!("\"{value}\"").as_bytes());
            }
            Ok(word) => {
                let number = self.number(&word);
                self.output.extend_from_slice(number.as_bytes());
            }
            Err(error) => self.output.extend_from_slice(error.as_bytes()),
        }
        self.written(start, is_name)
    }

    /// A number as JSON writes it; anything else as it is.
    fn number(&self, word: &str) -> String {
        let unsigned = match word.strip_prefix('+') {
            Some(unsigned) if self.features.leading_plus => unsigned,
            _ => word,
        };
        let (sign, digits) = match unsigned.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", unsigned),
        };
        if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return word.to_owned();
        }
        let mut digits = digits.to_owned();
        if self.features.leading_zeros && digits.len() > 1 {
            let trimmed = digits.trim_start_matches('0');
            let needs_zero = !trimmed.starts_with(|first: char| first.is_ascii_digit());
            digits = format!("{}{trimmed}", if needs_zero { "0" } else { "" });
        }
        if self.features.leading_point && digits.starts_with('.') {
            digits.insert(0, '0');
        }
        if self.features.trailing_point {
            for (written, meant) in [(".e", ".0e"), (".E", ".0E")] {
                digits = digits.replace(written, meant);
            }
            if digits.ends_with('.') {
                digits.push('0');
            }
        }
        format!("{sign}{digits}")
    }
}

/// Doubles that JSON has not.
const NON_NUMBERS: [&str; 7] = ["NaN", "Infinity", "-Infinity", "+Infinity", "INF", "-INF", "+INF"];

fn is_identifier(word: &str) -> bool {
    let is_first = |letter: char| letter.is_alphabetic() || "_$@".contains(letter) || !letter.is_ascii();
    word.starts_with(is_first)
        && word
            .chars()
            .all(|letter| is_first(letter) || letter.is_numeric() || "-*#@+".contains(letter))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str, features: &Features) -> Option<Value> {
        let mut output = Vec::new();
        strict(text.as_bytes(), features, &mut output).ok()?;
        serde_json::from_slice(&output).ok()
    }

    #[test]
    fn each_feature_lets_through_what_it_names_and_nothing_else() {
        let with = |set: fn(&mut Features)| {
            let mut features = Features::default();
            set(&mut features);
            features
        };
        let all: Vec<(Features, &str, Value)> = vec![
            (
                with(|f| f.comments = true),
                "/* {x */{\"a\":1}// end",
                json!({ "a": 1 }),
            ),
            (
                with(|f| f.yaml_comments = true),
                "{\"a\":1} # end",
                json!({ "a": 1 }),
            ),
            (
                with(|f| f.unquoted_names = true),
                "{a:1,$b_2:true}",
                json!({ "a": 1, "$b_2": true }),
            ),
            (
                with(|f| f.single_quotes = true),
                "{'a':'it\\'s \"x\"'}",
                json!({ "a": "it's \"x\"" }),
            ),
            (
                with(|f| f.control_characters = true),
                "{\"a\":\"x\ty\"}",
                json!({ "a": "x\ty" }),
            ),
            (
                with(|f| f.any_escape = true),
                "{\"a\":\"\\d\\n\"}",
                json!({ "a": "d\n" }),
            ),
            (
                with(|f| f.leading_zeros = true),
                "[007,00,0,-01,0.5,00.5]",
                json!([7, 0, 0, -1, 0.5, 0.5]),
            ),
            (with(|f| f.leading_plus = true), "[+1]", json!([1])),
            (with(|f| f.leading_point = true), "[.5,-.5]", json!([0.5, -0.5])),
            (with(|f| f.trailing_point = true), "[5.,5.e1]", json!([5.0, 50.0])),
            (
                with(|f| f.non_numbers = true),
                "[NaN,-INF,Infinity]",
                json!(["NaN", "-Infinity", "Infinity"]),
            ),
            (
                with(|f| f.missing_values = true),
                "[1,,2,]",
                json!([1, null, 2, null]),
            ),
            (
                with(|f| f.trailing_comma = true),
                "{\"a\":[1,2, ],}",
                json!({ "a": [1, 2] }),
            ),
        ];
        for (features, text, expected) in &all {
            assert_eq!(read(text, features).as_ref(), Some(expected), "{text}");
            assert_eq!(read(text, &Features::default()), None, "{text}");
        }
        let plain = "{\"a\":\"/* no */ # 'x' NaN\",\"b\":[1.5e-3,-0,null,{}],\"c\":[]}";
        let expected: Value = serde_json::from_str(plain).unwrap();
        for (features, ..) in &all {
            assert_eq!(read(plain, features).as_ref(), Some(&expected));
        }
    }

    #[test]
    fn names_that_come_twice_are_refused_where_that_is_asked() {
        let features = Features {
            no_duplicates: true,
            ..Features::default()
        };
        assert!(read("{\"a\":1,\"b\":{\"a\":\"a\"}}", &features).is_some());
        assert!(read("{\"a\":1,\"a\":2}", &features).is_none());
    }
}
