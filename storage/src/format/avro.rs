//! `avro_ocf` (Druid: ingestion/data-formats.md#avro-ocf, development/extensions-core/avro.md#avro-types).

use serde_json::Value;

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
            Some(schema @ Value::Object(_)) => Some(without_logical_types(schema).to_string()),
            Some(other) => {
                return Err(StorageError::Spec(format!("schema [{other}] is no Avro schema of a record")));
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

/// A schema whose fields are of their underlying primitive types: Druid has no logical ones.
pub(crate) fn without_logical_types(schema: &Value) -> Value {
    match schema {
        Value::Array(branches) => branches.iter().map(without_logical_types).collect(),
        Value::Object(members) => {
            let members = members.iter().filter(|(key, _)| *key != "logicalType");
            let members = members.map(|(key, value)| {
                let value = match key.as_str() {
                    "type" | "items" | "values" => without_logical_types(value),
                    "fields" => fields_without_logical_types(value),
                    _ => value.clone(),
                };
                (key.clone(), value)
            });
            Value::Object(members.collect())
        }
        name => name.clone(),
    }
}

fn fields_without_logical_types(fields: &Value) -> Value {
    match fields {
        Value::Array(fields) => fields.iter().map(without_logical_types).collect(),
        other => other.clone(),
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
            without_logical_types(&schema),
            json!({ "type": "record", "name": "r", "fields": [
                { "name": "logicalType", "type": ["null", { "type": "long" }], "default": null },
                { "name": "l", "type": { "type": "array", "items": { "type": "int" } } },
            ] })
        );
    }

    #[test]
    fn a_schema_is_an_object() {
        let error = Avro::parse(&json!({ "schema": "long" })).unwrap_err().to_string();
        assert!(error.contains("no Avro schema"), "{error}");
    }
}
