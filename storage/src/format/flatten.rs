//! `flattenSpec`: columns that are found within nested values (Druid: ingestion/data-formats.md#flattenspec).

mod filter;
mod function;

use serde_json::Value;

use self::filter::Filter;
use self::function::Function;

use crate::StorageError;
use crate::spec::{strings, text};

/// Which columns are found where; all others are fields of the row itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flatten(Vec<(String, Path)>);

impl Flatten {
    /// Reads a format's `flattenSpec`, if it has one.
    ///
    /// # Errors
    /// Names the field that does not fit.
    pub(super) fn parse(format: &Value) -> Result<Self, StorageError> {
        let fields = format.get("flattenSpec").and_then(|spec| spec.get("fields"));
        let mut flatten = Flatten::default();
        for field in fields.and_then(Value::as_array).into_iter().flatten() {
            let (name, path) = parse_field(field)?;
            if flatten.path(&name).is_some() {
                return Err(StorageError::Spec(format!(
                    "Cannot have duplicate field definition: {name}"
                )));
            }
            flatten.0.push((name, path));
        }
        Ok(flatten)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a column is; `None` for a field of the row itself.
    pub fn path(&self, column: &str) -> Option<&Path> {
        self.0
            .iter()
            .find(|(name, _)| name == column)
            .map(|(_, path)| path)
    }
}

fn parse_field(field: &Value) -> Result<(String, Path), StorageError> {
    if let Some(name) = field.as_str() {
        return Ok((name.to_owned(), Path::of_keys([name])));
    }
    let missing = |what: &str| StorageError::Spec(format!("a field of flattenSpec needs [{what}]: {field}"));
    let name = text(field, "name").ok_or_else(|| missing("name"))?;
    let expr = text(field, "expr");
    let path = match text(field, "type") {
        None | Some("root") => Path::of_keys([expr.unwrap_or(name)]),
        Some("path") => Path::parse(expr.ok_or_else(|| missing("expr"))?)?,
        Some("tree") => {
            let nodes = strings(field, "nodes");
            if nodes.is_empty() {
                return Err(missing("nodes"));
            }
            Path::of_keys(nodes.iter().map(String::as_str))
        }
        Some("jq") => {
            let expr = expr.ok_or_else(|| missing("expr"))?;
            let path = Path::parse(&format!("${}", if expr == "." { "" } else { expr }));
            let is_mere = expr.starts_with('.')
                && expr
                    .chars()
                    .all(|letter| letter.is_alphanumeric() || "._[]\"".contains(letter));
            path.ok().filter(|path| is_mere && path.is_definite && path.function.is_none()).ok_or_else(|| {
                StorageError::Spec(format!(
                    "flattenSpec: field [{name}] of type jq: only paths such as .a.b[0] are supported, found [{expr}]"
                ))
            })?
        }
        Some(other) => {
            return Err(StorageError::Spec(format!(
                "flattenSpec: field [{name}] has the type [{other}], not one of root, path, tree"
            )));
        }
    };
    Ok((name.to_owned(), path))
}

/// A way into a nested value: JSONPath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
    /// Whether it leads to one value at most; otherwise it gives a list.
    is_definite: bool,
    /// What becomes of the values that are found.
    function: Option<Function>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Keys(Vec<String>),
    /// Negative ones count from the end.
    Indices(Vec<i64>),
    /// Elements from the first number up to the second one.
    Slice(Option<i64>, Option<i64>),
    /// All members.
    Any,
    /// The value itself and all that it holds.
    Descendants,
    /// Elements of which something holds; an object is such an element itself.
    Matching(Filter),
}

