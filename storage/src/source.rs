//! Input sources of EXTERN (Druid: ingestion/input-sources.md).

mod access;
mod glob;
mod list;
mod object_body;
mod objects;
mod open;
mod splits;
mod system_fields;

use std::str::FromStr;

use sarsen_object::StoreKind;
use serde_json::{Map, Value, json};

use sarsen_kernel::secret::Secret;

use crate::StorageError;
use crate::spec::strings;

pub use access::{Lookup, Rules, SourceContext, shown_url};
pub use objects::{Named, ObjectSource};
pub use open::{ObjectFile, Opened, open};
pub use splits::{InputFile, InputSplit, SplitGroup, Splitter, split_files};
pub use system_fields::SystemField;

/// An input source.
#[derive(Clone, PartialEq)]
pub enum InputSource {
    Local(LocalSource, Vec<SystemField>),
    Http(HttpSource),
    Inline { data: String },
    Objects(Box<ObjectSource>),
}

/// Files named one by one, or found below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSource {
    Files(Vec<String>),
    Folder { base_dir: String, filter: String },
}

#[derive(Clone, PartialEq)]
pub struct HttpSource {
    pub uris: Vec<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub headers: Vec<(String, String)>,
    pub system_fields: Vec<SystemField>,
    /// As the user wrote it.
    json: Value,
}

impl std::fmt::Debug for InputSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_redacted_json())
    }
}

const KNOWN: &str = "azure, azureStorage, google, http, inline, local, s3";

/// Characters of inline data that an error message shows.
const SHOWN_DATA: usize = 1_000;

impl FromStr for InputSource {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| StorageError::Spec(error.to_string()))?;
        match json.get("type").and_then(Value::as_str) {
            Some("local") => local(&json),
            Some("http") => http(json),
            Some("s3") => ObjectSource::parse(StoreKind::S3, json)
                .map(Box::new)
                .map(InputSource::Objects),
            Some("google") => ObjectSource::parse(StoreKind::Google, json)
                .map(Box::new)
                .map(InputSource::Objects),
            Some("azure" | "azureStorage") => ObjectSource::parse(StoreKind::Azure, json)
                .map(Box::new)
                .map(InputSource::Objects),
            Some("inline") => match json.get("data").and_then(Value::as_str) {
                Some(data) => Ok(InputSource::Inline {
                    data: data.to_owned(),
                }),
                None => Err(StorageError::Spec("an inline source needs [data]".to_owned())),
            },
            Some(other) => Err(StorageError::Spec(format!(
                "Could not resolve type id '{other}' as a subtype of InputSource known type ids = [{KNOWN}]"
            ))),
            None => Err(StorageError::Spec("missing type id property 'type'".to_owned())),
        }
    }
}

fn local(json: &Value) -> Result<InputSource, StorageError> {
    let files = strings(json, "files");
    let system_fields = SystemField::parse(json)?;
    if !files.is_empty() {
        return Ok(InputSource::Local(LocalSource::Files(files), system_fields));
    }
    match json.get("baseDir").and_then(Value::as_str) {
        Some(base_dir) => {
            let filter = json
                .get("filter")
                .and_then(Value::as_str)
                .unwrap_or("*")
                .to_owned();
            let folder = LocalSource::Folder {
                base_dir: base_dir.to_owned(),
                filter,
            };
            Ok(InputSource::Local(folder, system_fields))
        }
        None => Err(StorageError::Spec(
            "a local source needs [files], or [baseDir] with a [filter]".to_owned(),
        )),
    }
}

fn http(json: Value) -> Result<InputSource, StorageError> {
    let uris = strings(&json, "uris");
    if uris.is_empty() {
        return Err(StorageError::Spec("an http source needs [uris]".to_owned()));
    }
    for uri in &uris {
        let parsed = url::Url::parse(uri)
            .map_err(|error| StorageError::Spec(format!("URI [{}]: {error}", shown_url(uri))))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(StorageError::Spec(format!(
                "URI [{}]: only http and https are supported",
                shown_url(uri)
            )));
        }
    }
    let password = match json.get("httpAuthenticationPassword") {
        Some(Value::String(password)) => Some(Secret::new(password.clone())),
        Some(Value::Object(provider)) => provider.get("password").and_then(Value::as_str).map(Secret::new),
        _ => None,
    };
    let headers = json
        .get("requestHeaders")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let headers = headers
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let username = json
        .get("httpAuthenticationUsername")
        .and_then(Value::as_str)
        .map(str::to_owned);
    Ok(InputSource::Http(HttpSource {
        uris,
        username,
        password,
        headers,
        system_fields: SystemField::parse(&json)?,
        json,
    }))
}

fn shown_urls(urls: &[String]) -> Vec<String> {
    urls.iter().map(|url| shown_url(url)).collect()
}

