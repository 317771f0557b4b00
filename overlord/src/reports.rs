//! Final reports in deep storage, under `reports/<task id>`.

use std::sync::Arc;

use futures::StreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use prost::Message;
use sarsen_kernel::query::RESULTS_FOLDER;
use sarsen_object::{Access, Bucket, Location, ObjectError, StoreKind, Stores};
use sarsen_proto::v1;

use crate::ids::TaskId;

/// Why a report could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("{0}")]
    Open(#[from] ObjectError),
    #[error("the report of task [{task_id}] cannot be read: {error}")]
    Malformed {
        task_id: TaskId,
        error: prost::DecodeError,
    },
}

/// Folders of deep storage that hold a folder for each query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Outputs of stages that outlive their workers.
    Outputs,
    /// Pages of durable results.
    Results,
}

impl Kept {
    fn folder(self) -> &'static str {
        match self {
            Kept::Outputs => "shuffle",
            Kept::Results => RESULTS_FOLDER,
        }
    }
}

/// Reports, and what else the Overlord keeps in deep storage.
#[derive(Debug, Clone)]
pub struct Reports {
    store: Arc<dyn ObjectStore>,
    bucket: Bucket,
    /// Before all keys of deep storage in the bucket.
    prefix: String,
}

impl Reports {
    /// Opens deep storage: a folder, which is made when it is missing, or a prefix in a bucket.
    ///
    /// # Errors
    /// When the URL is none, the store's settings are incomplete or the folder cannot be made.
    pub fn open(url: &str, stores: &Stores) -> Result<Self, ReportError> {
        let location: Location = url.parse()?;
        let bucket = stores.open(&location, &Access::default())?;
        if location.kind == StoreKind::Local || location.key.trim_matches('/').is_empty() {
            return Ok(Reports {
                store: Arc::clone(&bucket.store),
                bucket,
                prefix: String::new(),
            });
        }
        let prefix = location.path()?;
        Ok(Reports {
            prefix: format!("{prefix}/"),
            store: Arc::new(PrefixStore::new(Arc::clone(&bucket.store), prefix)),
            bucket,
        })
    }

    fn path(task: &TaskId) -> Path {
        Path::from_iter(["reports", task.as_str()])
    }

    /// Folders of queries of which something is kept.
    ///
    /// # Errors
    /// When deep storage fails.
    pub async fn kept(&self, what: Kept) -> Result<Vec<String>, ReportError> {
        let above = Path::from(what.folder());
        let listed = self.store.list_with_delimiter(Some(&above)).await?;
        let folders = listed.common_prefixes.iter();
        Ok(folders
            .filter_map(|folder| folder.filename().map(str::to_owned))
            .collect())
    }

    /// Removes what is in such a folder, with uploads that were begun.
    ///
    /// # Errors
    /// When deep storage fails.
    pub async fn remove(&self, what: Kept, folder: &str) -> Result<(), ReportError> {
        let folder = Path::from_iter([what.folder(), folder]);
        let mut listed = self.store.list(Some(&folder));
        while let Some(object) = listed.next().await {
            match self.store.delete(&object?.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let prefix = format!("{}{folder}/", self.prefix);
        self.bucket.abort_uploads(&prefix, |_| true).await?;
        Ok(())
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

    /// Keeps what was logged of a task, under `logs/<task id>`.
    ///
    /// # Errors
    /// When deep storage fails.
    pub async fn put_log(&self, task: &TaskId, log: String) -> Result<(), ReportError> {
        let path = Path::from_iter(["logs", task.as_str()]);
        self.store.put(&path, log.into_bytes().into()).await?;
        Ok(())
    }

    /// What was logged of an ended task, if anything was.
    ///
    /// # Errors
    /// When deep storage fails.
    pub async fn log(&self, task: &TaskId) -> Result<Option<String>, ReportError> {
        let found = match self.store.get(&Path::from_iter(["logs", task.as_str()])).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(String::from_utf8_lossy(&found.bytes().await?).into_owned()))
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