impl Path {
    fn of_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Path {
            steps: keys
                .into_iter()
                .map(|key| Step::Keys(vec![key.to_owned()]))
                .collect(),
            is_definite: true,
            function: None,
        }
    }

    /// Reads `$.a['b'][0]`, `$..c`, `$.d[*].e`, `$.f[0,1]`, `$.g[1:3]`.
    ///
    /// # Errors
    /// Shows the path.
    pub fn parse(path: &str) -> Result<Self, StorageError> {
        Path::parse_within(path, 0)
    }

    /// Reads a path within so many parentheses, signs and filters.
    fn parse_within(path: &str, depth: usize) -> Result<Self, StorageError> {
        let bad = |what: &str| StorageError::Spec(format!("flattenSpec: path [{path}] {what}"));
        let mut rest = path.strip_prefix('$').unwrap_or(path);
        if !path.starts_with('$') && !path.starts_with(['.', '[']) {
            // As a path that begins at the root.
            return Path::parse_within(&format!("$.{path}"), depth);
        }
        let mut steps = Vec::new();
        let mut function = None;
        while let Some(first) = rest.chars().next() {
            match first {
                '.' => {
                    rest = rest.get(1..).unwrap_or_default();
                    if let Some(below) = rest.strip_prefix('.') {
                        steps.push(Step::Descendants);
                        rest = below;
                    }
                    if rest.starts_with('[') {
                        continue;
                    }
                    let end = rest.find(['.', '[']).unwrap_or(rest.len());
                    let (key, after) = rest.split_at(end);
                    rest = after;
                    steps.push(match key {
                        "" => return Err(bad("has a step without a name")),
                        "*" => Step::Any,
                        key if key.ends_with(')') => {
                            let known = key.strip_suffix("()").and_then(Function::named);
                            function = known.filter(|_| rest.is_empty());
                            match function {
                                Some(_) => break,
                                None => return Err(bad("has a function that this engine has not")),
                            }
                        }
                        key => Step::Keys(vec![key.to_owned()]),
                    });
                }
                '[' => {
                    let end = closing(rest).ok_or_else(|| bad("has a bracket that is not closed"))?;
                    let inside = rest.get(1..end).unwrap_or_default().trim();
                    rest = rest.get(end + 1..).unwrap_or_default();
                    steps.push(
                        bracket(inside, depth)
                            .ok_or_else(|| bad("has brackets that this engine cannot read"))?,
                    );
                }
                _ => return Err(bad("is not one")),
            }
        }
        let is_definite = steps.iter().all(|step| match step {
            Step::Keys(keys) => keys.len() == 1,
            Step::Indices(indices) => indices.len() == 1,
            Step::Slice(..) | Step::Any | Step::Descendants | Step::Matching(_) => false,
        });
        Ok(Path {
            steps,
            is_definite,
            function,
        })
    }

    /// The field of the row that it begins with, where it is one; `None` when it may need any of them.
    pub fn root(&self) -> Option<&str> {
        match self.steps.first() {
            Some(Step::Keys(keys)) => match keys.as_slice() {
                [key] => Some(key),
                _ => None,
            },
            _ => None,
        }
    }

    /// What it leads to within `row`: the value, or a list of all values for a path that may lead to several.
    pub fn find(&self, row: &Value) -> Option<Value> {
        let mut found: Vec<&Value> = vec![row];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.take(value)).collect();
        }
        match (self.is_definite, self.function) {
            (true, None) => found.first().map(|value| (*value).clone()),
            (true, Some(function)) => found.first().and_then(|value| function.apply(value)),
            (false, None) => Some(Value::Array(found.into_iter().cloned().collect())),
            (false, Some(function)) => function.apply(&Value::Array(found.into_iter().cloned().collect())),
        }
    }

    /// Whether it leads to anything.
    fn exists(&self, value: &Value) -> bool {
        match self.find(value) {
            None => false,
            Some(Value::Array(found)) if !self.is_definite => !found.is_empty(),
            Some(_) => true,
        }
    }
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Step::Keys(keys) => keys
                .iter()
                .filter_map(|key| value.as_object()?.get(key))
                .collect(),
            Step::Indices(indices) => {
                let elements = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let places = indices.iter().map(|index| place(*index, elements.len()));
                places.filter_map(|place| elements.get(place?)).collect()
            }
            Step::Slice(from, to) => {
                let elements = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let bound = |index: &Option<i64>, missing: usize| match index {
                    None => missing,
                    Some(index) => place(*index, elements.len()).unwrap_or(0).min(elements.len()),
                };
                let (from, to) = (bound(from, 0), bound(to, elements.len()));
                elements.get(from..to).unwrap_or_default().iter().collect()
            }
            Step::Any => match value {
                Value::Array(elements) => elements.iter().collect(),
                Value::Object(members) => members.values().collect(),
                _ => Vec::new(),
            },
            Step::Matching(filter) => match value {
                Value::Array(elements) => elements.iter().filter(|element| filter.holds(element)).collect(),
                Value::Object(_) if filter.holds(value) => vec![value],
                _ => Vec::new(),
            },
            Step::Descendants => {
                let mut all = vec![value];
                let mut next = 0;
                while let Some(value) = all.get(next).copied() {
                    all.extend(Step::Any.take(value));
                    next += 1;
                }
                all
            }
        }
    }
}

/// An index from the front; `None` when it is before the first element.
fn place(index: i64, length: usize) -> Option<usize> {
    if index >= 0 {
        return usize::try_from(index).ok();
    }
    length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
}

