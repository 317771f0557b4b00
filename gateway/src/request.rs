//! The body of a query.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use sarsen_planner::Parameter;
use serde_json::{Map, Value};

use crate::body::{self, Class, Step};
use crate::error::ApiError;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResultFormat {
    #[default]
    Object,
    Array,
    ObjectLines,
    ArrayLines,
    Csv,
}

impl ResultFormat {
    /// As requests name it.
    pub fn name(self) -> &'static str {
        match self {
            ResultFormat::Object => "object",
            ResultFormat::Array => "array",
            ResultFormat::ObjectLines => "objectLines",
            ResultFormat::ArrayLines => "arrayLines",
            ResultFormat::Csv => "csv",
        }
    }
}

/// A query as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SqlRequest {
    pub query: String,
    pub context: Map<String, Value>,
    pub parameters: Vec<Parameter>,
    pub result_format: ResultFormat,
    pub header: bool,
    pub types_header: bool,
    pub sql_types_header: bool,
    /// W3C traceparent of the client's own trace, or empty.
    pub trace_parent: String,
}

/// SQL types that a parameter may have (Avatica's).
const SQL_TYPES: [&str; 47] = [
    "BINARY",
    "NULL",
    "BOOLEAN",
    "MULTISET",
    "NCLOB",
    "LONGNVARCHAR",
    "ANY",
    "TIME",
    "NVARCHAR",
    "DOUBLE",
    "STRUCT",
    "CHAR",
    "SYMBOL",
    "BLOB",
    "INTEGER",
    "TIME_WITH_TIMEZONE",
    "LONGVARCHAR",
    "NCHAR",
    "COLUMN_LIST",
    "INTERVAL_DAY_TIME",
    "NUMERIC",
    "DATE",
    "BIGINT",
    "OTHER",
    "DECIMAL",
    "REF",
    "TIMESTAMP",
    "ARRAY",
    "ROW",
    "FLOAT",
    "SQLXML",
    "LONGVARBINARY",
    "TINYINT",
    "ROWID",
    "CURSOR",
    "INTERVAL_YEAR_MONTH",
    "VARCHAR",
    "REAL",
    "DATALINK",
    "BIT",
    "JAVA_OBJECT",
    "CLOB",
    "DISTINCT",
    "SMALLINT",
    "TIMESTAMP_WITH_TIMEZONE",
    "VARBINARY",
    "MAP",
];

impl SqlRequest {
    /// Reads a body by its content type.
    ///
    /// # Errors
    /// In the words of Druid's body reader.
    pub fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, ApiError> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/json");
        let kind = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let mut request = match kind.as_str() {
            "application/json" | "" => Self::read_json(body),
            "text/plain" => Self::read_text(body),
            "application/x-www-form-urlencoded" => Self::read_form(body),
            other => Err(ApiError::Body {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                message: format!(
                    "Unsupported Content-Type: {other}. Only application/json, text/plain or \
                     application/x-www-form-urlencoded is supported."
                ),
            }),
        }?;
        let trace_parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        request.trace_parent = trace_parent.unwrap_or_default().to_owned();
        Ok(request)
    }

    fn read_text(body: &Bytes) -> Result<Self, ApiError> {
        let query = String::from_utf8_lossy(body).into_owned();
        if query.trim().is_empty() {
            return Err(ApiError::body("Empty query"));
        }
        Ok(SqlRequest {
            query,
            ..SqlRequest::default()
        })
    }

    /// curl sends JSON as a form unless it is told otherwise.
    fn read_form(body: &Bytes) -> Result<Self, ApiError> {
        if body.trim_ascii_start().starts_with(b"{") {
            Self::read_json(body)
        } else {
            Self::read_text(body)
        }
    }

    fn read_json(body: &Bytes) -> Result<Self, ApiError> {
        if body.trim_ascii().is_empty() {
            return Err(ApiError::body("Empty query"));
        }
        let malformed =
            |problem: String| ApiError::body(format!("Malformed SQL query wrapped in JSON: {problem}"));
        let value: Value =
            serde_json::from_slice(body).map_err(|error| malformed(body::syntax(body, &error)))?;
        let Value::Object(mut fields) = value else {
            return Err(malformed(body::wrong_type(body, &[], &value, Class::Query, "")));
        };
        let unreadable =
            |problem: String| ApiError::body(format!("Unable to read query from request: {problem}"));
        let query = match fields.remove("query") {
            Some(Value::String(query)) => query,
            None | Some(Value::Null) => return Err(unreadable(body::no_query(body))),
            Some(other) => {
                return Err(malformed(format!(
                    "the field \"query\" must be a string, found {}",
                    kind_of(&other)
                )));
            }
        };
        let context = match fields.remove("context") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(context)) => context,
            Some(other) => {
                let path = [Step::Key("context")];
                let words = body::wrong_type(body, &path, &other, Class::Map, "[\"context\"]");
                return Err(malformed(words));
            }
        };
        let parameters = match fields.remove("parameters") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(parameters)) => parameters
                .into_iter()
                .enumerate()
                .map(|(position, value)| parameter(body, position, value).map_err(malformed))
                .collect::<Result<_, _>>()?,
            Some(other) => {
                let path = [Step::Key("parameters")];
                let words = body::wrong_type(body, &path, &other, Class::List, "[\"parameters\"]");
                return Err(malformed(words));
            }
        };
        let result_format = match fields.remove("resultFormat") {
            None | Some(Value::Null) => ResultFormat::default(),
            Some(Value::String(name)) => result_format(&name).ok_or_else(|| {
                unreadable(format!(
                    "resultFormat [{name}] is unknown: expected object, array, objectLines, arrayLines or csv"
                ))
            })?,
            Some(other) => {
                return Err(malformed(format!(
                    "the field \"resultFormat\" must be a string, found {other}"
                )));
            }
        };
        let mut flag = |name: &str| matches!(fields.remove(name), Some(Value::Bool(true)));
        let header = flag("header");
        let (types_header, sql_types_header) = (flag("typesHeader"), flag("sqlTypesHeader"));
        if (types_header || sql_types_header) && !header {
            return Err(unreadable(
                "cannot set \"typesHeader\" or \"sqlTypesHeader\" without \"header\"".to_owned(),
            ));
        }
        Ok(SqlRequest {
            query,
            context,
            parameters,
            result_format,
            header,
            types_header,
            sql_types_header,
            trace_parent: String::new(),
        })
    }

    /// The id that the client gave, under any of Druid's names for it.
    pub fn query_id(&self) -> Option<&str> {
        ["sqlQueryId", "queryId"]
            .iter()
            .find_map(|key| self.context.get(*key))
            .and_then(Value::as_str)
    }
}

