//! URLs of objects and prefixes.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::ObjectError;

/// Kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    Local,
    S3,
    Google,
    Azure,
}

/// A bucket (a container of an account, a folder) and a key or a prefix of keys in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    pub kind: StoreKind,
    /// Azure's storage account; `None` where the process's own is meant.
    pub account: Option<String>,
    /// Bucket or container; empty for a local folder.
    pub bucket: String,
    /// Key or prefix as it is, not encoded; the path of a local folder.
    pub key: String,
}

/// What would not be read back from a URL as it was.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'#').add(b'?').add(b' ');

impl Location {
    /// A location of a cloud's store.
    pub fn new(kind: StoreKind, bucket: &str, key: &str) -> Self {
        Location {
            kind,
            account: None,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The same bucket with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Location {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The location of a key below this prefix.
    pub fn join(&self, name: &str) -> Self {
        let prefix = self.key.trim_end_matches('/');
        if prefix.is_empty() && self.kind != StoreKind::Local {
            return self.with_key(name);
        }
        self.with_key(&format!("{prefix}/{name}"))
    }

    /// The key as `object_store` wants it: without a slash at its ends.
    ///
    /// # Errors
    /// For a key with an empty or a relative part, which no path can name.
    pub fn path(&self) -> Result<object_store::path::Path, ObjectError> {
        object_store::path::Path::parse(&self.key).map_err(|error| self.malformed(&error.to_string()))
    }

    pub(crate) fn malformed(&self, reason: &str) -> ObjectError {
        ObjectError::Url {
            url: self.to_string(),
            reason: reason.to_owned(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = utf8_percent_encode(&self.key, ENCODED);
        match (self.kind, &self.account) {
            (StoreKind::Local, _) => f.write_str(&self.key),
            (StoreKind::S3, _) => write!(f, "s3://{}/{key}", self.bucket),
            (StoreKind::Google, _) => write!(f, "gs://{}/{key}", self.bucket),
            (StoreKind::Azure, Some(account)) => write!(f, "azureStorage://{account}/{}/{key}", self.bucket),
            (StoreKind::Azure, None) => write!(f, "azure://{}/{key}", self.bucket),
        }
    }
}

impl FromStr for Location {
    type Err = ObjectError;

    /// Reads `s3://bucket/key` (also `s3a`, `s3n`), `gs://bucket/key`, `azure://container/key` (also `az`),
    /// `azureStorage://account/container/key`, `abfs[s]://container@account.host/key`, `file:///path` and plain paths.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let malformed = |reason: &str| ObjectError::Url {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let local = |path: &str| Location {
            kind: StoreKind::Local,
            account: None,
            bucket: String::new(),
            key: path.to_owned(),
        };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(local(url.strip_prefix("file:").unwrap_or(url)));
        };
        let decoded = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| malformed("it is not UTF-8"))
        };
        let (first, path) = rest.split_once('/').unwrap_or((rest, ""));
        let named = |kind, account: Option<&str>, bucket: &str, path: &str| {
            if bucket.is_empty() {
                return Err(malformed("it names no bucket"));
            }
            Ok(Location {
                kind,
                account: account.map(str::to_owned),
                bucket: bucket.to_owned(),
                key: decoded(path)?,
            })
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => Ok(local(&decoded(rest)?)),
            "s3" | "s3a" | "s3n" => named(StoreKind::S3, None, first, path),
            "gs" | "gcs" => named(StoreKind::Google, None, first, path),
            "az" | "azure" => named(StoreKind::Azure, None, first, path),
            "azurestorage" => {
                let (container, path) = path.split_once('/').unwrap_or((path, ""));
                named(StoreKind::Azure, Some(first), container, path)
            }
            "abfs" | "abfss" | "wasb" | "wasbs" => {
                let (container, host) = first
                    .split_once('@')
                    .ok_or_else(|| malformed("expected abfss://CONTAINER@ACCOUNT.HOST/PATH"))?;
                let account = host.split('.').next().unwrap_or(host);
                named(StoreKind::Azure, Some(account), container, path)
            }
            other => Err(malformed(&format!(
                "{other} is none of file, s3, gs, azure, azureStorage, abfs"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls_of_all_stores_are_read_and_written() {
        for (url, kind, account, bucket, key) in [
            ("s3://b/a/c.json", StoreKind::S3, None, "b", "a/c.json"),
            ("s3://b", StoreKind::S3, None, "b", ""),
            ("s3://b/a%20b%25", StoreKind::S3, None, "b", "a b%"),
            ("gs://b/x/", StoreKind::Google, None, "b", "x/"),
            ("azure://c/x", StoreKind::Azure, None, "c", "x"),
            (
                "azureStorage://acc/c/x/y",
                StoreKind::Azure,
                Some("acc"),
                "c",
                "x/y",
            ),
            ("/tmp/x", StoreKind::Local, None, "", "/tmp/x"),
        ] {
            let location: Location = url.parse().unwrap();
            assert_eq!(
                (location.kind, location.account.as_deref()),
                (kind, account),
                "{url}"
            );
            assert_eq!(
                (location.bucket.as_str(), location.key.as_str()),
                (bucket, key),
                "{url}"
            );
            assert_eq!(
                location.to_string().trim_end_matches('/'),
                url.trim_end_matches('/')
            );
        }
        let abfs: Location = "abfss://c@acc.dfs.core.windows.net/p".parse().unwrap();
        assert_eq!(abfs.to_string(), "azureStorage://acc/c/p");
        assert!("ftp://x/y".parse::<Location>().is_err());
        assert!("s3:///y".parse::<Location>().is_err());
    }

    #[test]
    fn names_are_joined_to_prefixes() {
        let joined = |url: &str| url.parse::<Location>().unwrap().join("f").to_string();
        assert_eq!(joined("s3://b/p/"), "s3://b/p/f");
        assert_eq!(joined("s3://b"), "s3://b/f");
        assert_eq!(joined("/tmp/x"), "/tmp/x/f");
    }
}
