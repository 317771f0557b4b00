//! JSON taken apart.

/// A value; an object keeps the order of its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Condition(bool),
    Long(i64),
    Double(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// A text that is no JSON, and where it stops being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON from character {0} on")]
pub(crate) struct NotJson(usize);

/// Nesting that is followed.
const MOST_DEPTH: usize = 500;

impl Json {
    /// Reads a whole text.
    ///
    /// # Errors
    /// For a text that is no JSON, and one that is nested deeper than 500 levels.
    pub(crate) fn parse(text: &str) -> Result<Json, NotJson> {
        let mut reader = Reader {
            text,
            position: 0,
            depth: 0,
        };
        let value = reader.value()?;
        reader.space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.refuse()),
        }
    }

    /// Sets a field, in its old place where there is one.
    pub(crate) fn set(fields: &mut Vec<(String, Json)>, name: String, value: Json) {
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => fields.push((name, value)),
        }
    }
}

/// Goes through a text without taking all of it apart.
pub(super) struct Scan<'t>(Reader<'t>);

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Scan(Reader {
            text,
            position: 0,
            depth: 0,
        })
    }

    /// Moves to the value of an object's field; `None` where there is no such object or field, or no JSON.
    pub(super) fn field(&mut self, name: &str) -> Option<()> {
        let reader = &mut self.0;
        reader.space();
        reader.expect(b'{').ok()?;
        reader.space();
        while reader.peek()? == b'"' {
            let found = reader.string().ok()? == name;
            reader.space();
            reader.expect(b':').ok()?;
            reader.space();
            if found {
                return Some(());
            }
            reader.skip()?;
            reader.space();
            reader.expect(b',').ok()?;
            reader.space();
        }
        None
    }

    /// Moves to an array's element; `None` where there is no such array or element, or no JSON.
    pub(super) fn element(&mut self, index: usize) -> Option<()> {
        let reader = &mut self.0;
        reader.space();
        reader.expect(b'[').ok()?;
        reader.space();
        if reader.peek()? == b']' {
            return None;
        }
        for _ in 0..index {
            reader.skip()?;
            reader.space();
            reader.expect(b',').ok()?;
            reader.space();
        }
        Some(())
    }

    /// The value that it stands before.
    pub(super) fn value(&mut self) -> Option<Json> {
        self.0.value().ok()
    }
}

struct Reader<'t> {
    text: &'t str,
    position: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn refuse(&self) -> NotJson {
        NotJson(self.position + 1)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() == Some(byte) {
            self.position += 1;
            Ok(())
        } else {
            Err(self.refuse())
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, NotJson> {
        if self.rest().starts_with(word) {
            self.position += word.len();
            Ok(value)
        } else {
            Err(self.refuse())
        }
    }

    fn value(&mut self) -> Result<Json, NotJson> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::Text),
            Some(b't') => self.word("true", Json::Condition(true)),
            Some(b'f') => self.word("false", Json::Condition(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.refuse()),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, NotJson>) -> Result<Json, NotJson> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.refuse());
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Json, NotJson> {
        let mut fields = Vec::new();
        self.expect(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.position += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.expect(b':')?;
            let value = self.value()?;
            Json::set(&mut fields, name, value);
            self.space();
            if self.peek() == Some(b',') {
                self.position += 1;
            } else {
                self.expect(b'}')?;
                return Ok(Json::Object(fields));
            }
        }
    }

    fn array(&mut self) -> Result<Json, NotJson> {
        let mut elements = Vec::new();
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.position += 1;
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            self.space();
            if self.peek() == Some(b',') {
                self.position += 1;
            } else {
                self.expect(b']')?;
                return Ok(Json::Array(elements));
            }
        }
    }

    /// Moves behind a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.position += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.position += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => {
                    self.position += 1;
                    continue;
                }
                b',' | b':' => return None,
                _ => {
                    let rest = self.rest().bytes();
                    self.position += rest.take_while(|byte| !b",:]} \t\n\r".contains(byte)).count();
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.position += 1;
        loop {
            let plain = self
                .rest()
                .bytes()
                .position(|byte| byte == b'"' || byte == b'\\')?;
            self.position += plain;
            if self.peek()? == b'"' {
                self.position += 1;
                return Some(());
            }
            self.position += 2;
        }
    }

    fn number(&mut self) -> Result<Json, NotJson> {
        let rest = self.rest();
        let length = rest
            .bytes()
            .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .count();
        let digits = rest.get(..length).unwrap_or_default();
        let unsigned = digits.trim_start_matches('-');
        let leading_zero = unsigned.len() > 1
            && unsigned.starts_with('0')
            && unsigned.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if leading_zero || digits.starts_with("--") || digits.ends_with('.') {
            return Err(self.refuse());
        }
        let value = match digits.parse::<i64>() {
            Ok(long) => Json::Long(long),
            Err(_) => Json::Double(digits.parse().map_err(|_| self.refuse())?),
        };
        self.position += length;
        Ok(value)
    }

    fn string(&mut self) -> Result<String, NotJson> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\']).ok_or_else(|| self.refuse())?;
            let part = rest.get(..plain).unwrap_or_default();
            if part.bytes().any(|byte| byte < 0x20) {
                return Err(self.refuse());
            }
            text.push_str(part);
            self.position += plain;
            if self.peek() == Some(b'"') {
                self.position += 1;
                return Ok(text);
            }
            self.position += 1;
            text.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char, NotJson> {
        let letter = self.peek().ok_or_else(|| self.refuse())?;
        self.position += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.unit()?;
                let mut units = vec![high];
                if (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u") {
                    self.position += 2;
                    units.push(self.unit()?);
                }
                let mut characters = char::decode_utf16(units);
                match characters.next() {
                    Some(Ok(character)) => character,
                    _ => char::REPLACEMENT_CHARACTER,
                }
            }
            _ => return Err(self.refuse()),
        })
    }

    fn unit(&mut self) -> Result<u16, NotJson> {
        let digits = self.rest().get(..4).ok_or_else(|| self.refuse())?;
        let unit = u16::from_str_radix(digits, 16).map_err(|_| self.refuse())?;
        self.position += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::write::json_text;
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        for text in [
            "null",
            "[1,-2,0.5,1.0E10]",
            r#"{"b":[{}],"a":{"x":"é\"\\\n"},"t":true}"#,
            "\"😀\"",
        ] {
            assert_eq!(json_text(&Json::parse(text).unwrap()), text);
        }
        assert_eq!(
            Json::parse("\"\\ud83d\\ude00\"").unwrap(),
            Json::Text("😀".to_owned())
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "{\"a\": 1; \"b\": 2}",
            "[1,]",
            "01",
            "'a'",
            "1 2",
            "nul",
            "\"a",
        ] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
