//! One file of an export while it is written.

use std::path::PathBuf;
use std::sync::Arc;

use sarsen_object::StagedUpload;
use tokio::io::AsyncWriteExt;

use super::destination::{Destination, Place};
use super::{StagedFile, StagedPlace, Writing};
use crate::StorageError;

/// A file that is not seen before it is put in place; dropped before [`ExportFile::finish`], nothing of it stays.
pub struct ExportFile {
    destination: Destination,
    name: String,
    partition: u32,
    bytes: u64,
    sink: Sink,
}

enum Sink {
    Folder(HiddenFile),
    Upload(StagedUpload),
}

struct HiddenFile {
    file: tokio::fs::File,
    /// Removed with this, unless it was taken.
    path: Option<PathBuf>,
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished file of an export stays behind");
        }
    }
}

impl ExportFile {
    pub(super) async fn create(
        destination: &Destination,
        name: String,
        partition: u32,
        writing: &Writing,
    ) -> Result<Self, StorageError> {
        let sink = match (&destination.place, destination.hidden(&writing.query_id)) {
            (Place::Bucket { bucket, prefix }, _) => {
                let path = prefix
                    .join(&name)
                    .path()
                    .map_err(|error| destination.failed(&error))?;
                let cloud = bucket
                    .cloud
                    .as_ref()
                    .ok_or_else(|| destination.failed(&"it is no bucket"))?;
                Sink::Upload(StagedUpload::new(Arc::clone(&cloud.multipart), path))
            }
            (Place::Folder(folder), hidden) => {
                let hidden = hidden.unwrap_or_else(|| folder.clone());
                let path = hidden.join(&writing.attempt).join(&name);
                let above = path.parent().unwrap_or(&hidden);
                tokio::fs::create_dir_all(above)
                    .await
                    .map_err(|error| destination.failed(&error))?;
                let file = tokio::fs::File::create(&path)
                    .await
                    .map_err(|error| destination.failed(&error))?;
                Sink::Folder(HiddenFile {
                    file,
                    path: Some(path),
                })
            }
        };
        Ok(ExportFile {
            destination: destination.clone(),
            name,
            partition,
            bytes: 0,
            sink,
        })
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes += bytes.len() as u64;
        let written = match &mut self.sink {
            Sink::Folder(hidden) => hidden
                .file
                .write_all(bytes)
                .await
                .map_err(|error| error.to_string()),
            Sink::Upload(upload) => upload.write(bytes).await.map_err(|error| error.to_string()),
        };
        written.map_err(|error| self.destination.failed(&error))
    }

    /// All bytes are where they can be put in place from.
    ///
    /// # Errors
    /// When the last of them cannot be written.
    pub async fn finish(self, rows: u64) -> Result<StagedFile, StorageError> {
        let place = match self.sink {
            Sink::Folder(mut hidden) => {
                let flushed = async {
                    hidden.file.flush().await?;
                    hidden.file.sync_all().await
                };
                flushed.await.map_err(|error| self.destination.failed(&error))?;
                let path = hidden.path.take().unwrap_or_default();
                StagedPlace::File(path.to_string_lossy().into_owned())
            }
            Sink::Upload(upload) => {
                let staged = upload
                    .finish()
                    .await
                    .map_err(|error| self.destination.failed(&error))?;
                StagedPlace::Upload(staged)
            }
        };
        Ok(StagedFile {
            target: self.destination.target.as_ref().clone(),
            name: self.name,
            partition: self.partition,
            rows,
            bytes: self.bytes,
            place,
        })
    }
}
