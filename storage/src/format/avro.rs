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

/// Bytes that its texts may then have.
const MAX_BYTES: usize = 64 << 20;

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
    known: HashMap<String, (Value, Size)>,
    /// Those within which the current place is.
    open: Vec<String>,
    size: Size,
}

/// What there is of a schema.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    /// Of a type, apart from the types within it.
    fn of(schema: &Value) -> Self {
        let bytes = match schema {
            Value::Object(members) => {
                let own = members.iter().filter(|(key, _)| !HOLDERS.contains(&key.as_str()));
                let fields = members.get("fields").and_then(Value::as_array);
                let of_fields = fields
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_object)
                    .flatten()
                    .filter(|(key, _)| *key != "type");
                own.chain(of_fields)
                    .map(|(key, value)| key.len() + text_bytes(value))
                    .sum()
            }
            Value::Array(_) => 0,
            other => text_bytes(other),
        };
        Size { nodes: 1, bytes }
    }
}

/// Members of a type that hold others.
const HOLDERS: [&str; 4] = ["type", "fields", "items", "values"];

/// About the bytes of a value as a text.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(|element| 1 + text_bytes(element)).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| key.len() + text_bytes(value))
            .sum(),
        _ => 8,
    }
}

impl Names {
    fn plain(&mut self, schema: &Value, namespace: &str) -> Result<Value, String> {
        self.count(Size::of(schema))?;
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

    fn count(&mut self, more: Size) -> Result<(), String> {
        self.size.nodes += more.nodes;
        self.size.bytes += more.bytes;
        if self.size.nodes > MAX_NODES {
            return Err(format!("its schema has more than {MAX_NODES} types and fields"));
        }
        if self.size.bytes > MAX_BYTES {
            return Err(format!("its schema has more than {MAX_BYTES} bytes"));
        }
        Ok(())
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<Value, String> {
        if PRIMITIVE.contains(&name) {
            return Ok(name.into());
        }
        let full = full_name(name, namespace);
        if self.open.contains(&full) {
            return Err(format!("type [{full}] holds itself, which is not supported"));
        }
        let known = self.known.get(&full).map(|(_, size)| *size);
        self.count(known.ok_or_else(|| format!("type [{full}] is not defined"))?)?;
        Ok(self
            .known
            .get(&full)
            .map(|(schema, _)| schema.clone())
            .unwrap_or_default())
    }

    /// A record, an enum or a fixed.
    fn defined(&mut self, members: &Map<String, Value>, namespace: &str) -> Result<Value, String> {
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        let name = text("name").ok_or("a type has no name")?;
        let full = full_name(name, text("namespace").unwrap_or(namespace));
        let (namespace, name) = full.rsplit_once('.').unwrap_or(("", &full));
        let own = Size::of(&Value::Object(members.clone())).bytes;
        let before = self.size;
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
        let size = Size {
            nodes: self.size.nodes - before.nodes,
            bytes: self.size.bytes - before.bytes + own,
        };
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
    fn names_do_not_make_a_schema_too_large() {
        let schema = |uses: usize| {
            let mut fields = vec![json!({ "name": "a", "type":
                { "type": "enum", "name": "E", "symbols": ["x".repeat(1 << 20)] } })];
            fields.extend((0..uses).map(|number| json!({ "name": format!("f{number}"), "type": "E" })));
            json!({ "type": "record", "name": "r", "fields": fields })
        };
        assert!(plain_schema(&schema(60)).is_ok());
        let error = plain_schema(&schema(64)).unwrap_err();
        assert_eq!(error, "its schema has more than 67108864 bytes");
    }

    #[test]
    fn a_schema_is_an_object() {
        let error = Avro::parse(&json!({ "schema": "long" })).unwrap_err().to_string();
        assert!(error.contains("no Avro schema"), "{error}");
    }
}
