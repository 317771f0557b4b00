//! Which outside places may be read: a list of rules ([`rules`]), and a client that holds to them after names were
//! resolved and at every redirect ([`client`]).

mod address;
mod client;
mod rules;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sarsen_object::{ObjectSettings, Stores};
use url::Url;

pub use sarsen_kernel::secret::without_userinfo as shown_url;

use super::HttpSource;
use crate::StorageError;

pub use client::{Lookup, SystemLookup, is_denied};
pub use rules::Rules;

/// Reads sources with one process's allow-list.
#[derive(Debug)]
pub struct SourceContext {
    rules: Arc<Rules>,
    /// Follows redirects to whatever the rules allow.
    http: reqwest::Client,
    /// Follows redirects within one origin, for requests that carry secrets.
    http_one_origin: reqwest::Client,
    /// Of `s3` and its like.
    pub(super) stores: Stores,
}

impl SourceContext {
    /// Allows what one of `allow` names; see [`Rules`] for what they may be.
    ///
    /// # Errors
    /// For a malformed rule, and when no HTTP client can be made.
    pub fn new(allow: &[String]) -> Result<Self, StorageError> {
        Self::with_lookup(allow, Arc::new(SystemLookup))
    }

    /// With names resolved in another way than the system's.
    ///
    /// # Errors
    /// As [`SourceContext::new`].
    pub fn with_lookup(allow: &[String], lookup: Arc<dyn Lookup>) -> Result<Self, StorageError> {
        let rules = Arc::new(Rules::parse(allow)?);
        Ok(SourceContext {
            http: client::anywhere(Arc::clone(&rules), Arc::clone(&lookup))?,
            http_one_origin: client::one_origin(Arc::clone(&rules), lookup)?,
            rules,
            stores: Stores::new(ObjectSettings::default()),
        })
    }

    /// The client for a source: its own headers and passwords never follow a redirect to another origin.
    pub(super) fn client(&self, source: &HttpSource) -> reqwest::Client {
        if source.headers.is_empty() && source.password.is_none() {
            self.http.clone()
        } else {
            self.http_one_origin.clone()
        }
    }

    /// A client that connects only to addresses that the rules allow, for stores that speak HTTP themselves.
    pub fn guarded_http(&self) -> reqwest::Client {
        self.http_one_origin.clone()
    }

    /// The same with a process's own settings for object stores.
    pub fn with_stores(self, stores: Stores) -> Self {
        SourceContext { stores, ..self }
    }

    /// # Errors
    /// When passwords may not come from this variable of the process's environment.
    pub fn check_variable(&self, name: &str) -> Result<(), StorageError> {
        if self.rules.allow_variable(name) {
            return Ok(());
        }
        Err(StorageError::Denied {
            kind: "Environment variable",
            place: format!("env:{name}"),
        })
    }

    /// The path with links and `..` resolved, if it may be read.
    ///
    /// # Errors
    /// When it does not exist or is not allowed.
    pub fn check_path(&self, path: &str) -> Result<PathBuf, StorageError> {
        let resolved = Path::new(path)
            .canonicalize()
            .map_err(|error| self.hidden(path, error))?;
        if self.rules.allow_path(&resolved) {
            return Ok(resolved);
        }
        Err(denied_file(path))
    }

    /// Opens a file that may be read. What was opened is checked, not only what was named: a link that is changed in
    /// between leads nowhere.
    ///
    /// # Errors
    /// As [`SourceContext::check_path`].
    pub fn open_file(&self, path: &str) -> Result<File, StorageError> {
        let resolved = self.check_path(path)?;
        let file = File::open(&resolved).map_err(|error| StorageError::file(path, error))?;
        match opened_path(&file) {
            Some(opened) if !self.rules.allow_path(&opened) => Err(denied_file(path)),
            _ => Ok(file),
        }
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
    /// When the URL is malformed or not allowed. An allowed one may still be refused when it is connected to, because
    /// its name leads to a private address.
    pub fn check_url(&self, url: &str) -> Result<(), StorageError> {
        let parsed = Url::parse(url)
            .map_err(|error| StorageError::Spec(format!("URI [{}]: {error}", shown_url(url))))?;
        if self.rules.allow_url(&parsed) {
            return Ok(());
        }
        Err(StorageError::Denied {
            kind: "URL",
            place: shown_url(url),
        })
    }

    /// Whether a file exists outside the allowed folders is nobody's business.
    fn hidden(&self, path: &str, error: std::io::Error) -> StorageError {
        let above = Path::new(path)
            .ancestors()
            .skip(1)
            .find_map(|above| above.canonicalize().ok());
        match above {
            Some(above) if self.rules.allow_path(&above) => StorageError::file(path, error),
            _ => denied_file(path),
        }
    }
}

fn denied_file(path: &str) -> StorageError {
    StorageError::Denied {
        kind: "File",
        place: path.to_owned(),
    }
}

/// Where an opened file lies, on systems that tell.
fn opened_path(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
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
        std::os::unix::fs::symlink(&outside, inside.join("folder")).unwrap();
        for prefix in [
            inside.to_str().unwrap().to_owned(),
            format!("local:{}", inside.display()),
        ] {
            let context = SourceContext::new(&[prefix]).unwrap();
            let allowed = |path: &Path| context.check_path(path.to_str().unwrap()).is_ok();
            assert!(allowed(&inside.join("f")));
            assert!(context.open_file(inside.join("f").to_str().unwrap()).is_ok());
            assert!(!allowed(&outside.join("f")));
            assert!(!allowed(&inside.join("../out/f")));
            assert!(!allowed(&inside.join("link")));
            assert!(!allowed(&inside.join("folder/f")));
            assert!(context.open_file(inside.join("link").to_str().unwrap()).is_err());
            assert!(context.check_url("http://localhost/").is_err());
        }
    }

    #[test]
    fn a_folder_beside_the_allowed_one_with_a_longer_name_is_another() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["data", "database"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("f"), "").unwrap();
        }
        let context = SourceContext::new(&[root.path().join("data").to_string_lossy().into_owned()]).unwrap();
        let path = |name: &str| root.path().join(name).to_string_lossy().into_owned();
        assert!(context.check_path(&path("data/f")).is_ok());
        assert!(context.check_path(&path("database/f")).is_err());
    }

    #[test]
    fn a_denied_place_does_not_tell_whether_it_exists() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(root.path().join("there"), "").unwrap();
        let context = SourceContext::new(&[inside.to_string_lossy().into_owned()]).unwrap();
        let words = |name: &str| {
            let path = root.path().join(name).to_string_lossy().into_owned();
            context
                .check_path(&path)
                .unwrap_err()
                .to_string()
                .replace(name, "")
        };
        assert_eq!(words("there"), words("absent"));
        let missing = inside.join("absent").to_string_lossy().into_owned();
        assert!(
            context
                .check_path(&missing)
                .unwrap_err()
                .to_string()
                .contains("No such file")
        );
    }
}
