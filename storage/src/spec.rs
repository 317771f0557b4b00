//! Fields of the JSON that users write: input sources and formats.

use serde_json::Value;

pub(crate) fn flag(json: &Value, key: &str) -> bool {
    json.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(crate) fn text<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key).and_then(Value::as_str)
}

/// The texts of a list; none of anything else.
pub(crate) fn strings(json: &Value, key: &str) -> Vec<String> {
    let list = json.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
