//! Objects of clouds as input sources (Druid: ingestion/input-sources.md).

use std::fmt;

use sarsen_object::{Access, AzureAccess, Bucket, Keys, Location, StoreKind};
use serde_json::{Map, Value, json};

use super::glob::KeyGlob;
use super::{SourceContext, SystemField, strings};
use crate::StorageError;

/// `s3`, `google`, `azureStorage` or `azure`.
#[derive(Clone, PartialEq)]
pub struct ObjectSource {
    pub kind: StoreKind,
    pub named: Named,
    pub glob: Option<KeyGlob>,
    secrets: Secrets,
    pub system_fields: Vec<SystemField>,
    /// As the user wrote it.
    json: Value,
}

/// How a source names its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Objects(Vec<Location>),
    /// All objects whose keys begin with one of these.
    Prefixes(Vec<Location>),
}

impl fmt::Debug for ObjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSource")
            .field("kind", &self.kind)
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// What the source sets instead of the process's settings, with passwords as they were given.
#[derive(Clone, PartialEq, Default)]
struct Secrets {
    access: Access,
    key_id: Option<Secret>,
    key_secret: Option<Secret>,
    token: Option<Secret>,
}

/// A password, or where it is.
#[derive(Clone, PartialEq)]
enum Secret {
    Plain(String),
    /// A variable of the reading process's environment.
    Variable(String),
}

impl Secret {
    /// Druid's password provider: a text, `{"type":"default","password":…}` or `{"type":"environment","variable":…}`.
    fn parse(field: &str, json: &Value) -> Result<Option<Self>, StorageError> {
        let text = |object: &Map<String, Value>, key: &str| {
            object.get(key).and_then(Value::as_str).map(str::to_owned)
        };
        let secret = match json {
            Value::Null => return Ok(None),
            Value::String(plain) => Some(Secret::Plain(plain.clone())),
            Value::Object(object) => match text(object, "type").as_deref() {
                Some("default") => text(object, "password").map(Secret::Plain),
                Some("environment") => text(object, "variable").map(Secret::Variable),
                _ => None,
            },
            _ => None,
        };
        secret.map(Some).ok_or_else(|| {
            StorageError::Spec(format!(
                "[{field}] must be a text or a password provider of type default or environment"
            ))
        })
    }

    fn read(&self, context: &SourceContext) -> Result<String, StorageError> {
        match self {
            Secret::Plain(plain) => Ok(plain.clone()),
            Secret::Variable(name) => {
                context.check_variable(name)?;
                std::env::var(name).map_err(|_| {
                    StorageError::Spec(format!(
                        "there is no environment variable [{name}] to read a password from"
                    ))
                })
            }
        }
    }
}

impl ObjectSource {
    /// Reads Druid's JSON of a source of that kind.
    ///
    /// # Errors
    /// For what Druid refuses, in its words, and for settings that are not there.
    pub(super) fn parse(kind: StoreKind, json: Value) -> Result<Self, StorageError> {
        let glob = match json.get("objectGlob").and_then(Value::as_str) {
            Some(glob) if !glob.trim().is_empty() => Some(KeyGlob::parse(glob)?),
            _ => None,
        };
        if json.get("proxyConfig").is_some_and(|proxy| !proxy.is_null()) {
            return Err(StorageError::Spec("[proxyConfig] is not supported".to_owned()));
        }
        Ok(ObjectSource {
            kind,
            named: named(kind, &json)?,
            glob,
            secrets: secrets(&json)?,
            system_fields: SystemField::parse(&json)?,
            json,
        })
    }

