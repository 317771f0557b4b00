//! Where segments and reports are kept for good.

use std::path::Path;
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
        let refuse = |reason: String| StorageError::DeepStorage { url: url.to_owned(), reason };
        let path = match url.split_once("://") {
            None => url,
            Some(("file", path)) => path,
            Some((scheme, _)) => {
                return Err(refuse(format!("{scheme} is not supported, only a local folder is")));
            }
        };
        std::fs::create_dir_all(path).map_err(|error| refuse(error.to_string()))?;
        let path = Path::new(path).canonicalize().map_err(|error| refuse(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(&path).map_err(|error| refuse(error.to_string()))?;
        Ok(DeepStorage { store: Arc::new(store.with_automatic_cleanup(true)), url: path.to_string_lossy().into_owned() })
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
        let put = self.store.put(&ObjectPath::from(path), PutPayload::from(bytes)).await;
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

    fn failed(&self, error: &object_store::Error) -> StorageError {
        StorageError::DeepStorage { url: self.url.clone(), reason: error.to_string() }
    }
}
