//! Druid's part of JSONPath: `$`, `.name`, `['name']` and `[index]`.

use super::value::{Json, element, field};

/// A path, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    /// Counts from the end when it is negative.
    Element(i64),
}

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JSONPath [{path}] is invalid, {reason}")]
pub(crate) struct NotPath {
    path: String,
    reason: String,
}

impl Path {
    /// # Errors
    /// For a text that is no path; `''` is the root as `$` is.
    pub(crate) fn parse(path: &str) -> Result<Self, NotPath> {
        let refuse = |reason: &str| NotPath {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if path.is_empty() {
            return Ok(Path(Vec::new()));
        }
        let mut rest = path
            .strip_prefix('$')
            .ok_or_else(|| refuse("it must start with '$'"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(named) = rest.strip_prefix('.') {
                let end = named.find(['.', '[']).unwrap_or(named.len());
                let (name, after) = named.split_at(end);
                if name.is_empty() && !after.is_empty() {
                    return Err(refuse(&format!(
                        "found '{}' at invalid position [{}], must not follow '.' or must be contained with '",
                        after.chars().next().unwrap_or_default(),
                        path.len() - after.len()
                    )));
                }
                if !name.is_empty() {
                    steps.push(Step::Field(name.to_owned()));
                }
                rest = after;
            } else if let Some(quoted) = rest.strip_prefix("['") {
                let end = quoted
                    .find("']")
                    .ok_or_else(|| refuse("unterminated single-quote (')"))?;
                let (name, after) = quoted.split_at(end);
                steps.push(Step::Field(name.to_owned()));
                rest = after.get(2..).unwrap_or_default();
            } else if let Some(index) = rest.strip_prefix('[') {
                let end = index.find(']').ok_or_else(|| refuse("unterminated '['"))?;
                let (index, after) = index.split_at(end);
                let number = index.parse().map_err(|_| {
                    refuse(&format!(
                        "array specifier [{index}] should be a number, it was not.  Use ' if this value was meant to be \
                         a field name"
                    ))
                })?;
                steps.push(Step::Element(number));
                rest = after.get(1..).unwrap_or_default();
            } else {
                return Err(refuse("path parts must be separated with '.'"));
            }
        }
        Ok(Path(steps))
    }

    /// What is at the path of a JSON text, of which no more is read than that; `None` where there is nothing or null.
    pub(crate) fn find_in(&self, text: &str) -> Option<Json> {
        let mut part = text;
        for step in &self.0 {
            part = match step {
                Step::Field(name) => field(part, name)?,
                Step::Element(index) => match usize::try_from(*index) {
                    Ok(index) => element(part, index)?,
                    // From the end: the whole array must be known.
                    Err(_) => return self.find(&Json::parse(text).ok()?).cloned(),
                },
            };
        }
        Json::parse(part).ok().filter(|value| *value != Json::Null)
    }

    /// What is at the path; `None` where there is nothing or null.
    pub(crate) fn find<'j>(&self, root: &'j Json) -> Option<&'j Json> {
        let found = self.0.iter().try_fold(root, |value, step| match (value, step) {
            (Json::Object(fields), Step::Field(name)) => fields
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, field)| field),
            (Json::Array(elements), Step::Element(index)) => {
                let length = i64::try_from(elements.len()).ok()?;
                let index = if *index < 0 { index + length } else { *index };
                elements.get(usize::try_from(index).ok()?)
            }
            _ => None,
        })?;
        (*found != Json::Null).then_some(found)
    }
}

/// Paths to all primitive values, and arrays of nothing else, below a value.
pub(crate) fn paths(root: &Json) -> Vec<String> {
    let mut found = Vec::new();
    collect(root, "$".to_owned(), &mut found);
    found
}

fn collect(value: &Json, path: String, found: &mut Vec<String>) {
    match value {
        Json::Object(fields) => {
            for (name, field) in fields {
                let quoted = name.is_empty() || name.contains(['.', '\'', '"', '[', ']']);
                let path = if quoted {
                    format!("{path}['{name}']")
                } else {
                    format!("{path}.{name}")
                };
                collect(field, path, found);
            }
        }
        Json::Array(elements)
            if elements
                .iter()
                .any(|element| matches!(element, Json::Array(_) | Json::Object(_))) =>
        {
            for (index, element) in elements.iter().enumerate() {
                collect(element, format!("{path}[{index}]"), found);
            }
        }
        _ => found.push(path),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn finds_what_a_path_names() {
        let json = Json::parse(r#"{"x":1,"y":[1,{"a.b":2},null],"f()":3}"#).unwrap();
        let text = super::super::write::json_text(&json);
        let find = |path: &str| {
            let path = Path::parse(path).unwrap();
            assert_eq!(path.find(&json).cloned(), path.find_in(&text));
            path.find_in(&text)
        };
        assert_eq!(find("$.x"), Some(Json::Long(1)));
        assert_eq!(find("$['y'][1]['a.b']"), Some(Json::Long(2)));
        assert_eq!(find("$.y[-3]"), Some(Json::Long(1)));
        assert_eq!(find("$.f()"), Some(Json::Long(3)));
        assert_eq!(find("$.y[2]"), None);
        assert_eq!(find("$.y.x"), None);
        assert_eq!(find("$"), Some(json.clone()));
    }

    #[test]
    fn refuses_what_is_no_path() {
        for path in ["x", "$x", "$..x", "$.[0]", "$[x]", "$[0", "$['x"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }
}