    /// How the source's buckets are opened: passwords are looked up, and an endpoint of its own must be one that may be
    /// read.
    ///
    /// # Errors
    /// When a variable is missing or not allowed, or the endpoint is not.
    pub fn access(&self, context: &SourceContext) -> Result<Access, StorageError> {
        let mut access = self.secrets.access.clone();
        if let Some(endpoint) = &access.endpoint {
            context.check_url(endpoint)?;
        }
        if let (Some(id), Some(secret)) = (&self.secrets.key_id, &self.secrets.key_secret) {
            access.keys = Some(Keys {
                id: id.read(context)?,
                secret: secret.read(context)?,
                token: match &self.secrets.token {
                    Some(token) => Some(token.read(context)?),
                    None => None,
                },
            });
        }
        Ok(access)
    }

    /// The bucket of a location that may be read.
    ///
    /// # Errors
    /// When it may not, or its settings are incomplete.
    pub fn bucket(&self, location: &Location, context: &SourceContext) -> Result<Bucket, StorageError> {
        context.check_url(&location.to_string())?;
        let access = self.access(context)?;
        // An endpoint of the source's own leads to no address that may not be read.
        let opened = match access.endpoint {
            Some(_) => context
                .stores
                .open_with(location, &access, context.guarded_http()),
            None => context.stores.open(location, &access),
        };
        opened.map_err(|error| StorageError::Spec(error.to_string()))
    }

    /// Its `type` in Druid's JSON.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            StoreKind::S3 => "s3",
            StoreKind::Google => "google",
            _ if is_legacy_azure(&self.json) => "azure",
            _ => "azureStorage",
        }
    }

    /// With all secrets: for workers only.
    pub(super) fn to_json(&self) -> &Value {
        &self.json
    }

    /// With secrets masked.
    pub(super) fn to_redacted_json(&self) -> Value {
        let mut shown = self.json.clone();
        if let Some(Value::Object(properties)) = shown.get_mut("properties") {
            for key in SECRET_PROPERTIES {
                if let Some(value) = properties.get_mut(key)
                    && !is_variable(value)
                {
                    *value = json!({ "type": "default", "password": "********" });
                }
            }
        }
        shown
    }

    /// As Druid's error messages name it.
    pub(super) fn description(&self) -> String {
        let name = match self.kind {
            StoreKind::S3 => "S3InputSource",
            StoreKind::Google => "GoogleCloudStorageInputSource",
            StoreKind::Azure | StoreKind::Local => "AzureStorageAccountInputSource",
        };
        let shown = |key: &str| {
            let list = self.json.get(key).and_then(Value::as_array);
            list.map_or_else(
                || "null".to_owned(),
                |list| Value::Array(list.clone()).to_string(),
            )
        };
        let glob = self.glob.as_ref().map_or("null", KeyGlob::text);
        format!(
            "{name}{{uris={}, prefixes={}, objects={}, objectGlob={glob}}}",
            shown("uris"),
            shown("prefixes"),
            shown("objects"),
        )
    }

    /// Whether the glob, if there is one, lets a key pass.
    pub fn wants(&self, key: &str) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.matches(key))
    }
}

const SECRET_PROPERTIES: [&str; 6] = [
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
    "sharedAccessStorageToken",
    "key",
    "appRegistrationClientSecret",
];

fn is_variable(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("environment")
}

/// The scheme of a kind's URIs, as Druid's errors name it.
fn scheme(kind: StoreKind, json: &Value) -> &'static str {
    match kind {
        StoreKind::S3 => "s3",
        StoreKind::Google => "gs",
        _ if is_legacy_azure(json) => "azure",
        _ => "azureStorage",
    }
}

fn is_legacy_azure(json: &Value) -> bool {
    json.get("type").and_then(Value::as_str) == Some("azure")
}

