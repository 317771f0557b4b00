//! Where segments and reports are kept for good.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::StorageError;

/// A folder or bucket.
#[derive(Debug, Clone)]
pub struct DeepStorage {
    store: Arc<dyn ObjectStore>,
    url: String,
}

impl DeepStorage {
    /// Opens `file://…` or a plain path; the folder is made when it is missing.
    ///
    /// # Errors
    /// For other URLs, and when the folder cannot be used.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        let refuse = |reason: String| StorageError::DeepStorage {
            url: url.to_owned(),
            reason,
        };
        let path = match url.split_once("://") {
            None => url,
            Some(("file", path)) => path,
            Some((scheme, _)) => {
                return Err(refuse(format!(
                    "{scheme} is not supported, only a local folder is"
                )));
            }
        };
        std::fs::create_dir_all(path).map_err(|error| refuse(error.to_string()))?;
        let path = Path::new(path)
            .canonicalize()
            .map_err(|error| refuse(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(&path).map_err(|error| refuse(error.to_string()))?;
        Ok(DeepStorage {
            store: Arc::new(store.with_automatic_cleanup(true)),
            url: path.to_string_lossy().into_owned(),
        })
    }

    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Where it is, for people.
    pub fn url(&self) -> &str {
        &self.url
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
        let (root, marker) = (Path::new(&self.url).to_path_buf(), format!("{query_id}-"));
        let folder = root.join(ObjectPath::from(datasource).as_ref());
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
        let storage = DeepStorage::open(folder.path().to_str().unwrap()).unwrap();
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
