//! Columns of outside rows.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::StorageError;

/// Druid's native types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DruidType {
    String,
    /// A STRING that a statement takes for several values: an array of a file is one such string.
    MultiValue,
    Long,
    Double,
    Float,
    Complex(String),
    Array(Box<DruidType>),
}

/// Name of a multi-value STRING in specs that travel to workers; users write STRING.
const MULTI_VALUE: &str = "MULTI_VALUE<STRING>";

/// Field metadata key that marks JSON columns.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";

impl DruidType {
    /// Reads a native type name, in any case.
    ///
    /// # Errors
    /// For an unknown one.
    pub fn parse(text: &str) -> Result<Self, StorageError> {
        let upper = text.trim().to_uppercase();
        let inside = |prefix: &str| upper.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
        Ok(match upper.as_str() {
            "STRING" | "VARCHAR" => DruidType::String,
            MULTI_VALUE => DruidType::MultiValue,
            "LONG" | "BIGINT" => DruidType::Long,
            "DOUBLE" => DruidType::Double,
            "FLOAT" => DruidType::Float,
            _ => match (inside("ARRAY<"), inside("COMPLEX<")) {
                (Some(element), _) => DruidType::Array(Box::new(DruidType::parse(element)?)),
                (_, Some(name)) => DruidType::Complex(name.to_lowercase()),
                _ => {
                    return Err(StorageError::Spec(format!(
                        "[{text}] is not a column type: expected string, long, double, float, ARRAY<…> or COMPLEX<json>"
                    )));
                }
            },
        })
    }

    /// Druid's name.
    pub fn name(&self) -> String {
        match self {
            DruidType::String => "STRING".to_owned(),
            DruidType::MultiValue => MULTI_VALUE.to_owned(),
            DruidType::Long => "LONG".to_owned(),
            DruidType::Double => "DOUBLE".to_owned(),
            DruidType::Float => "FLOAT".to_owned(),
            DruidType::Complex(name) => format!("COMPLEX<{name}>"),
            DruidType::Array(element) => format!("ARRAY<{}>", element.name()),
        }
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            DruidType::String => DataType::Utf8View,
            DruidType::MultiValue => {
                DataType::LargeList(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
            }
            // JSON has an Arrow type that nothing else has, so that it is known where metadata is lost.
            DruidType::Complex(_) => DataType::LargeUtf8,
            DruidType::Long => DataType::Int64,
            DruidType::Double => DataType::Float64,
            DruidType::Float => DataType::Float32,
            DruidType::Array(element) => DataType::List(Arc::new(element.arrow_field("item"))),
        }
    }

    /// A nullable column of this type.
    pub fn arrow_field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        match self {
            DruidType::Complex(complex) => field.with_metadata(HashMap::from([(
                EXTENSION_NAME.to_owned(),
                format!("druid.{complex}"),
            )])),
            _ => field,
        }
    }
}

/// Columns in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(pub Vec<(String, DruidType)>);

impl Signature {
    pub fn arrow_schema(&self) -> Schema {
        Schema::new(
            self.0
                .iter()
                .map(|(name, of_type)| of_type.arrow_field(name))
                .collect::<Vec<_>>(),
        )
    }

    /// Druid's JSON.
    pub fn to_json(&self) -> String {
        let columns: Vec<Value> = self
            .0
            .iter()
            .map(|(name, of_type)| json!({ "name": name, "type": of_type.name() }))
            .collect();
        Value::Array(columns).to_string()
    }
}

impl FromStr for Signature {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| StorageError::Spec(error.to_string()))?;
        let columns = value
            .as_array()
            .ok_or_else(|| StorageError::Spec("a signature is a JSON array".to_owned()))?;
        let column = |column: &Value| {
            let text = |key: &str| column.get(key).and_then(Value::as_str);
            match (text("name"), text("type")) {
                (Some(name), Some(of_type)) => Ok((name.to_owned(), DruidType::parse(of_type)?)),
                _ => Err(StorageError::Spec(format!(
                    "[{column}] is no column: expected {{\"name\":…, \"type\":…}}"
                ))),
            }
        };
        Ok(Signature(columns.iter().map(column).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_signature_survives_its_json() {
        let text = r#"[{"name":"a","type":"long"},{"name":"b","type":"ARRAY<string>"},{"name":"c","type":"COMPLEX<json>"}]"#;
        let signature: Signature = text.parse().unwrap();
        assert_eq!(signature.to_json().parse::<Signature>().unwrap(), signature);
        assert!(
            "[{\"name\":\"a\",\"type\":\"text\"}]"
                .parse::<Signature>()
                .is_err()
        );
    }
}
