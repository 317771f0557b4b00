//! Putting files in place, and taking them back.

use std::path::{Path, PathBuf};

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload};

use super::destination::{Destination, Place};
use super::{StagedFile, StagedPlace};
use crate::StorageError;

/// Folder of what describes an export (Druid: ExportMetadataManager).
const MANIFEST_FOLDER: &str = "_symlink_format_manifest";
const MANIFEST: &str = "_symlink_format_manifest/manifest";
const META: &str = "_symlink_format_manifest/druid_export_meta";

/// Files that are put in place at once.
const AT_ONCE: usize = 16;

impl Destination {
    /// Makes sure that nothing is there, but for what an earlier controller of the same query left, which is removed.
    ///
    /// # Errors
    /// In Druid's words when there are files; when the destination cannot be looked at.
    pub async fn prepare(&self, query_id: &str, resumed: bool) -> Result<(), StorageError> {
        if resumed {
            self.remove_own(query_id).await?;
        }
        let is_empty = match &self.place {
            Place::Folder(folder) => match std::fs::read_dir(folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
                entries => entries
                    .map_err(|error| self.unreachable(&error))?
                    .next()
                    .is_none(),
            },
            Place::Bucket { bucket, prefix } => {
                let mut found = bucket.list(&self.folder_key(prefix));
                let first = found
                    .next()
                    .await
                    .transpose()
                    .map_err(|error| self.unreachable(&error))?;
                first.is_none()
            }
        };
        if is_empty {
            return Ok(());
        }
        Err(StorageError::Export(format!(
            "Found files at provided export destination[{}]. Export is only allowed to an empty path. Please provide an \
             empty path/subdirectory or move the existing files.",
            self.base_path()
        )))
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> StorageError {
        StorageError::Export(format!(
            "Exception occurred while connecting to export destination [{}]: {error}",
            self.base_path()
        ))
    }

    fn folder_key(&self, prefix: &sarsen_object::Location) -> String {
        if prefix.key.is_empty() {
            String::new()
        } else {
            format!("{}/", prefix.key)
        }
    }

    /// Puts all files in place, then the manifest. When one cannot be, none of them stays.
    ///
    /// # Errors
    /// When the destination fails.
    pub async fn commit(&self, query_id: &str, files: &[StagedFile]) -> Result<(), StorageError> {
        let committed = self.place_all(files).await;
        if let Err(error) = committed {
            if let Err(left) = self.remove_own(query_id).await {
                tracing::warn!(error = %left, "files of a failed export may stay behind");
            }
            return Err(error);
        }
        self.remove_hidden(query_id).await;
        Ok(())
    }

    async fn place_all(&self, files: &[StagedFile]) -> Result<(), StorageError> {
        let placed: Vec<_> = files.iter().map(|file| self.place(file).boxed()).collect();
        futures::stream::iter(placed)
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| futures::future::ready(Ok(())))
            .await?;
        if self.target.is_results() {
            // The report lists them.
            return Ok(());
        }
        self.put(META, "version: 1\n".to_owned()).await?;
        let lines = files.iter().map(|file| self.manifest_line(&file.name) + "\n");
        self.put(MANIFEST, lines.collect()).await
    }

    async fn place(&self, file: &StagedFile) -> Result<(), StorageError> {
        match (&self.place, &file.place) {
            (Place::Folder(folder), StagedPlace::File(hidden)) => {
                let path = folder.join(&file.name);
                let placed = async {
                    if let Some(above) = path.parent() {
                        tokio::fs::create_dir_all(above).await?;
                    }
                    tokio::fs::rename(hidden, &path).await
                };
                placed.await.map_err(|error| self.failed(&error))
            }
            (Place::Bucket { bucket, .. }, StagedPlace::Upload(staged)) => {
                let cloud = bucket
                    .cloud
                    .as_ref()
                    .ok_or_else(|| self.failed(&"it is no bucket"))?;
                staged
                    .complete(cloud.multipart.as_ref(), bucket.store.as_ref())
                    .await
                    .map_err(|error| self.failed(&error))
            }
            _ => Err(self.failed(&"a file was staged for another kind of destination")),
        }
    }

