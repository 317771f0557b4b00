//! Which outside places may be read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sarsen_object::{ObjectSettings, Stores};

use crate::StorageError;

/// Reads sources with one process's allow-list.
#[derive(Debug)]
pub struct SourceContext {
    paths: Vec<PathBuf>,
    urls: Vec<String>,
    pub(super) http: reqwest::Client,
    /// Of `s3` and its like.
    pub(super) stores: Stores,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl SourceContext {
    /// Allows what begins with one of `allow`: an absolute path (`/` for all files), or the beginning of a URL
    /// (`http://` for all of them).
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(allow: &[String]) -> Result<Self, StorageError> {
        let mut paths = Vec::new();
        let mut urls = Vec::new();
        for prefix in allow {
            if prefix.contains("://") || prefix.starts_with("env:") {
                urls.push(prefix.clone());
            } else {
                let path = Path::new(prefix);
                paths.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
            }
        }
        let allowed_urls = urls.clone();
        // A redirect must not lead where a direct request may not go.
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            let is_allowed = allowed_urls
                .iter()
                .any(|prefix| attempt.url().as_str().starts_with(prefix.as_str()));
            match (is_allowed, attempt.previous().len() < 10) {
                (true, true) => attempt.follow(),
                _ => attempt.stop(),
            }
        });
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(redirects)
            .build()
            .map_err(|error| StorageError::Spec(format!("no HTTP client: {error}")))?;
        Ok(SourceContext {
            paths,
            urls,
            http,
            stores: Stores::new(ObjectSettings::default()),
        })
    }

    /// The same with a process's own settings for object stores.
    pub fn with_stores(self, stores: Stores) -> Self {
        SourceContext { stores, ..self }
    }

    /// # Errors
    /// When the object or prefix of a bucket is not allowed, or the variable `env:NAME` of this process's environment.
    pub fn check_object(&self, url: &str) -> Result<(), StorageError> {
        if self.urls.iter().any(|prefix| is_below(url, prefix)) {
            return Ok(());
        }
        Err(StorageError::Denied {
            kind: "Object",
            place: url.to_owned(),
        })
    }

    /// The path with links and `..` resolved, if it may be read.
    ///
    /// # Errors
    /// When it does not exist or is not allowed.
    pub fn check_path(&self, path: &str) -> Result<PathBuf, StorageError> {
        let resolved = Path::new(path)
            .canonicalize()
            .map_err(|error| StorageError::file(path, error))?;
        if self.paths.iter().any(|prefix| resolved.starts_with(prefix)) {
            return Ok(resolved);
        }
        Err(StorageError::Denied {
            kind: "File",
            place: path.to_owned(),
        })
    }

    /// The folder at `path`; `None` when there is none, in a place where there may be one.
    ///
    /// # Errors
    /// When it is not allowed.
    pub fn check_folder(&self, path: &str) -> Result<Option<PathBuf>, StorageError> {
        if std::fs::exists(path).unwrap_or(true) {
            return self.check_path(path).map(Some);
        }
        let above = Path::new(path).ancestors().find(|above| above.exists());
        self.check_path(&above.unwrap_or(Path::new("/")).to_string_lossy())
            .map(|_| None)
    }

    /// # Errors
    /// When the URL is not allowed.
    pub fn check_url(&self, url: &str) -> Result<(), StorageError> {
        if self.urls.iter().any(|prefix| url.starts_with(prefix.as_str())) {
            return Ok(());
        }
        Err(StorageError::Denied {
            kind: "URL",
            place: url.to_owned(),
        })
    }
}

/// Whether `url` is `prefix` or lies below it: the bucket `b` does not allow the bucket `b-other`.
pub(crate) fn is_below(url: &str, prefix: &str) -> bool {
    url.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with(['/', ':']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_way_around_the_allowed_folder() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("f"), "").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("f"), inside.join("link")).unwrap();
        let context = SourceContext::new(&[inside.to_str().unwrap().to_owned()]).unwrap();
        let allowed = |path: &Path| context.check_path(path.to_str().unwrap()).is_ok();
        assert!(allowed(&inside.join("f")));
        assert!(!allowed(&outside.join("f")));
        assert!(!allowed(&inside.join("../out/f")));
        assert!(!allowed(&inside.join("link")));
        assert!(context.check_url("http://localhost/").is_err());
    }
}
