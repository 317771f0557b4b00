//! JSON taken apart.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

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

impl Json {
    /// Reads a whole text.
    ///
    /// # Errors
    /// For a text that is no JSON, and one that is nested deeper than serde_json goes (127 levels).
    pub(crate) fn parse(text: &str) -> Result<Json, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The first value of a text; what follows it does not matter.
    pub(crate) fn parse_first(text: &str) -> Result<Json, serde_json::Error> {
        match serde_json::Deserializer::from_str(text).into_iter().next() {
            Some(first) => first,
            None => Json::parse(text),
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

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Condition(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Long(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Double(value as f64), Json::Long))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            Json::set(&mut fields, name, value);
        }
        Ok(Json::Object(fields))
    }
}

/// The text of an object's field; `None` where there is no such object or field, or no JSON before it. What stands
/// behind the field is not read.
pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut found = None;
    let seeker = FieldSeeker {
        name,
        found: &mut found,
    };
    // Ends with an error as soon as the field is found.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(seeker);
    found
}

struct FieldSeeker<'n, 't> {
    name: &'n str,
    found: &'n mut Option<&'t str>,
}

impl<'t> Visitor<'t> for FieldSeeker<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_it) = map.next_key_seed(NameIs(self.name))? {
            if is_it {
                *self.found = Some(map.next_value::<&RawValue>()?.get());
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct NameIs<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for NameIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// The text of an array's element; `None` where there is no such array or element, or no JSON before it. What stands
/// behind the element is not read.
pub(super) fn element(text: &str, index: usize) -> Option<&str> {
    let mut found = None;
    let seeker = ElementSeeker {
        index,
        found: &mut found,
    };
    let _ = serde_json::Deserializer::from_str(text).deserialize_seq(seeker);
    found
}

struct ElementSeeker<'f, 't> {
    index: usize,
    found: &'f mut Option<&'t str>,
}

impl<'t> Visitor<'t> for ElementSeeker<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<(), A::Error> {
        for _ in 0..self.index {
            if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        *self.found = seq.next_element::<&RawValue>()?.map(RawValue::get);
        Err(A::Error::custom("found"))
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
        assert_eq!(
            Json::parse("18446744073709551615").unwrap(),
            Json::Double(18446744073709551615.0)
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

    #[test]
    fn parts_are_found_and_no_more_is_read() {
        let text = r#"{"a": {"b": [1, "x"]}, "\u0062": 2, nonsense"#;
        assert_eq!(field(text, "a"), Some(r#"{"b": [1, "x"]}"#));
        assert_eq!(field(text, "b"), Some("2"));
        assert_eq!(field(text, "c"), None);
        assert_eq!(element("[1, [2], 3", 1), Some("[2]"));
        assert_eq!(element("[1]", 1), None);
        assert_eq!(element("{}", 0), None);
        assert_eq!(field("[]", "a"), None);
    }
}
