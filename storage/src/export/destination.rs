//! An opened destination.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use sarsen_kernel::query::ExportTarget;
use sarsen_object::{Access, Bucket, Location, StoreKind, Stores};

use super::{ExportFile, Writing};
use crate::StorageError;
use crate::segment::DeepStorage;

/// See the module.
#[derive(Debug, Clone)]
pub struct Destination {
    pub(super) target: Arc<ExportTarget>,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket { bucket: Bucket, prefix: Location },
}

/// Beginning of the name of the hidden folder in which files of a query lie before they are put in place.
const HIDDEN: &str = ".sarsen-";

impl Destination {
    pub(super) fn open(
        target: &ExportTarget,
        allow: &[String],
        stores: &Stores,
    ) -> Result<Self, StorageError> {
        let argument = |name: &str| target.arguments.get(name).map(String::as_str).unwrap_or_default();
        let kind = match target.storage.as_str() {
            "local" => {
                let path = allowed_folder(argument("exportPath"), allow)?;
                return Ok(Destination {
                    target: Arc::new(target.clone()),
                    place: Place::Folder(path),
                });
            }
            "s3" => StoreKind::S3,
            "google" => StoreKind::Google,
            _ => StoreKind::Azure,
        };
        let prefix = argument("prefix").trim_matches('/');
        let prefix = Location::new(kind, argument("bucket"), prefix);
        let url = prefix.to_string();
        if !allow.iter().any(|allowed| {
            is_below(url.trim_end_matches('/'), allowed.trim_end_matches('/')) || is_below(&url, allowed)
        }) {
            return Err(StorageError::Export(format!(
                "None of the allowed prefixes matched the input path [{url}]. Please reach out to the cluster admin for \
                 the whitelisted paths for export. The paths are controlled via the flag --export-allow."
            )));
        }
        let optional = |name: &str| target.arguments.get(name).cloned();
        let access = Access {
            assume_role_arn: optional("assumeRoleArn"),
            assume_role_external_id: optional("assumeRoleExternalId"),
            ..Access::default()
        };
        let bucket = stores
            .open(&prefix, &access)
            .map_err(|error| StorageError::Export(error.to_string()))?;
        Ok(Destination {
            target: Arc::new(target.clone()),
            place: Place::Bucket { bucket, prefix },
        })
    }

    /// A folder of deep storage.
    pub(super) fn results(target: &ExportTarget, deep_storage: &DeepStorage) -> Self {
        let folder = target
            .arguments
            .get("folder")
            .map(String::as_str)
            .unwrap_or_default();
        let location = deep_storage.location().join(folder);
        let place = match location.kind {
            StoreKind::Local => Place::Folder(PathBuf::from(location.key)),
            _ => Place::Bucket {
                bucket: deep_storage.bucket(),
                prefix: location,
            },
        };
        Destination {
            target: Arc::new(target.clone()),
            place,
        }
    }

    /// As Druid's messages name it: a path, or a URL.
    pub fn base_path(&self) -> String {
        match &self.place {
            Place::Folder(folder) => match self.target.arguments.get("exportPath") {
                Some(path) => path.clone(),
                None => folder.display().to_string(),
            },
            Place::Bucket { prefix, .. } => prefix.to_string(),
        }
    }

    /// A file as the manifest names it.
    pub(super) fn manifest_line(&self, name: &str) -> String {
        match &self.place {
            Place::Folder(folder) => format!("file:{}", folder.join(name).display()),
            Place::Bucket { prefix, .. } => prefix.join(name).to_string(),
        }
    }

    /// The hidden folder of a query.
    pub(super) fn hidden(&self, query_id: &str) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.join(format!("{HIDDEN}{query_id}"))),
            Place::Bucket { .. } => None,
        }
    }

    /// Begins a file of that name.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub async fn create(
        &self,
        name: String,
        partition: u32,
        writing: &Writing,
    ) -> Result<ExportFile, StorageError> {
        ExportFile::create(self, name, partition, writing).await
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) -> StorageError {
        StorageError::Export(format!(
            "Exception occurred while writing file to the export location [{}]: {error}",
            self.base_path()
        ))
    }
}

/// Whether `url` is `prefix` or lies below it: the bucket `b` does not allow the bucket `b-other`.
fn is_below(url: &str, prefix: &str) -> bool {
    url.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with(['/', ':']))
}

/// The path without `.` and `..`, and without links in what there is of it, if it may be written to.
fn allowed_folder(path: &str, allow: &[String]) -> Result<PathBuf, StorageError> {
    let refused = || {
        StorageError::Export(format!(
            "The provided destination [{path}] must be within a path configured by the flag --export-allow. Please reach \
             out to the cluster admin for the allowed path."
        ))
    };
    if !Path::new(path).is_absolute() {
        return Err(StorageError::Export(format!(
            "The provided destination [{path}] must be an absolute path."
        )));
    }
    let mut normal = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            _ => {}
        }
    }
    let resolved = resolved(&normal);
    let is_allowed = |allowed: &String| {
        let allowed = Path::new(allowed.strip_prefix("file://").unwrap_or(allowed));
        allowed.is_absolute() && resolved.starts_with(self::resolved(allowed))
    };
    if allow.iter().any(is_allowed) {
        Ok(resolved)
    } else {
        Err(refused())
    }
}

/// Links resolved in the part of the path that there is.
fn resolved(path: &Path) -> PathBuf {
    for above in path.ancestors() {
        if let Ok(found) = above.canonicalize() {
            return match path.strip_prefix(above) {
                Ok(rest) if !rest.as_os_str().is_empty() => found.join(rest),
                _ => found,
            };
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_way_around_the_allowed_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::create_dir_all(root.join("out")).unwrap();
        std::os::unix::fs::symlink(root.join("out"), root.join("in/link")).unwrap();
        let allow = vec![root.join("in").to_string_lossy().into_owned()];
        let allowed = |name: &str| allowed_folder(root.join(name).to_str().unwrap(), &allow);
        assert_eq!(allowed("in/new/./deep").unwrap(), root.join("in/new/deep"));
        assert!(allowed("in").is_ok());
        for outside in ["out", "in/../out", "in/link", "in/link/new", "inn"] {
            assert!(allowed(outside).is_err(), "{outside}");
        }
        assert!(allowed_folder("in", &["/".to_owned()]).is_err());
    }
}