impl InputSource {
    /// Druid's JSON with all secrets: for workers only.
    pub fn to_json(&self) -> String {
        match self {
            InputSource::Http(http) => http.json.to_string(),
            InputSource::Objects(objects) => objects.to_json().to_string(),
            _ => self.to_redacted_json(),
        }
    }

    /// Its `type` in Druid's JSON.
    pub fn type_name(&self) -> &'static str {
        match self {
            InputSource::Local(..) => "local",
            InputSource::Http(_) => "http",
            InputSource::Inline { .. } => "inline",
            InputSource::Objects(objects) => objects.type_name(),
        }
    }

    /// As Druid's error messages name it; a password is masked.
    pub fn description(&self) -> String {
        let null = || "null".to_owned();
        match self {
            InputSource::Local(LocalSource::Files(files), _) => format!(
                "LocalInputSource{{baseDir=\"null\", filter=null, files=[{}]}}",
                files.join(", ")
            ),
            InputSource::Local(LocalSource::Folder { base_dir, filter }, _) => {
                format!("LocalInputSource{{baseDir=\"{base_dir}\", filter={filter}, files=[]}}")
            }
            InputSource::Inline { data } => {
                let shown: String = data.chars().take(SHOWN_DATA).collect();
                format!("InlineInputSource{{data='{shown}'}}")
            }
            InputSource::Objects(objects) => objects.description(),
            InputSource::Http(http) => format!(
                "HttpInputSource{{uris=\"[{}]\", httpAuthenticationUsername={}, \
                 httpAuthenticationPasswordProvider={}, requestHeaders = {{{}}}}}",
                shown_urls(&http.uris).join(", "),
                http.username.clone().unwrap_or_else(null),
                http.password
                    .as_ref()
                    .map_or_else(null, |_| "********".to_owned()),
                http.headers
                    .iter()
                    .map(|(name, _)| format!("{name}=********"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }

    /// Fields that its rows have beside those of its files.
    pub fn system_fields(&self) -> &[SystemField] {
        match self {
            InputSource::Local(_, fields) => fields,
            InputSource::Http(http) => &http.system_fields,
            InputSource::Objects(objects) => &objects.system_fields,
            InputSource::Inline { .. } => &[],
        }
    }

    /// Druid's JSON for users to see.
    pub fn to_redacted_json(&self) -> String {
        let mut json = self.redacted();
        if let (InputSource::Local(..) | InputSource::Http(_), [_, ..], Some(members)) =
            (self, self.system_fields(), json.as_object_mut())
        {
            let names = self.system_fields().iter().map(|field| field.name());
            members.insert("systemFields".to_owned(), names.collect::<Vec<_>>().into());
        }
        json.to_string()
    }

    fn redacted(&self) -> Value {
        match self {
            InputSource::Local(LocalSource::Files(files), _) => json!({ "type": "local", "files": files }),
            InputSource::Local(LocalSource::Folder { base_dir, filter }, _) => {
                json!({ "type": "local", "baseDir": base_dir, "filter": filter })
            }
            InputSource::Inline { data } => json!({ "type": "inline", "data": data }),
            InputSource::Objects(objects) => objects.to_redacted_json(),
            InputSource::Http(http) => {
                let mut shown = Map::new();
                shown.insert("type".to_owned(), "http".into());
                shown.insert("uris".to_owned(), shown_urls(&http.uris).into());
                if let Some(name) = &http.username {
                    shown.insert("httpAuthenticationUsername".to_owned(), name.clone().into());
                }
                if http.password.is_some() {
                    let password = json!({ "type": "default", "password": "********" });
                    shown.insert("httpAuthenticationPassword".to_owned(), password);
                }
                let names = http
                    .headers
                    .iter()
                    .map(|(name, _)| (name.clone(), "********".into()));
                shown.insert("requestHeaders".to_owned(), Value::Object(names.collect()));
                Value::Object(shown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn secrets_are_only_in_the_json_for_workers() {
        let text = r#"{"type":"http","uris":["http://h/a"],"httpAuthenticationUsername":"u","httpAuthenticationPassword":"geheim"}"#;
        let source: InputSource = text.parse().unwrap();
        assert!(source.to_json().contains("geheim"));
        assert!(!source.to_redacted_json().contains("geheim"));
        assert!(!format!("{source:?}").contains("geheim"));
        assert!(!source.description().contains("geheim"));
        let text = r#"{"type":"http","uris":["http://u:geheim@h/a"]}"#;
        let source: InputSource = text.parse().unwrap();
        assert!(source.to_json().contains("geheim"));
        for shown in [
            source.to_redacted_json(),
            source.description(),
            format!("{source:?}"),
        ] {
            assert!(!shown.contains("geheim"), "{shown}");
        }
    }
}
