//! Final reports in deep storage, under `reports/<task id>`.

use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};
use prost::Message;
use sarsen_proto::v1;

use crate::ids::TaskId;

/// Why a report could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("the report of task [{task_id}] cannot be read: {error}")]
    Malformed {
        task_id: TaskId,
        error: prost::DecodeError,
    },
}

/// The folder of reports.
#[derive(Debug, Clone)]
pub struct Reports {
    store: Arc<dyn ObjectStore>,
}

impl Reports {
    /// Opens (and makes) deep storage in a folder.
    ///
    /// # Errors
    /// When the folder cannot be made or is not one.
    pub fn open(folder: &Path) -> Result<Self, ReportError> {
        std::fs::create_dir_all(folder).map_err(|error| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(error),
        })?;
        Ok(Reports {
            store: Arc::new(LocalFileSystem::new_with_prefix(folder)?),
        })
    }

    fn path(task: &TaskId) -> object_store::path::Path {
        object_store::path::Path::from_iter(["reports", task.as_str()])
    }

    /// Keeps a report; writing it again is harmless.
    ///
    /// # Errors
    /// When deep storage fails.
    pub async fn put(&self, task: &TaskId, report: &v1::Report) -> Result<(), ReportError> {
        self.store
            .put(&Self::path(task), report.encode_to_vec().into())
            .await?;
        Ok(())
    }

    /// The report of an ended task; `None` for a task that ended without one.
    ///
    /// # Errors
    /// When deep storage fails or holds something else.
    pub async fn get(&self, task: &TaskId) -> Result<Option<v1::Report>, ReportError> {
        let found = match self.store.get(&Self::path(task)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let report = v1::Report::decode(found.bytes().await?).map_err(|error| ReportError::Malformed {
            task_id: task.clone(),
            error,
        })?;
        Ok(Some(report))
    }
}
