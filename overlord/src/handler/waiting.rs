//! Long polls, and reports.

use std::time::{Duration, Instant};

use sarsen_proto::v1;

use crate::error::RequestError;
use crate::ids::TaskId;
use crate::overlord::Overlord;
use crate::state::Phase;

/// A synchronous task's report stays so long after it was fetched, for a caller that lost the answer.
const FETCHED_KEPT: Duration = Duration::from_secs(5);
const LIVE_REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a report is to be found.
enum Source {
    Nowhere,
    Memory(Box<v1::Report>),
    Controller(String),
    DeepStorage,
}

impl Overlord {
    /// Answers once the task has ended, or after `timeout_ms`, or at this process's shutdown.
    pub(crate) async fn wait_task(&self, request: v1::WaitTaskRequest) -> Result<v1::Task, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let timeout = tokio::time::sleep(Duration::from_millis(u64::from(request.timeout_ms)));
        tokio::pin!(timeout);
        loop {
            let changed = {
                let state = self.state();
                state
                    .tasks
                    .get(&id)
                    .filter(|entry| !entry.has_ended())
                    .map(|entry| entry.subscribe())
            };
            let Some(mut changed) = changed else { break };
            tokio::select! {
                // An error says that the task is forgotten: it is in the store.
                _ = changed.changed() => {}
                () = &mut timeout => break,
                () = self.shutdown.cancelled() => break,
            }
        }
        self.get_task(&request.task_id).await
    }

    pub(crate) async fn get_report(&self, task_id: &str) -> Result<v1::Report, RequestError> {
        let id = TaskId::from(task_id);
        match self.report_source(&id) {
            Source::Nowhere => Ok(v1::Report::default()),
            Source::Memory(report) => Ok(*report),
            Source::Controller(address) => match self.live_report(&id, &address).await {
                Some(report) => Ok(report),
                // Either it has just ended, or its controller is away: then there is nothing to tell now.
                None => match self.report_source(&id) {
                    Source::DeepStorage => self.stored_report(&id).await,
                    Source::Memory(report) => Ok(*report),
                    Source::Nowhere | Source::Controller(_) => Ok(v1::Report::default()),
                },
            },
            Source::DeepStorage => self.stored_report(&id).await,
        }
    }

    fn report_source(&self, id: &TaskId) -> Source {
        let mut state = self.state();
        let Some(entry) = state.tasks.get_mut(id) else {
            return Source::DeepStorage;
        };
        match &mut entry.phase {
            Phase::Waiting | Phase::Ending => Source::Nowhere,
            Phase::Running { location, .. } | Phase::Recovering { location, .. } => {
                Source::Controller(location.clone())
            }
            Phase::Ended {
                report, forget_at, ..
            } => {
                *forget_at = (*forget_at).min(Instant::now() + FETCHED_KEPT);
                Source::Memory(report.clone())
            }
        }
    }

    async fn live_report(&self, id: &TaskId, address: &str) -> Option<v1::Report> {
        let request = v1::TaskRequest {
            task_id: id.as_str().to_owned(),
        };
        let call = async { self.controller(address)?.get_live_report(request).await };
        match tokio::time::timeout(LIVE_REPORT_TIMEOUT, call).await {
            Ok(Ok(report)) => Some(report.into_inner()),
            Ok(Err(status)) => {
                tracing::debug!(task = %id, address, %status, "no live report");
                None
            }
            Err(_) => None,
        }
    }

    async fn stored_report(&self, id: &TaskId) -> Result<v1::Report, RequestError> {
        match self.reports.get(id).await? {
            Some(report) => Ok(report),
            None if self.store.task(id.as_str()).await?.is_some() => Ok(v1::Report::default()),
            None => Err(RequestError::UnknownTask(id.clone())),
        }
    }
}
