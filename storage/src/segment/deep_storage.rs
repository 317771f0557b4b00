//! Where segments and reports are kept for good.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use sarsen_object::{Access, Bucket, Location, StoreKind, Stores};

use super::LoadSpec;
use crate::StorageError;

/// A folder, or a prefix in a bucket.
#[derive(Debug, Clone)]
pub struct DeepStorage {
    bucket: Bucket,
    location: Location,
    /// Of paths below the location.
    store: Arc<dyn ObjectStore>,
    url: String,
}

/// Objects that are removed at once.
const REMOVED_AT_ONCE: usize = 16;

impl DeepStorage {
    /// Opens `s3://…`, `gs://…`, `azure://…`, `file://…` or a plain path; a folder is made when it is missing.
    ///
    /// # Errors
    /// For other URLs, and when the store's settings are incomplete or the folder cannot be used.
    pub fn open(url: &str, stores: &Stores) -> Result<Self, StorageError> {
        let refuse = |reason: String| StorageError::DeepStorage {
            url: url.to_owned(),
            reason,
        };
        let mut location: Location = url
            .parse()
            .map_err(|error: sarsen_object::ObjectError| refuse(error.to_string()))?;
        let bucket = stores
            .open(&location, &Access::default())
            .map_err(|error| refuse(error.to_string()))?;
        if location.kind == StoreKind::Local {
            let path = Path::new(&location.key)
                .canonicalize()
                .map_err(|error| refuse(error.to_string()))?;
            location.key = path.to_string_lossy().into_owned();
            let url = location.key.clone();
            return Ok(DeepStorage {
                store: Arc::clone(&bucket.store),
                bucket,
                location,
                url,
            });
        }
        let prefix = location.path().map_err(|error| refuse(error.to_string()))?;
        location.key = prefix.to_string();
        let store: Arc<dyn ObjectStore> = if location.key.is_empty() {
            Arc::clone(&bucket.store)
        } else {
            Arc::new(PrefixStore::new(Arc::clone(&bucket.store), prefix))
        };
        Ok(DeepStorage {
            store,
            bucket,
            url: location.to_string(),
            location,
        })
    }

    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn bucket(&self) -> Bucket {
        self.bucket.clone()
    }

    /// Where it is, for people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where a segment's file lies, as its payload tells.
    pub fn load_spec(&self, path: &str) -> LoadSpec {
        let kind = match self.location.kind {
            StoreKind::Local => {
                return LoadSpec {
                    kind: super::payload::PARQUET.to_owned(),
                    path: path.to_owned(),
                    bucket: None,
                    key: None,
                };
            }
            StoreKind::S3 => "s3_parquet",
            StoreKind::Google => "google_parquet",
            StoreKind::Azure => "azure_parquet",
        };
        LoadSpec {
            kind: kind.to_owned(),
            path: path.to_owned(),
            bucket: Some(self.location.bucket.clone()),
            key: Some(self.location.join(path).key),
        }
    }

