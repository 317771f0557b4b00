//! The end of a task, as its controller tells it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sarsen_proto::v1;

use crate::audit;
use crate::error::RequestError;
use crate::ids::TaskId;
use crate::metadata::TaskEnd;
use crate::observed::count_end;
use crate::overlord::Overlord;
use crate::state::Phase;

/// How long a synchronous task is remembered after its end.
pub(crate) const SYNCHRONOUS_KEPT: Duration = Duration::from_secs(30);

impl Overlord {
    /// Report, then state, then slots and locks: who sees the end can read the report.
    pub(crate) async fn complete(
        self: Arc<Self>,
        request: v1::CompleteTaskRequest,
    ) -> Result<v1::Empty, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let fenced = {
            let mut state = self.state();
            match state.tasks.get(&id) {
                Some(entry) if entry.has_ended() && entry.epoch == request.epoch => return Ok(v1::Empty {}),
                Some(_) => {
                    let entry = Overlord::fence(&mut state, &id, request.epoch)?;
                    Some((entry.started_ms, Arc::clone(&entry.spec), entry.workers.clone()))
                }
                None => None,
            }
        };
        let Some((started_ms, spec, workers)) = fenced else {
            return self.completed_before(&id, request.epoch).await;
        };
        let report = request.report.unwrap_or_default();
        let state = if request.success {
            v1::TaskState::Success
        } else {
            v1::TaskState::Failed
        };
        let end = TaskEnd {
            state,
            started_ms,
            duration_ms: request.duration_ms,
            error: request.error_message,
            workers,
        };
        tracing::info!(task = %id, ?state, duration_ms = end.duration_ms, code = audit::code(&end.error), "task ended");
        if spec.synchronous {
            let forget_at = Instant::now() + SYNCHRONOUS_KEPT;
            self.settle(
                &id,
                Some(Phase::Ended {
                    end,
                    report: Box::new(report),
                    forget_at,
                }),
            );
            return Ok(v1::Empty {});
        }
        self.reports.put(&id, &report).await?;
        if !request.log.is_empty() {
            self.reports.put_log(&id, request.log).await?;
        }
        if !self.store.finish_task(&id, Some(request.epoch), &end).await? {
            return self.completed_before(&id, request.epoch).await;
        }
        count_end(&spec.datasource, &end);
        let result = if request.success {
            "SUCCESS"
        } else {
            audit::code(&end.error)
        };
        self.audit.task("end", &spec, None, result);
        self.settle(&id, None);
        Ok(v1::Empty {})
    }

    /// A repeated call is answered as the first one was; one of another epoch is told so.
    async fn completed_before(&self, id: &TaskId, epoch: u64) -> Result<v1::Empty, RequestError> {
        match self.store.task(id.as_str()).await? {
            Some(row) if row.epoch != epoch => Err(RequestError::StaleEpoch {
                task_id: id.clone(),
                given: epoch,
                current: row.epoch,
            }),
            Some(_) => Ok(v1::Empty {}),
            None => Err(RequestError::UnknownTask(id.clone())),
        }
    }
}
