//! Druid's part of JSONPath: `$`, `.name`, `['name']` and `[index]`.

use std::collections::VecDeque;

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

    /// Whether an index of the path is negative.
    pub(crate) fn counts_from_end(&self) -> bool {
        self.0
            .iter()
            .any(|step| matches!(step, Step::Element(index) if *index < 0))
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

/// Paths to all primitive values, and arrays of nothing else, below a value; in the order in which Java's HashSet has
/// them, which is that of Druid.
pub(crate) fn paths(root: &Json) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = VecDeque::from([(root, Place::root())]);
    while let Some((value, place)) = waiting.pop_front() {
        match value {
            Json::Object(fields) => {
                for (name, field) in fields {
                    wait_or_take(field, place.field(name), &mut waiting, &mut found);
                }
            }
            Json::Array(elements) if elements.iter().any(is_nested) => {
                for (index, element) in elements.iter().enumerate() {
                    wait_or_take(element, place.element(index), &mut waiting, &mut found);
                }
            }
            _ => found.push(place),
        }
    }
    let mut buckets: u32 = 16;
    while found.len() > buckets as usize / 4 * 3 {
        buckets *= 2;
    }
    // The sort is stable: within a bucket they stay in the order in which they came.
    found.sort_by_key(|place| (place.hash ^ (place.hash >> 16)) & (buckets - 1));
    found.into_iter().map(|place| place.path).collect()
}

fn is_nested(value: &Json) -> bool {
    matches!(value, Json::Array(_) | Json::Object(_))
}

fn wait_or_take<'j>(
    value: &'j Json,
    place: Place,
    waiting: &mut VecDeque<(&'j Json, Place)>,
    found: &mut Vec<Place>,
) {
    if is_nested(value) {
        waiting.push_back((value, place));
    } else {
        found.push(place);
    }
}

/// A path and the hash that Java's list of its parts has.
struct Place {
    path: String,
    hash: u32,
}

impl Place {
    fn root() -> Self {
        Place {
            path: "$".to_owned(),
            hash: 1,
        }
    }

    fn field(&self, name: &str) -> Self {
        let quoted = name.is_empty() || name.contains(['.', '\'', '"', '[', ']']);
        let text = name.encode_utf16().fold(0_u32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(unit.into())
        });
        let path = if quoted {
            format!("{}['{name}']", self.path)
        } else {
            format!("{}.{name}", self.path)
        };
        self.with(path, text)
    }

    fn element(&self, index: usize) -> Self {
        let hash = u32::try_from(index).unwrap_or(u32::MAX);
        self.with(format!("{}[{index}]", self.path), hash)
    }

    fn with(&self, path: String, part: u32) -> Self {
        let hash = self.hash.wrapping_mul(31).wrapping_add(part.wrapping_add(31));
        Place { path, hash }
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
    fn paths_come_as_from_a_hash_set_of_java() {
        let json = r#"{"a_str":"A","a_num_int":1,"a_num_float":0.1,"a_bool":true,"a_null":null,"a_empty_obj":{},
            "a_empty_array":[],"a_empty_obj_nested":{"o1":{},"o2":[],"o3":null},"a_empty_array_nested":[{},[],null]}"#;
        assert_eq!(
            paths(&Json::parse(json).unwrap()),
            [
                "$.a_str",
                "$.a_empty_array",
                "$.a_null",
                "$.a_num_int",
                "$.a_bool",
                "$.a_empty_array_nested[1]",
                "$.a_empty_array_nested[2]",
                "$.a_empty_obj_nested.o2",
                "$.a_num_float",
                "$.a_empty_obj_nested.o3"
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_path() {
        for path in ["x", "$x", "$..x", "$.[0]", "$[x]", "$[0", "$['x"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }
}
