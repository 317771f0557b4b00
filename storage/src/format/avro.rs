//! `avro_ocf` (Druid: ingestion/data-formats.md#avro-ocf, development/extensions-core/avro.md#avro-types).

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Columnar;
use super::columnar::Typed;
use crate::StorageError;
use crate::spec::flag;

/// Avro object container files.
#[derive(Debug, Clone)]
pub struct Avro {
    pub columnar: Columnar,
    /// The reader's schema without its logical types; `None` for that of each file.
    pub schema: Option<String>,
    pub unions: Unions,
}

/// What a union of several types is to a path of a `flattenSpec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unions {
    /// The value, whatever its type.
    Values,
    /// An object with one member, which is named like the value's type.
    ByType,
}

impl Avro {
    /// # Errors
    /// Names the property that does not fit.
    pub(super) fn parse(json: &Value) -> Result<Self, StorageError> {
        let schema = match json.get("schema") {
            None | Some(Value::Null) => None,
            Some(schema @ Value::Object(_)) => {
                let plain = plain_schema(schema)
                    .map_err(|reason| StorageError::Spec(format!("schema of avro_ocf: {reason}")))?;
                Some(plain.to_string())
            }
            Some(other) => {
                return Err(StorageError::Spec(format!(
                    "schema [{other}] is no Avro schema of a record"
                )));
            }
        };
        Ok(Avro {
            columnar: Columnar::parse(json, Typed::Avro)?,
            schema,
            unions: match flag(json, "extractUnionsByType") {
                true => Unions::ByType,
                false => Unions::Values,
            },
        })
    }
}

/// Values that a schema may have once every name in it stands for its definition.
const MAX_NODES: usize = 100_000;

/// A schema whose fields are of their underlying primitive types, since Druid has no logical ones, and in which every type
/// is written out where it is used, so that any field can be left out.
///
/// # Errors
/// In words, for a name that is not defined, and for a type that holds itself.
pub(crate) fn plain_schema(schema: &Value) -> Result<Value, String> {
    Names::default().plain(schema, "")
}

/// The types that a schema has named so far.
#[derive(Default)]
struct Names {
    /// By full name, with their size.
    known: HashMap<String, (Value, usize)>,
    /// Those within which the current place is.
    open: Vec<String>,
    nodes: usize,
}

impl Names {
    fn plain(&mut self, schema: &Value, namespace: &str) -> Result<Value, String> {
        self.count(1)?;
        match schema {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => branches
                .iter()
                .map(|branch| self.plain(branch, namespace))
                .collect(),
            Value::Object(members) => match members.get("type") {
                Some(Value::String(of_type)) => match of_type.as_str() {
                    "record" | "error" | "enum" | "fixed" => self.defined(members, namespace),
                    "array" => self.holder(members, "items", namespace),
                    "map" => self.holder(members, "values", namespace),
                    name => self.named(name, namespace),
                },
                Some(inner) => self.plain(inner, namespace),
                None => Err(format!("[{schema}] has no type")),
            },
            other => Err(format!("[{other}] is no type")),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        match self.nodes > MAX_NODES {
            true => Err(format!("its schema has more than {MAX_NODES} types and fields")),
            false => Ok(()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<Value, String> {
        if PRIMITIVE.contains(&name) {
            return Ok(name.into());
        }
        let full = full_name(name, namespace);
        if self.open.contains(&full) {
            return Err(format!("type [{full}] holds itself, which is not supported"));
        }
        let (schema, nodes) = self
            .known
            .get(&full)
            .cloned()
            .ok_or_else(|| format!("type [{full}] is not defined"))?;
        self.count(nodes)?;
        Ok(schema)
    }

    /// A record, an enum or a fixed.
    fn defined(&mut self, members: &Map<String, Value>, namespace: &str) -> Result<Value, String> {
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        let name = text("name").ok_or("a type has no name")?;
        let full = full_name(name, text("namespace").unwrap_or(namespace));
        let (namespace, name) = full.rsplit_once('.').unwrap_or(("", &full));
        let before = self.nodes;
        let mut plain = members.clone();
        plain.shift_remove("logicalType");
        plain.insert("name".to_owned(), name.into());
        match namespace {
            "" => plain.shift_remove("namespace"),
            namespace => plain.insert("namespace".to_owned(), namespace.into()),
        };
        if let Some(Value::Array(fields)) = plain.get_mut("fields") {
            self.open.push(full.clone());
            for field in fields {
                if let Some(of_type) = field.get_mut("type") {
                    *of_type = self.plain(of_type, namespace)?;
                }
            }
            self.open.pop();
        }
        let plain = Value::Object(plain);
        let size = self.nodes - before;
        self.known.insert(full, (plain.clone(), size));
        Ok(plain)
    }

    fn holder(&mut self, members: &Map<String, Value>, held: &str, namespace: &str) -> Result<Value, String> {
        let element = members
            .get(held)
            .ok_or_else(|| format!("a type has no [{held}]"))?;
        let mut plain = members.clone();
        plain.shift_remove("logicalType");
        plain.insert(held.to_owned(), self.plain(element, namespace)?);
        Ok(Value::Object(plain))
    }
}

const PRIMITIVE: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn logical_types_are_dropped_wherever_they_are() {
        let schema = json!({ "type": "record", "name": "r", "fields": [
            { "name": "logicalType", "type": ["null", { "type": "long", "logicalType": "timestamp-millis" }],
              "default": null },
            { "name": "l", "type": { "type": "array", "items": { "type": "int", "logicalType": "date" } } },
        ] });
        assert_eq!(
            plain_schema(&schema).unwrap(),
            json!({ "type": "record", "name": "r", "fields": [
                { "name": "logicalType", "type": ["null", "long"], "default": null },
                { "name": "l", "type": { "type": "array", "items": "int" } },
            ] })
        );
    }

    #[test]
    fn names_stand_for_their_definitions() {
        let colour = json!({ "type": "enum", "name": "Colour", "namespace": "x.y", "symbols": ["RED"] });
        for (written, used) in [
            ("x.y.Colour", "x.y.Colour"),
            ("Colour", "Colour"),
            ("Colour", "x.y.Colour"),
        ] {
            let schema = json!({ "type": "record", "name": "R", "namespace": "x.y", "fields": [
                { "name": "a", "type": { "type": "enum", "name": written, "symbols": ["RED"] } },
                { "name": "b", "type": ["null", used] },
            ] });
            let plain = plain_schema(&schema).unwrap();
            let type_of = |field: usize| plain.pointer(&format!("/fields/{field}/type")).unwrap().clone();
            assert_eq!(
                type_of(0),
                json!({ "type": "enum", "name": "Colour", "symbols": ["RED"], "namespace": "x.y" })
            );
            assert_eq!(type_of(1).get(1), Some(&colour));
        }
        let list =
            json!({ "type": "record", "name": "L", "fields": [{ "name": "next", "type": ["null", "L"] }] });
        assert!(plain_schema(&list).unwrap_err().contains("[L] holds itself"));
        assert!(
            plain_schema(&json!("Nope"))
                .unwrap_err()
                .contains("[Nope] is not defined")
        );
    }

    #[test]
    fn a_schema_is_an_object() {
        let error = Avro::parse(&json!({ "schema": "long" })).unwrap_err().to_string();
        assert!(error.contains("no Avro schema"), "{error}");
    }
}