    /// Writes an object.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), StorageError> {
        let put = self
            .store
            .put(&ObjectPath::from(path), PutPayload::from(bytes))
            .await;
        put.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn get(&self, path: &str) -> Result<Option<bytes::Bytes>, StorageError> {
        match self.store.get(&ObjectPath::from(path)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| self.failed(&error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes an object if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn delete(&self, path: &str) -> Result<(), StorageError> {
        match self.store.delete(&ObjectPath::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Names directly below `folder`: of objects and of folders.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let listed = self
            .store
            .list_with_delimiter(Some(&ObjectPath::from(folder)))
            .await;
        let listed = listed.map_err(|error| self.failed(&error))?;
        let objects = listed.objects.into_iter().map(|object| object.location);
        let paths = listed.common_prefixes.into_iter().chain(objects);
        Ok(paths
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect())
    }

    /// Removes everything below `folder`, uploads that were begun too.
    ///
    /// # Errors
    /// When it cannot be listed or something cannot be removed.
    pub async fn delete_folder(&self, folder: &str) -> Result<(), StorageError> {
        let folder = ObjectPath::from(folder);
        self.delete_listed(&folder, |_| true).await?;
        if self.location.kind == StoreKind::Local {
            let path = Path::new(&self.url).join(folder.as_ref());
            let removed = tokio::fs::remove_dir_all(&path).await;
            return match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(StorageError::DeepStorage {
                        url: self.url.clone(),
                        reason: error.to_string(),
                    })
                }
                _ => Ok(()),
            };
        }
        self.abort_uploads(&folder, |_| true).await
    }

    async fn delete_listed(
        &self,
        folder: &ObjectPath,
        is_removed: impl Fn(&str) -> bool,
    ) -> Result<(), StorageError> {
        let listed = self.store.list(Some(folder));
        let removed = listed
            .try_filter(|object| futures::future::ready(is_removed(object.location.as_ref())))
            .map(|object| async {
                match self.store.delete(&object?.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(REMOVED_AT_ONCE);
        removed
            .try_for_each(|()| futures::future::ready(Ok(())))
            .await
            .map_err(|error| self.failed(&error))
    }

    async fn abort_uploads(
        &self,
        folder: &ObjectPath,
        is_abandoned: impl Fn(&str) -> bool,
    ) -> Result<(), StorageError> {
        let prefix = format!("{}/", self.location.join(folder.as_ref()).key);
        let aborted = self.bucket.abort_uploads(&prefix, is_abandoned).await;
        match aborted {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(prefix, aborted, "uploads that nobody would complete are ended"),
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(())
    }

    /// Ends uploads below `datasource` that a writer named after `query_id` has begun: the answer to a begin may have been
    /// lost, so that nobody knows of it.
    ///
    /// # Errors
    /// When the store does not tell of them.
    pub async fn abort_begun(&self, datasource: &str, query_id: &str) -> Result<(), StorageError> {
        if self.location.kind == StoreKind::Local {
            return Ok(());
        }
        let marker = format!("{query_id}-");
        let is_marked = |path: &str| path.split('/').any(|part| part.starts_with(&marker));
        self.abort_uploads(&ObjectPath::from(datasource), is_marked).await
    }

    /// Removes every file below `datasource` that a writer named after `query_id` made and that is not among
    /// `published`, unfinished ones too: what killed workers left.
    ///
    /// # Errors
    /// When a folder cannot be read or a file not be removed.
    pub async fn delete_unpublished(
        &self,
        datasource: &str,
        query_id: &str,
        published: &HashSet<String>,
    ) -> Result<(), StorageError> {
        let marker = format!("{query_id}-");
        let folder = ObjectPath::from(datasource);
        if self.location.kind != StoreKind::Local {
            let is_marked = |path: &str| path.split('/').any(|part| part.starts_with(&marker));
            self.delete_listed(&folder, |path| is_marked(path) && !published.contains(path))
                .await?;
            return self.abort_uploads(&folder, is_marked).await;
        }
        let root = Path::new(&self.url).to_path_buf();
        let folder = root.join(folder.as_ref());
        let published: HashSet<PathBuf> = published.iter().map(|path| root.join(path)).collect();
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, &root, &marker, &published)).await;
        let refuse = |reason: String| StorageError::DeepStorage {
            url: self.url.clone(),
            reason,
        };
        swept
            .map_err(|error| refuse(error.to_string()))?
            .map_err(|error| refuse(error.to_string()))
    }

    fn failed(&self, error: &object_store::Error) -> StorageError {
        StorageError::DeepStorage {
            url: self.url.clone(),
            reason: error.to_string(),
        }
    }
}

/// Walks `folder`; below a folder whose name begins with `marker` everything unpublished goes, and so do the folders
/// that are then empty.
fn sweep(folder: &Path, root: &Path, marker: &str, published: &HashSet<PathBuf>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let is_marked = folder
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(marker));
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep(&entry.path(), root, marker, published)?;
        } else if is_marked && !published.contains(&entry.path()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    if folder != root && std::fs::read_dir(folder)?.next().is_none() {
        // Another writer may have begun here meanwhile; then it is not empty, and stays.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn only_unpublished_files_of_the_query_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let storage =
            DeepStorage::open(folder.path().to_str().unwrap(), &Stores::new(Default::default())).unwrap();
        for path in [
            "t/i/v/0/q-0-0/data.parquet",
            "t/i/v/1/q-1-0/data.parquet",
            "t/i/v/0/other-0-0/data.parquet",
        ] {
            storage.put(path, b"x".to_vec()).await.unwrap();
        }
        std::fs::write(folder.path().join("t/i/v/1/q-1-0/data.parquet#1"), b"y").unwrap();
        let published = HashSet::from(["t/i/v/0/q-0-0/data.parquet".to_owned()]);
        storage.delete_unpublished("t", "q", &published).await.unwrap();
        assert!(storage.get("t/i/v/0/q-0-0/data.parquet").await.unwrap().is_some());
        assert!(
            storage
                .get("t/i/v/0/other-0-0/data.parquet")
                .await
                .unwrap()
                .is_some()
        );
        assert!(!folder.path().join("t/i/v/1").exists());
    }
}