/// Where the bracket at the front closes, quotes and brackets within aside.
fn closing(text: &str) -> Option<usize> {
    let mut quote: Option<char> = None;
    let mut depth = 0;
    for (position, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '[') => depth += 1,
            (None, ']') if depth == 1 => return Some(position),
            (None, ']') => depth -= 1,
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str, depth: usize) -> Option<Step> {
    if inside == "*" {
        return Some(Step::Any);
    }
    if let Some(condition) = inside.strip_prefix('?') {
        let condition = condition.trim().strip_prefix('(')?.strip_suffix(')')?;
        return Filter::parse(condition, depth).map(Step::Matching);
    }
    if inside.starts_with(['\'', '"']) {
        let quote = inside.chars().next()?;
        let mut keys = Vec::new();
        let mut rest = inside;
        loop {
            let key_and_rest = rest.strip_prefix(quote)?;
            let end = key_and_rest.find(quote)?;
            keys.push(key_and_rest.get(..end)?.to_owned());
            rest = key_and_rest.get(end + 1..)?.trim_start();
            if rest.is_empty() {
                return Some(Step::Keys(keys));
            }
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }
    if let Some((from, to)) = inside.split_once(':') {
        let bound = |text: &str| match text.trim() {
            "" => Some(None),
            number => number.parse().ok().map(Some),
        };
        return Some(Step::Slice(bound(from)?, bound(to)?));
    }
    let indices = inside.split(',').map(|index| index.trim().parse().ok());
    indices.collect::<Option<Vec<i64>>>().map(Step::Indices)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values_or_lists() {
        let row = json!({
            "a": { "b": [1, 2, 3, 4], "c-d": "x", "e f": { "g": true } },
            "list": [{ "n": 1 }, { "n": 2 }, { "m": 3 }],
            "n": 9
        });
        for (path, found) in [
            ("$.a.b[0]", Some(json!(1))),
            ("$.a.b[-1]", Some(json!(4))),
            ("$.a.b[9]", None),
            ("$.a.c-d", Some(json!("x"))),
            ("$['a']['e f'].g", Some(json!(true))),
            ("a.b", Some(json!([1, 2, 3, 4]))),
            ("$.none.b", None),
            ("$", Some(row.clone())),
            ("$.list[*].n", Some(json!([1, 2]))),
            ("$..n", Some(json!([9, 1, 2]))),
            ("$.a.b[0,2]", Some(json!([1, 3]))),
            ("$.a.b[1:3]", Some(json!([2, 3]))),
            ("$.a.b[-2:]", Some(json!([3, 4]))),
            ("$.list[*]['n','m']", Some(json!([1, 2, 3]))),
            ("$.list[?(@.n > 1)].n", Some(json!([2]))),
            ("$.list[?(@.n)]", Some(json!([{ "n": 1 }, { "n": 2 }]))),
            (
                "$.list[?(!@.n || @.n == 1)]",
                Some(json!([{ "n": 1 }, { "m": 3 }])),
            ),
            ("$.list[?(@['n'] >= 1 && (@.n != 1))].n", Some(json!([2]))),
            ("$.a[?(@.c-d == 'x')].b[0]", Some(json!([1]))),
            ("$.a.b[?(@ < 3)]", Some(json!([1, 2]))),
            ("$.a.b.length()", Some(json!(4))),
            ("$.a.b.sum()", Some(json!(10.0))),
            ("$.a.b.avg()", Some(json!(2.5))),
            ("$.list[*].n.max()", Some(json!(2.0))),
            ("$.a.b[?(@ > 9)].min()", None),
            ("$.n.length()", None),
        ] {
            assert_eq!(Path::parse(path).unwrap().find(&row), found, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for path in [
            "$.a[",
            "$.a[?(@.b =~ /x/)]",
            "$.a[?(@.b)",
            "$.a.keys()",
            "$.a.length().b",
            "$.a..",
            "$x",
        ] {
            let error = Path::parse(path).unwrap_err().to_string();
            assert!(error.contains(&format!("[{path}]")), "{error}");
        }
    }

    #[test]
    fn filters_are_nested_to_a_depth() {
        let nested = |depth: usize| {
            [
                format!("$.a[?({}@.b)]", "!".repeat(depth)),
                format!("$.a[?({}@.b{})]", "(".repeat(depth), ")".repeat(depth)),
                format!("$.a{}{}", "[?(@.b".repeat(depth), ")]".repeat(depth)),
            ]
        };
        for path in nested(30) {
            assert!(Path::parse(&path).is_ok(), "{path}");
        }
        for path in nested(101).into_iter().chain(nested(200_000)) {
            let error = Path::parse(&path).unwrap_err().to_string();
            assert!(error.contains("brackets that this engine cannot read"));
        }
    }

    #[test]
    fn fields_of_all_types() {
        let spec = json!({ "flattenSpec": { "fields": [
            "plain",
            { "type": "root", "name": "renamed", "expr": "was" },
            { "type": "path", "name": "p", "expr": "$.a.b" },
            { "type": "tree", "name": "t", "nodes": ["a", "b"] },
            { "type": "jq", "name": "j", "expr": ".a.b" },
        ] } });
        let flatten = Flatten::parse(&spec).unwrap();
        let row = json!({ "plain": 1, "was": 2, "a": { "b": 3 } });
        let found = |column: &str| flatten.path(column).unwrap().find(&row);
        assert_eq!(
            ["plain", "renamed", "p", "t", "j"].map(found),
            [1, 2, 3, 3, 3].map(|n| Some(json!(n)))
        );
        assert_eq!(flatten.path("other"), None);
        for field in [
            json!({ "type": "jq", "name": "j", "expr": ".a | length" }),
            json!({ "type": "nope", "name": "n", "expr": "a" }),
            json!({ "type": "path", "name": "p" }),
            json!({ "type": "tree", "name": "t", "nodes": [] }),
        ] {
            assert!(Flatten::parse(&json!({ "flattenSpec": { "fields": [field] } })).is_err());
        }
        let twice = json!({ "flattenSpec": { "fields": ["a", "a"] } });
        assert!(
            Flatten::parse(&twice)
                .unwrap_err()
                .to_string()
                .contains("duplicate")
        );
    }
}