fn named(kind: StoreKind, json: &Value) -> Result<Named, StorageError> {
    let (uris, prefixes) = (strings(json, "uris"), strings(json, "prefixes"));
    let objects = json
        .get("objects")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let given = [!uris.is_empty(), !prefixes.is_empty(), !objects.is_empty()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(StorageError::Spec(
            "Exactly one of uris, prefixes or objects must be specified".to_owned(),
        ));
    }
    let location = |uri: &String| {
        let wanted = scheme(kind, json);
        let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
        if !scheme.eq_ignore_ascii_case(wanted) {
            return Err(StorageError::Spec(format!(
                "Invalid URI scheme [{uri}] must be [{wanted}]"
            )));
        }
        uri.parse::<Location>()
            .map_err(|error| StorageError::Spec(error.to_string()))
    };
    if !prefixes.is_empty() {
        return Ok(Named::Prefixes(
            prefixes.iter().map(location).collect::<Result<_, _>>()?,
        ));
    }
    if !uris.is_empty() {
        return Ok(Named::Objects(
            uris.iter().map(location).collect::<Result<_, _>>()?,
        ));
    }
    let object = |object: &Value| {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let (Some(bucket), Some(path)) = (text("bucket"), text("path")) else {
            return Err(StorageError::Spec(format!(
                "object [{object}] needs [bucket] and [path]"
            )));
        };
        let path = path.trim_start_matches('/');
        if kind != StoreKind::Azure || is_legacy_azure(json) {
            return Ok(Location::new(kind, bucket, path));
        }
        // The bucket is the account there, and the path begins with the container.
        let (container, key) = path.split_once('/').unwrap_or((path, ""));
        Ok(Location {
            account: Some(bucket.to_owned()),
            ..Location::new(kind, container, key)
        })
    };
    Ok(Named::Objects(
        objects.iter().map(object).collect::<Result<_, _>>()?,
    ))
}