fn parameter(body: &Bytes, position: usize, value: Value) -> Result<Parameter, String> {
    let sql_type = value
        .get("type")
        .and_then(Value::as_str)
        .ok_or("a parameter needs a \"type\"")?
        .to_owned();
    if !SQL_TYPES.contains(&sql_type.as_str()) {
        return Err(body::not_accepted(
            body,
            &[Step::Key("parameters"), Step::Index(position), Step::Key("type")],
            "org.apache.calcite.avatica.SqlType",
            &sql_type,
            &SQL_TYPES,
            &format!(
                "[\"parameters\"]->java.util.ArrayList[{position}]->org.apache.druid.sql.http.SqlParameter[\"type\"]"
            ),
        ));
    }
    Ok(Parameter {
        sql_type,
        value: value.get("value").cloned().unwrap_or(Value::Null),
    })
}

/// The format of that name, in whatever case.
pub fn result_format(name: &str) -> Option<ResultFormat> {
    Some(match name.to_ascii_lowercase().as_str() {
        "object" => ResultFormat::Object,
        "array" => ResultFormat::Array,
        "objectlines" => ResultFormat::ObjectLines,
        "arraylines" => ResultFormat::ArrayLines,
        "csv" => ResultFormat::Csv,
        _ => return None,
    })
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(content_type: &str, body: &str) -> Result<SqlRequest, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        SqlRequest::read(&headers, &Bytes::copy_from_slice(body.as_bytes())).map_err(|error| match error {
            ApiError::Body { message, .. } => message,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn json_and_text_are_read() {
        let request = read(
            "application/json; charset=utf-8",
            r#"{"query":"SELECT 1","resultFormat":"arrayLines"}"#,
        )
        .unwrap();
        assert_eq!(
            (request.query.as_str(), request.result_format),
            ("SELECT 1", ResultFormat::ArrayLines)
        );
        assert_eq!(read("text/plain", "SELECT 1").unwrap().query, "SELECT 1");
        assert_eq!(
            read("application/x-www-form-urlencoded", r#"{"query":"SELECT 2"}"#)
                .unwrap()
                .query,
            "SELECT 2"
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            read("application/json", "{\"query\"")
                .unwrap_err()
                .starts_with("Malformed SQL query wrapped in JSON: ")
        );
        assert_eq!(read("application/json", "  ").unwrap_err(), "Empty query");
        assert!(
            read("application/json", r#"{"query":"SELECT 1","context":"x"}"#)
                .unwrap_err()
                .contains("\"context\"")
        );
        assert!(
            read("application/json", r#"{"query":null}"#)
                .unwrap_err()
                .starts_with("Unable to read query")
        );
        assert!(
            read("application/xml", "<a/>")
                .unwrap_err()
                .starts_with("Unsupported Content-Type: application/xml")
        );
        let bad = r#"{"query":"SELECT ?","parameters":[{"type":"NOPE","value":1}]}"#;
        assert!(read("application/json", bad).unwrap_err().contains("NOPE"));
    }
}
