//! Outputs of stages that outlived their workers and their queries: a controller removes those of its query at the end,
//! what a killed one left is removed here (Druid: operations/durable-storage.md, the durable storage cleaner).

use std::sync::Arc;
use std::time::Duration;

use sarsen_proto::v1::TaskState;

use crate::coordination::Leader;
use crate::ids::TaskId;
use crate::metadata::StoreError;
use crate::overlord::Overlord;
use crate::reports::ReportError;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(600);

/// Time for the first look: by then an Overlord that begins to lead has taken its tasks over.
const FIRST: Duration = Duration::from_secs(2);

impl Overlord {
    /// Removes outputs of queries that are over, as long as this Overlord lives.
    pub(crate) async fn sweep_durable_outputs(self: Arc<Self>) {
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
        }
    }

    /// Folders are listed before tasks are looked at: a task that begins meanwhile has none among them.
    async fn remove_outputs_of_ended(&self) -> Result<(), SweepError> {
        for folder in self.reports.durable_outputs().await? {
            // A query's task is named as its folder is.
            let task = TaskId::from(folder.as_str());
            if !self.is_active(&task).await? {
                tracing::info!(folder, "outputs of a query that is over are removed");
                self.reports.remove_durable_outputs(&folder).await?;
            }
        }
        Ok(())
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