fn secrets(json: &Value) -> Result<Secrets, StorageError> {
    let empty = Value::Null;
    let properties = json.get("properties").unwrap_or(&empty);
    let endpoint = json.get("endpointConfig").unwrap_or(&empty);
    let client = json.get("clientConfig").unwrap_or(&empty);
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let secret = |key: &str| Secret::parse(key, properties.get(key).unwrap_or(&empty));
    let (key_id, key_secret, token) = (
        secret("accessKeyId")?,
        secret("secretAccessKey")?,
        secret("sessionToken")?,
    );
    if key_id.is_none() && (key_secret.is_some() || token.is_some()) {
        return Err(StorageError::Spec(
            "'accessKeyId' cannot be null if 'secretAccessKey' or 'sessionToken' is given".to_owned(),
        ));
    }
    if key_secret.is_none() && (key_id.is_some() || token.is_some()) {
        return Err(StorageError::Spec(
            "'secretAccessKey' cannot be null if 'accessKeyId' or 'sessionToken' is given".to_owned(),
        ));
    }
    let protocol = text(client, "protocol").unwrap_or_else(|| "https".to_owned());
    let url = text(endpoint, "url").filter(|url| !url.is_empty()).map(|url| {
        if url.contains("://") {
            url
        } else {
            format!("{protocol}://{url}")
        }
    });
    Ok(Secrets {
        access: Access {
            keys: None,
            assume_role_arn: text(properties, "assumeRoleArn"),
            assume_role_external_id: text(properties, "assumeRoleExternalId"),
            endpoint: url,
            region: text(endpoint, "signingRegion"),
            path_style: client.get("enablePathStyleAccess").and_then(Value::as_bool),
            azure: AzureAccess {
                key: text(properties, "key"),
                sas_token: text(properties, "sharedAccessStorageToken"),
                client_id: text(properties, "appRegistrationClientId"),
                client_secret: text(properties, "appRegistrationClientSecret"),
                tenant_id: text(properties, "tenantId"),
            },
        },
        key_id,
        key_secret,
        token,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::source::InputSource;

    fn parse(text: &str) -> Result<ObjectSource, String> {
        match text.parse::<InputSource>() {
            Ok(InputSource::Objects(source)) => Ok(*source),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn locations(text: &str) -> Vec<String> {
        match parse(text).unwrap().named {
            Named::Objects(locations) | Named::Prefixes(locations) => {
                locations.iter().map(ToString::to_string).collect()
            }
        }
    }

    #[test]
    fn sources_name_their_objects_in_druids_ways() {
        for (text, named) in [
            (
                r#"{"type":"s3","uris":["s3://foo/bar/file.json"]}"#,
                "s3://foo/bar/file.json",
            ),
            (r#"{"type":"s3","prefixes":["s3://foo/bar/"]}"#, "s3://foo/bar/"),
            (
                r#"{"type":"s3","objects":[{"bucket":"foo","path":"bar/f.json"}]}"#,
                "s3://foo/bar/f.json",
            ),
            (r#"{"type":"google","prefixes":["gs://foo/x"]}"#, "gs://foo/x"),
            (
                r#"{"type":"azureStorage","uris":["azureStorage://acc/c/p/f"]}"#,
                "azureStorage://acc/c/p/f",
            ),
            (
                r#"{"type":"azureStorage","objects":[{"bucket":"acc","path":"c/p/f"}]}"#,
                "azureStorage://acc/c/p/f",
            ),
            (
                r#"{"type":"azure","objects":[{"bucket":"c","path":"p/f"}]}"#,
                "azure://c/p/f",
            ),
        ] {
            assert_eq!(locations(text), [named], "{text}");
        }
    }

    #[test]
    fn what_druid_refuses_is_refused() {
        for (text, message) in [
            (
                r#"{"type":"s3"}"#,
                "Exactly one of uris, prefixes or objects must be specified",
            ),
            (
                r#"{"type":"s3","uris":["s3://a/b"],"prefixes":["s3://a/"]}"#,
                "Exactly one of uris, prefixes or objects must be specified",
            ),
            (
                r#"{"type":"s3","uris":["gs://a/b"]}"#,
                "Invalid URI scheme [gs://a/b] must be [s3]",
            ),
            (
                r#"{"type":"s3","uris":["s3://a/b"],"properties":{"accessKeyId":"x"}}"#,
                "'secretAccessKey' cannot be null if 'accessKeyId' or 'sessionToken' is given",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
    }

    #[test]
    fn passwords_come_from_allowed_variables_and_are_never_shown() {
        let text = r#"{"type":"s3","uris":["s3://a/b"],"properties":{"accessKeyId":"geheim",
            "secretAccessKey":{"type":"environment","variable":"PATH"}}}"#;
        let source = parse(text).unwrap();
        let context = |allow: &[&str]| {
            SourceContext::new(&allow.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        assert!(source.access(&context(&["s3://a"])).is_err());
        let keys = source.access(&context(&["env:PATH"])).unwrap().keys.unwrap();
        assert_eq!(
            (keys.id.as_str(), keys.secret),
            ("geheim", std::env::var("PATH").unwrap())
        );
        let shown = source.to_redacted_json().to_string();
        assert!(!shown.contains("geheim") && shown.contains("PATH"), "{shown}");
        assert!(!format!("{source:?}").contains("geheim"));
    }

    #[test]
    fn an_endpoint_and_a_bucket_must_be_allowed() {
        let source = parse(
            r#"{"type":"s3","uris":["s3://a/b"],"endpointConfig":{"url":"h:1"},"clientConfig":{"protocol":"http"}}"#,
        )
        .unwrap();
        let allowed = |allow: &[&str], url: &str| {
            let allow: Vec<_> = allow.iter().map(|text| (*text).to_owned()).collect();
            source
                .bucket(&url.parse().unwrap(), &SourceContext::new(&allow).unwrap())
                .is_ok()
        };
        assert!(allowed(&["s3://a", "http://h:1"], "s3://a/b"));
        assert!(!allowed(&["s3://a"], "s3://a/b"));
        assert!(!allowed(&["s3://a", "http://h:1"], "s3://ab/b"));
        assert!(!allowed(&["s3://a/p", "http://h:1"], "s3://a/pq"));
        assert!(allowed(&["s3://", "http://"], "s3://ab/b"));
    }
}
