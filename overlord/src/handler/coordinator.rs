//! What Druid's Coordinator is asked for: segments, workers, locks, stored configurations, logs of tasks.

use std::sync::Arc;
use std::time::Duration;

use sarsen_proto::v1;
use sarsen_proto::v1::mark_segments_request::Scope;

use crate::audit::Entry;
use crate::error::RequestError;
use crate::ids::TaskId;
use crate::metadata::MarkScope;
use crate::overlord::Overlord;
use crate::state::Phase;
use crate::time::Interval;

const LIVE_LOG_TIMEOUT: Duration = Duration::from_secs(5);

fn scope_of(scope: Option<Scope>) -> Result<MarkScope, RequestError> {
    let invalid = |words: &str| RequestError::Invalid(words.to_owned());
    match scope {
        Some(Scope::All(_)) => Ok(MarkScope::All),
        Some(Scope::Ids(ids)) => Ok(MarkScope::Ids(ids.ids)),
        Some(Scope::Interval(within)) => Ok(MarkScope::Within {
            interval: within
                .interval
                .as_ref()
                .map(Interval::from)
                .ok_or_else(|| invalid("segments to mark are in an interval"))?,
            versions: within.by_version.then_some(within.versions),
        }),
        None => Err(invalid("a call says which segments it marks")),
    }
}

impl Overlord {
    pub(crate) fn get_cluster(&self) -> v1::ClusterState {
        let state = self.state();
        let mut running = state.running_workers();
        let workers = state.members.all().into_iter();
        let workers = workers.filter(|node| node.role() == v1::Role::Worker);
        v1::ClusterState {
            leader: self.address.clone(),
            workers: workers
                .map(|node| v1::WorkerState {
                    running: running.remove(node.node_id.as_str()).unwrap_or_default(),
                    last_completed_ms: state.last_completed(&node.node_id),
                    node: Some(node),
                })
                .collect(),
        }
    }

    pub(crate) fn list_locks(&self) -> v1::TaskLockList {
        let locks = self.state().locks.held();
        v1::TaskLockList { locks }
    }

    pub(crate) async fn mark_segments(
        self: Arc<Self>,
        request: v1::MarkSegmentsRequest,
    ) -> Result<v1::MarkSegmentsReply, RequestError> {
        let scope = scope_of(request.scope)?;
        let datasource = request.datasource.as_str();
        let changed = if request.used {
            self.store.mark_used(datasource, &scope).await
        } else {
            self.store.mark_unused(datasource, &scope).await
        };
        let result = changed
            .as_ref()
            .map_or_else(ToString::to_string, |changed| format!("ok: {changed} segments"));
        let detail = match &scope {
            MarkScope::All => "all".to_owned(),
            MarkScope::Within { interval, .. } => interval.to_string(),
            MarkScope::Ids(ids) => format!("{} ids", ids.len()),
        };
        let caller = request.caller.unwrap_or_default();
        self.audit.record(&Entry {
            action: if request.used {
                "segment.markUsed"
            } else {
                "segment.markUnused"
            },
            identity: &caller.identity,
            remote: &caller.remote,
            datasource,
            detail: &detail,
            result: &result,
            ..Entry::default()
        });
        Ok(v1::MarkSegmentsReply { changed: changed? })
    }

    pub(crate) async fn put_configs(
        self: Arc<Self>,
        request: v1::PutConfigsRequest,
    ) -> Result<v1::Empty, RequestError> {
        let done = self.store.put_configs(&request).await;
        let keys: Vec<&str> = request.changes.iter().map(|change| change.key.as_str()).collect();
        let caller = request.caller.clone().unwrap_or_default();
        let result = done
            .as_ref()
            .map_or_else(ToString::to_string, |()| "ok".to_owned());
        self.audit.record(&Entry {
            action: &format!("config.{}", request.kind),
            identity: &caller.identity,
            remote: &caller.remote,
            detail: &keys.join(", "),
            result: &result,
            ..Entry::default()
        });
        done?;
        Ok(v1::Empty {})
    }

    /// From the controller that runs it, or as it was kept at its end.
    pub(crate) async fn get_task_log(
        &self,
        request: v1::TaskLogRequest,
    ) -> Result<v1::TaskLog, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let controller = {
            let state = self.state();
            match state.tasks.get(&id).map(|entry| &entry.phase) {
                Some(Phase::Running { location, .. } | Phase::Recovering { location, .. }) => {
                    Some(location.clone())
                }
                _ => None,
            }
        };
        if let Some(address) = controller {
            let request = v1::TaskRequest {
                task_id: request.task_id,
            };
            let call = async { self.controller(&address)?.get_live_log(request).await };
            if let Ok(Ok(log)) = tokio::time::timeout(LIVE_LOG_TIMEOUT, call).await {
                return Ok(log.into_inner());
            }
        }
        let kept = self.reports.log(&id).await?;
        Ok(v1::TaskLog {
            found: kept.is_some(),
            text: kept.unwrap_or_default(),
        })
    }
}