    async fn put(&self, name: &str, text: String) -> Result<(), StorageError> {
        match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(name);
                let part = path.with_extension("part");
                let written = async {
                    tokio::fs::create_dir_all(folder.join(MANIFEST_FOLDER)).await?;
                    tokio::fs::write(&part, text).await?;
                    tokio::fs::rename(&part, &path).await
                };
                written.await.map_err(|error| self.failed(&error))
            }
            Place::Bucket { bucket, prefix } => {
                let path = prefix.join(name).path().map_err(|error| self.failed(&error))?;
                let put = bucket.store.put(&path, PutPayload::from(text)).await;
                put.map(|_| ()).map_err(|error| self.failed(&error))
            }
        }
    }

    /// Takes back a file that is not in place.
    pub async fn abort(&self, file: &StagedFile) {
        match (&self.place, &file.place) {
            (_, StagedPlace::File(hidden)) => {
                if let Err(error) = tokio::fs::remove_file(hidden).await
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(path = hidden, %error, "an unfinished file of an export stays behind");
                }
            }
            (Place::Bucket { bucket, .. }, StagedPlace::Upload(staged)) => {
                if let Some(cloud) = &bucket.cloud {
                    staged.abort(cloud.multipart.as_ref()).await;
                }
            }
            _ => {}
        }
    }

    /// Removes what a failed query has begun here, told of or not.
    ///
    /// # Errors
    /// When the destination cannot be looked through.
    pub async fn sweep(&self, query_id: &str) -> Result<(), StorageError> {
        self.remove_hidden(query_id).await;
        self.abort_uploads(query_id).await
    }

    async fn abort_uploads(&self, query_id: &str) -> Result<(), StorageError> {
        let Place::Bucket { bucket, prefix } = &self.place else {
            return Ok(());
        };
        let marker = own_marker(query_id);
        let is_own = |key: &str| {
            key.rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(&marker))
        };
        let aborted = bucket.abort_uploads(&self.folder_key(prefix), is_own).await;
        aborted.map(|_| ()).map_err(|error| self.unreachable(&error))
    }

    async fn remove_hidden(&self, query_id: &str) {
        let Some(hidden) = self.hidden(query_id) else {
            return;
        };
        match tokio::fs::remove_dir_all(&hidden).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %hidden.display(), %error, "the hidden folder of an export stays behind");
            }
            _ => {}
        }
    }

    /// Removes everything that this query put in place or began, the manifest first.
    async fn remove_own(&self, query_id: &str) -> Result<(), StorageError> {
        let marker = own_marker(query_id);
        match &self.place {
            Place::Folder(folder) => {
                let own = manifest_is_of(&folder.join(MANIFEST), &marker);
                if own {
                    let _ = tokio::fs::remove_dir_all(folder.join(MANIFEST_FOLDER)).await;
                }
                let folder = folder.clone();
                let removed = tokio::task::spawn_blocking(move || remove_named(&folder, &marker)).await;
                removed
                    .map_err(|error| self.unreachable(&error))?
                    .map_err(|error| self.unreachable(&error))?;
            }
            Place::Bucket { bucket, prefix } => {
                let folder = self.folder_key(prefix);
                for name in [MANIFEST, META] {
                    let path = prefix
                        .join(name)
                        .path()
                        .map_err(|error| self.unreachable(&error))?;
                    let of_query = match bucket.store.get(&path).await {
                        Ok(found) => {
                            let bytes = found.bytes().await.map_err(|error| self.unreachable(&error))?;
                            let text = String::from_utf8_lossy(&bytes).into_owned();
                            name == META || text.is_empty() || text.contains(&marker)
                        }
                        Err(object_store::Error::NotFound { .. }) => continue,
                        Err(error) => return Err(self.unreachable(&error)),
                    };
                    if of_query {
                        bucket
                            .store
                            .delete(&path)
                            .await
                            .map_err(|error| self.unreachable(&error))?;
                    } else {
                        break;
                    }
                }
                let found = bucket.list(&folder).try_filter(|object| {
                    let name = object.location.filename().unwrap_or_default();
                    futures::future::ready(name.starts_with(&marker))
                });
                found
                    .map(|object| async { bucket.store.delete(&object?.location).await })
                    .buffer_unordered(AT_ONCE)
                    .try_for_each(|()| futures::future::ready(Ok(())))
                    .await
                    .map_err(|error| self.unreachable(&error))?;
            }
        }
        self.sweep(query_id).await
    }
}

/// How the names of a query's files begin.
fn own_marker(query_id: &str) -> String {
    format!("query-{query_id}-worker")
}

fn manifest_is_of(path: &Path, marker: &str) -> bool {
    match std::fs::read_to_string(path) {
        Ok(text) => text.is_empty() || text.contains(marker),
        // The folder was made, the manifest was not put into it.
        Err(_) => true,
    }
}

/// Files below a folder whose names begin with `marker`, and the folders that are then empty.
fn remove_named(folder: &Path, marker: &str) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path: PathBuf = entry.path();
        if entry.file_type()?.is_dir() {
            remove_named(&path, marker)?;
            let _ = std::fs::remove_dir(&path);
        } else if entry.file_name().to_string_lossy().starts_with(marker) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
