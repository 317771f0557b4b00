//! Input formats of EXTERN (Druid: ingestion/data-formats.md).

mod avro;
mod columnar;
mod delimited;
mod features;
mod flatten;

use std::str::FromStr;

use serde_json::Value;

use crate::StorageError;

pub(crate) use avro::plain_schema;
pub use avro::{Avro, Unions};
pub use columnar::{Columnar, Typed};
pub use delimited::{Delimited, ListDelimiter, RegexFormat};
pub use features::Features;
pub use flatten::{Flatten, Path};

/// An input format with the user's own JSON, which reports echo.
#[derive(Debug, Clone)]
pub struct InputFormat {
    json: Value,
    pub kind: FormatKind,
}

impl PartialEq for InputFormat {
    /// The JSON says everything.
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

/// What a file holds.
#[derive(Debug, Clone)]
pub enum FormatKind {
    /// Objects, one a line or simply one after another.
    Json(Json),
    Delimited(Delimited),
    /// Lines that a regular expression takes apart.
    Regex(Box<RegexFormat>),
    /// Whole lines, in a column `line`.
    Lines,
    Parquet(Columnar),
    Orc(Columnar),
    /// Avro object container files.
    Avro(Box<Avro>),
}

/// Options of JSON.
#[derive(Debug, Clone)]
pub struct Json {
    pub flatten: Flatten,
    pub features: Features,
}

const KNOWN: &str = "avro_ocf, csv, json, lines, orc, parquet, regex, tsv";

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
            Some("json") => FormatKind::Json(Json {
                flatten: Flatten::parse(&json)?,
                features: Features::parse(&json)?,
            }),
            Some("parquet") => FormatKind::Parquet(Columnar::parse(&json, Typed::Parquet)?),
            Some("orc") => FormatKind::Orc(Columnar::parse(&json, Typed::Orc)?),
            Some("avro_ocf") => FormatKind::Avro(Box::new(Avro::parse(&json)?)),
            Some("csv") => FormatKind::Delimited(Delimited::csv(&json)?),
            Some("tsv") => FormatKind::Delimited(Delimited::tsv(&json)?),
            Some("regex") => FormatKind::Regex(Box::new(RegexFormat::parse(&json)?)),
            Some("lines") => FormatKind::Lines,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_unknown_type_names_the_known_ones() {
        let error = r#"{"type":"nope"}"#.parse::<InputFormat>().unwrap_err();
        let known = "known type ids = [avro_ocf, csv, json, lines, orc, parquet, regex, tsv]";
        assert!(error.to_string().contains(known), "{error}");
    }
}
