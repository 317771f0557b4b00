//! Outputs of stages that outlived their workers and their queries: a controller removes those of its query at the end,
//! what a killed one left is removed here; and pages of durable results, after their time (Druid:
//! operations/durable-storage.md, the durable storage cleaner).

use std::sync::Arc;
use std::time::Duration;

use sarsen_kernel::query::query_of_results;
use sarsen_proto::v1::TaskState;

use crate::coordination::Leader;
use crate::ids::TaskId;
use crate::metadata::StoreError;
use crate::options::Retention;
use crate::overlord::Overlord;
use crate::reports::{Kept, ReportError};
use crate::time::now_ms;

const HOUR_MS: i64 = 3_600_000;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(600);

/// Time for the first look: by then an Overlord that begins to lead has taken its tasks over.
const FIRST: Duration = Duration::from_secs(2);

impl Overlord {
    /// Removes outputs of queries that are over, and results that nobody keeps, as long as this Overlord lives.
    pub(crate) async fn sweep_deep_storage(self: Arc<Self>, retention: Retention) {
        let mut wait = FIRST;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shutdown.cancelled() => return,
            }
            wait = EVERY;
            if self.state().members.leader() != Leader::Ours {
                wait = FIRST;
                continue;
            }
            if let Err(error) = self.remove_outputs_of_ended().await {
                tracing::warn!(%error, "outputs of ended queries stay until the next look");
            }
            if let Err(error) = self.remove_old_results(retention).await {
                tracing::warn!(%error, "old results stay until the next look");
            }
        }
    }

    /// Folders are listed before tasks are looked at: a task that begins meanwhile has none among them.
    async fn remove_outputs_of_ended(&self) -> Result<(), SweepError> {
        for folder in self.reports.kept(Kept::Outputs).await? {
            // A query's task is named as its folder is.
            let task = TaskId::from(folder.as_str());
            if !self.is_active(&task).await? {
                tracing::info!(folder, "outputs of a query that is over are removed");
                self.reports.remove(Kept::Outputs, &folder).await?;
            }
        }
        Ok(())
    }

    /// Results of queries that are not known, that failed, or that have ended long enough ago.
    async fn remove_old_results(&self, retention: Retention) -> Result<(), SweepError> {
        for folder in self.reports.kept(Kept::Results).await? {
            let Some(query) = query_of_results(&folder) else {
                continue;
            };
            let task = TaskId::from(format!("query-{query}").as_str());
            if !self.is_active(&task).await? && !self.keeps_results(&task, retention).await? {
                tracing::info!(folder, "results that are kept no longer are removed");
                self.reports.remove(Kept::Results, &folder).await?;
            }
        }
        Ok(())
    }

    async fn keeps_results(&self, task: &TaskId, retention: Retention) -> Result<bool, StoreError> {
        let Some(row) = self.store.task(task.as_str()).await? else {
            return Ok(false);
        };
        let hours = i64::try_from(retention.durable_results_hours).unwrap_or(i64::MAX);
        let ended = row.task.started_ms.max(row.task.created_ms) + row.task.duration_ms.max(0);
        let until = ended.saturating_add(hours.saturating_mul(HOUR_MS));
        Ok(row.task.state() == TaskState::Success && now_ms() < until)
    }

    /// One that was taken over from another Overlord is in the store before it is in memory.
    async fn is_active(&self, task: &TaskId) -> Result<bool, StoreError> {
        if self
            .state()
            .tasks
            .get(task)
            .is_some_and(|entry| !entry.has_ended())
        {
            return Ok(true);
        }
        let stored = self.store.task(task.as_str()).await?;
        Ok(stored.is_some_and(|row| !matches!(row.task.state(), TaskState::Success | TaskState::Failed)))
    }
}

/// Why outputs could not be looked through.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Reports(#[from] ReportError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
