//! `systemFields`: columns that say which file a row is from (Druid: ingestion/input-sources.md).

use serde_json::Value;

use super::InputSource;
use crate::StorageError;

/// A field that no file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemField {
    /// The file with its scheme.
    Uri,
    /// Of an object.
    Bucket,
    /// The file without scheme and bucket.
    Path,
}

impl SystemField {
    const ALL: [(&str, SystemField); 3] = [
        ("__file_uri", SystemField::Uri),
        ("__file_bucket", SystemField::Bucket),
        ("__file_path", SystemField::Path),
    ];

    /// Reads a source's `systemFields`, if it has any.
    ///
    /// # Errors
    /// For a name that is none.
    pub(super) fn parse(source: &Value) -> Result<Vec<Self>, StorageError> {
        let names = match source.get("systemFields") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(names)) => names,
            Some(other) => {
                return Err(StorageError::Spec(format!(
                    "[systemFields] is a list of names, not [{other}]"
                )));
            }
        };
        let field = |name: &Value| {
            let known = SystemField::ALL.into_iter().find(|(known, _)| name == known);
            let known = known.map(|(_, field)| field);
            let shown = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            known.ok_or_else(|| StorageError::Spec(format!("No such system field[{shown}]")))
        };
        names.iter().map(field).collect()
    }

    pub fn name(self) -> &'static str {
        match self {
            SystemField::Uri => "__file_uri",
            SystemField::Bucket => "__file_bucket",
            SystemField::Path => "__file_path",
        }
    }

    /// Its value for a file of a source; `None` where a source has no such thing.
    pub fn value(self, source: &InputSource, location: &str) -> Option<String> {
        match (source, self) {
            (InputSource::Inline { .. }, _)
            | (InputSource::Local(..) | InputSource::Http(_), SystemField::Bucket) => None,
            (InputSource::Local(..), SystemField::Uri) => Some(format!("file:{location}")),
            (InputSource::Local(..), SystemField::Path) => Some(location.to_owned()),
            (InputSource::Http(_), SystemField::Uri) => Some(super::shown_url(location)),
            (InputSource::Http(_), SystemField::Path) => {
                url::Url::parse(location).ok().map(|url| url.path().to_owned())
            }
            (InputSource::Objects(_), SystemField::Uri) => Some(location.to_owned()),
            (InputSource::Objects(_), field) => {
                let (_, rest) = location.split_once("://")?;
                let (bucket, key) = rest.split_once('/')?;
                Some(if field == SystemField::Bucket { bucket } else { key }.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_by_source() {
        let source = |text: &str| text.parse::<InputSource>().unwrap();
        let values = |source: &InputSource, location: &str| {
            SystemField::ALL.map(|(_, field)| field.value(source, location).unwrap_or_default())
        };
        let local = source(r#"{"type":"local","files":["/a/b.json"],"systemFields":["__file_uri"]}"#);
        assert_eq!(values(&local, "/a/b.json"), ["file:/a/b.json", "", "/a/b.json"]);
        assert_eq!(local.system_fields(), [SystemField::Uri]);
        assert_eq!(
            local.to_json().parse::<InputSource>().unwrap().system_fields(),
            [SystemField::Uri]
        );
        let s3 = source(
            r#"{"type":"s3","uris":["s3://b/c/d.json"],"systemFields":["__file_path","__file_bucket"]}"#,
        );
        assert_eq!(
            values(&s3, "s3://b/c/d.json"),
            ["s3://b/c/d.json", "b", "c/d.json"]
        );
        assert_eq!(s3.system_fields(), [SystemField::Path, SystemField::Bucket]);
        let http = source(r#"{"type":"http","uris":["http://h/x/y?q=1"]}"#);
        assert_eq!(values(&http, "http://h/x/y")[2], "/x/y");
        let unknown = r#"{"type":"local","files":["/a"],"systemFields":["__file_size"]}"#;
        let error = unknown.parse::<InputSource>().unwrap_err().to_string();
        assert!(error.contains("No such system field[__file_size]"), "{error}");
    }
}
