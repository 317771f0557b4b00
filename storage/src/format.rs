//! Input formats of EXTERN (Druid: ingestion/data-formats.md).

use std::str::FromStr;

use serde_json::Value;

use crate::StorageError;

/// An input format with the user's own JSON, which reports echo.
#[derive(Debug, Clone, PartialEq)]
pub struct InputFormat {
    json: Value,
    pub kind: FormatKind,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatKind {
    /// Objects, one a line or simply one after another.
    Json,
    Delimited(Delimited),
    Parquet,
}

/// Rows of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimited {
    pub delimiter: u8,
    /// Names of the fields; empty when the header has them.
    pub columns: Vec<String>,
    pub find_columns_from_header: bool,
    pub skip_header_rows: u64,
}

const KNOWN: &str = "csv, json, parquet, tsv";

impl InputFormat {
    /// The user's JSON.
    pub fn to_json(&self) -> String {
        self.json.to_string()
    }

    /// Whether an uncompressed file can be read from the middle.
    pub fn is_splittable(&self) -> bool {
        true
    }
}

impl FromStr for InputFormat {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| StorageError::Spec(error.to_string()))?;
        let kind = match json.get("type").and_then(Value::as_str) {
            Some("json") => FormatKind::Json,
            Some("parquet") => FormatKind::Parquet,
            Some("csv") => FormatKind::Delimited(delimited(&json, b',')?),
            Some("tsv") => FormatKind::Delimited(delimited(&json, b'\t')?),
            Some(other) => {
                return Err(StorageError::Spec(format!(
                    "Could not resolve type id '{other}' as a subtype of InputFormat known type ids = [{KNOWN}]"
                )));
            }
            None => return Err(StorageError::Spec("missing type id property 'type'".to_owned())),
        };
        Ok(InputFormat { json, kind })
    }
}

fn delimited(json: &Value, default: u8) -> Result<Delimited, StorageError> {
    let delimiter = match json.get("delimiter").and_then(Value::as_str) {
        None => default,
        Some(text) => match text.as_bytes() {
            [byte] => *byte,
            _ => {
                return Err(StorageError::Spec(format!(
                    "delimiter [{text}] must be a single byte"
                )));
            }
        },
    };
    let columns: Vec<String> = match json.get("columns").and_then(Value::as_array) {
        Some(columns) => columns
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let find_columns_from_header = json
        .get("findColumnsFromHeader")
        .and_then(Value::as_bool)
        .unwrap_or(columns.is_empty());
    let skip_header_rows = json.get("skipHeaderRows").and_then(Value::as_u64).unwrap_or(0);
    if columns.is_empty() && !find_columns_from_header {
        return Err(StorageError::Spec(
            "either [columns] must be given or [findColumnsFromHeader] must be true".to_owned(),
        ));
    }
    Ok(Delimited {
        delimiter,
        columns,
        find_columns_from_header,
        skip_header_rows,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn csv_needs_columns_or_a_header() {
        assert!(r#"{"type":"csv","findColumnsFromHeader":false}"#.parse::<InputFormat>().is_err());
        let format: InputFormat = r#"{"type":"csv","columns":["a"],"skipHeaderRows":1}"#.parse().unwrap();
        let FormatKind::Delimited(delimited) = format.kind else {
            unreachable!()
        };
        assert_eq!((delimited.delimiter, delimited.skip_header_rows), (b',', 1));
        assert!(!delimited.find_columns_from_header);
    }

    #[test]
    fn an_unknown_type_names_the_known_ones() {
        let error = r#"{"type":"nope"}"#.parse::<InputFormat>().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("known type ids = [csv, json, parquet, tsv]"),
            "{error}"
        );
    }
}
