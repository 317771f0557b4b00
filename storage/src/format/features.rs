//! `featureSpec`: what a JSON file may hold beside JSON (Druid: ingestion/data-formats.md#json; the names are Jackson's).

use serde_json::Value;

use crate::StorageError;

/// Deviations that are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// `/* … */` and `// …`.
    pub comments: bool,
    /// `# …`.
    pub yaml_comments: bool,
    /// `{a: 1}`.
    pub unquoted_names: bool,
    /// `'text'`.
    pub single_quotes: bool,
    /// Tabs and the like within texts.
    pub control_characters: bool,
    /// `\\` before any character.
    pub any_escape: bool,
    /// `007`.
    pub leading_zeros: bool,
    /// `+1`.
    pub leading_plus: bool,
    /// `.5`.
    pub leading_point: bool,
    /// `5.`.
    pub trailing_point: bool,
    /// `NaN`, `Infinity`, `-INF`.
    pub non_numbers: bool,
    /// `[1,,2]`: null.
    pub missing_values: bool,
    /// `[1, 2,]`.
    pub trailing_comma: bool,
    /// An object that has a name twice is refused.
    pub no_duplicates: bool,
}

/// Names that change nothing of what is read.
const WITHOUT_EFFECT: [&str; 5] = [
    "AUTO_CLOSE_SOURCE",
    "IGNORE_UNDEFINED",
    "INCLUDE_SOURCE_IN_LOCATION",
    "USE_FAST_DOUBLE_PARSER",
    "USE_FAST_BIG_NUMBER_PARSER",
];

impl Features {
    /// Reads a format's `featureSpec`, if it has one.
    ///
    /// # Errors
    /// For a feature that is none.
    pub(super) fn parse(format: &Value) -> Result<Self, StorageError> {
        let mut features = Features::default();
        let spec = format.get("featureSpec").and_then(Value::as_object);
        for (name, value) in spec.into_iter().flatten() {
            let is_on = match value {
                Value::Bool(is_on) => *is_on,
                Value::String(text) => text.eq_ignore_ascii_case("true"),
                _ => {
                    return Err(StorageError::Spec(format!(
                        "featureSpec: [{name}] is true or false, not [{value}]"
                    )));
                }
            };
            match features.named(name) {
                Some(feature) => *feature = is_on,
                None if WITHOUT_EFFECT.contains(&name.as_str()) => {}
                None => {
                    return Err(StorageError::Spec(format!(
                        "featureSpec: [{name}] is no feature of a JSON parser"
                    )));
                }
            }
        }
        Ok(features)
    }

    fn named(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "ALLOW_COMMENTS" => &mut self.comments,
            "ALLOW_YAML_COMMENTS" => &mut self.yaml_comments,
            "ALLOW_UNQUOTED_FIELD_NAMES" => &mut self.unquoted_names,
            "ALLOW_SINGLE_QUOTES" => &mut self.single_quotes,
            "ALLOW_UNQUOTED_CONTROL_CHARS" => &mut self.control_characters,
            "ALLOW_BACKSLASH_ESCAPING_ANY_CHARACTER" => &mut self.any_escape,
            "ALLOW_NUMERIC_LEADING_ZEROS" => &mut self.leading_zeros,
            "ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS" => &mut self.leading_plus,
            "ALLOW_LEADING_DECIMAL_POINT_FOR_NUMBERS" => &mut self.leading_point,
            "ALLOW_TRAILING_DECIMAL_POINT_FOR_NUMBERS" => &mut self.trailing_point,
            "ALLOW_NON_NUMERIC_NUMBERS" => &mut self.non_numbers,
            "ALLOW_MISSING_VALUES" => &mut self.missing_values,
            "ALLOW_TRAILING_COMMA" => &mut self.trailing_comma,
            "STRICT_DUPLICATE_DETECTION" => &mut self.no_duplicates,
            _ => return None,
        })
    }

    /// Whether files are plain JSON.
    pub fn is_plain(&self) -> bool {
        *self == Features::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn features_have_jacksons_names() {
        let parse = |spec: Value| Features::parse(&json!({ "featureSpec": spec }));
        assert!(parse(json!({})).unwrap().is_plain());
        assert!(
            parse(json!({ "ALLOW_COMMENTS": false, "AUTO_CLOSE_SOURCE": true }))
                .unwrap()
                .is_plain()
        );
        assert!(
            parse(json!({ "ALLOW_SINGLE_QUOTES": true }))
                .unwrap()
                .single_quotes
        );
        for spec in [json!({ "ALLOW_ALL": true }), json!({ "ALLOW_COMMENTS": 7 })] {
            assert!(
                parse(spec)
                    .unwrap_err()
                    .to_string()
                    .contains("featureSpec: [ALLOW_")
            );
        }
    }
}
