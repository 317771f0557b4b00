//! Rows of fields: csv, tsv and what a regular expression takes apart.

use regex::Regex;
use serde_json::Value;

use crate::StorageError;
use crate::spec::{flag, strings, text};

/// Between the values of one field, unless the format says otherwise.
const DEFAULT_LIST_DELIMITER: &str = "\u{1}";

/// csv and tsv.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimited {
    pub delimiter: String,
    /// Whether fields may stand in double quotes: in csv alone, as for Druid; elsewhere quotes belong to the values.
    pub is_quoted: bool,
    pub list_delimiter: ListDelimiter,
    /// Names of the fields; empty when the header has them.
    pub columns: Vec<String>,
    pub find_columns_from_header: bool,
    pub skip_header_rows: u64,
    /// Texts that are numbers are read as these, and show as these in a text column.
    pub try_parse_numbers: bool,
}

/// What stands between the values of a field with several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListDelimiter(String);

impl ListDelimiter {
    fn parse(json: &Value) -> Self {
        ListDelimiter(
            text(json, "listDelimiter")
                .unwrap_or(DEFAULT_LIST_DELIMITER)
                .to_owned(),
        )
    }

    /// The values of a field; `None` for one without a delimiter.
    pub fn split<'a>(&'a self, field: &'a str) -> Option<std::str::Split<'a, &'a str>> {
        let has_several = !self.0.is_empty() && field.contains(&self.0);
        has_several.then(|| field.split(self.0.as_str()))
    }
}

impl Delimited {
    /// # Errors
    /// Names the property that is missing or does not fit.
    pub(super) fn csv(json: &Value) -> Result<Self, StorageError> {
        Delimited::parse(json, ",".to_owned(), true)
    }

    /// # Errors
    /// As [`Delimited::csv`].
    pub(super) fn tsv(json: &Value) -> Result<Self, StorageError> {
        let delimiter = text(json, "delimiter").unwrap_or("\t").to_owned();
        if delimiter.is_empty() || delimiter.contains(['\n', '\r']) {
            return Err(StorageError::Spec(format!(
                "delimiter [{}] cannot stand between fields",
                delimiter.escape_debug()
            )));
        }
        Delimited::parse(json, delimiter, false)
    }

    fn parse(json: &Value, delimiter: String, is_quoted: bool) -> Result<Self, StorageError> {
        let columns = strings(json, "columns");
        let header = [json.get("hasHeaderRow"), json.get("findColumnsFromHeader")];
        if columns.is_empty() && header.iter().all(Option::is_some) {
            return Err(StorageError::Spec(
                "Cannot accept both [findColumnsFromHeader] and [hasHeaderRow]".to_owned(),
            ));
        }
        if columns.is_empty() && header.iter().all(Option::is_none) {
            return Err(StorageError::Spec(
                "Either [columns] or [findColumnsFromHeader] must be set".to_owned(),
            ));
        }
        let find_columns_from_header = match columns.is_empty() {
            true => header
                .into_iter()
                .flatten()
                .any(|value| value.as_bool() == Some(true)),
            false => flag(json, "findColumnsFromHeader"),
        };
        if columns.is_empty() && !find_columns_from_header {
            return Err(StorageError::Spec(
                "If [columns] is not set, the first row of your data must have your header and \
                 [findColumnsFromHeader] must be set to true."
                    .to_owned(),
            ));
        }
        if text(json, "listDelimiter") == Some(delimiter.as_str()) {
            return Err(StorageError::Spec(format!(
                "Cannot have same delimiter and list delimiter of [{delimiter}]"
            )));
        }
        if let Some(column) = columns.iter().find(|column| column.contains(&delimiter)) {
            return Err(StorageError::Spec(format!(
                "Column[{column}] cannot have the delimiter[{delimiter}] in its name"
            )));
        }
        Ok(Delimited {
            delimiter,
            is_quoted,
            list_delimiter: ListDelimiter::parse(json),
            columns,
            find_columns_from_header,
            skip_header_rows: json.get("skipHeaderRows").and_then(Value::as_u64).unwrap_or(0),
            try_parse_numbers: flag(json, "tryParseNumbers"),
        })
    }
}

/// Lines that a regular expression takes apart, a column for each of its groups.
#[derive(Debug, Clone)]
pub struct RegexFormat {
    /// As the user wrote it.
    pub pattern: String,
    /// Matches whole lines.
    pub regex: Regex,
    pub columns: Vec<String>,
    pub list_delimiter: ListDelimiter,
}

impl RegexFormat {
    /// # Errors
    /// For a missing or unreadable pattern.
    pub(super) fn parse(json: &Value) -> Result<Self, StorageError> {
        let pattern = text(json, "pattern")
            .ok_or_else(|| StorageError::Spec("a regex format needs a [pattern]".to_owned()))?;
        let regex = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|error| StorageError::Spec(format!("pattern [{pattern}]: {error}")))?;
        let mut columns = strings(json, "columns");
        if columns.is_empty() {
            columns = (1..regex.captures_len())
                .map(|group| format!("column_{group}"))
                .collect();
        }
        Ok(RegexFormat {
            pattern: pattern.to_owned(),
            regex,
            columns,
            list_delimiter: ListDelimiter::parse(json),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn csv_needs_columns_or_a_header() {
        for (spec, reason) in [
            (
                json!({}),
                "Either [columns] or [findColumnsFromHeader] must be set",
            ),
            (
                json!({ "findColumnsFromHeader": false }),
                "the first row of your data",
            ),
            (
                json!({ "findColumnsFromHeader": true, "hasHeaderRow": true }),
                "Cannot accept both",
            ),
            (json!({ "columns": ["a,b"] }), "Column[a,b]"),
            (
                json!({ "columns": ["a"], "listDelimiter": "," }),
                "same delimiter",
            ),
        ] {
            let error = Delimited::csv(&spec).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let format = Delimited::csv(&json!({ "columns": ["a"], "skipHeaderRows": 1 })).unwrap();
        assert_eq!((format.delimiter.as_str(), format.skip_header_rows), (",", 1));
        assert!(!format.find_columns_from_header && format.is_quoted);
        let header = Delimited::csv(&json!({ "hasHeaderRow": true })).unwrap();
        assert!(header.find_columns_from_header);
    }

    #[test]
    fn a_list_delimiter_splits_fields_that_have_it() {
        let format =
            Delimited::tsv(&json!({ "columns": ["a"], "delimiter": "||", "listDelimiter": ";" })).unwrap();
        assert_eq!(format.delimiter, "||");
        let values: Vec<&str> = format.list_delimiter.split("x;;y").unwrap().collect();
        assert_eq!(values, ["x", "", "y"]);
        assert!(format.list_delimiter.split("x").is_none());
    }

    #[test]
    fn groups_without_names_are_numbered() {
        let format = RegexFormat::parse(&json!({ "pattern": r"(\d+) (\w+)" })).unwrap();
        assert_eq!(format.columns, ["column_1", "column_2"]);
        assert!(format.regex.is_match("12 ab") && !format.regex.is_match("12 ab!"));
        assert!(RegexFormat::parse(&json!({ "pattern": "(" })).is_err());
    }
}
