//! What the handlers share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sarsen_kernel::secret::Secret;
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::AuditLog;
use crate::error::RequestError;
use crate::handler::workers::Caller;
use crate::ids::{NodeId, TaskId};
use crate::line::Ticket;
use crate::metadata::Store;
use crate::queue;
use crate::reports::Reports;
use crate::state::{Phase, State, TaskEntry};
use crate::time::now_ms;

/// How often deaths and overdue tasks are looked for; nothing else waits for it.
const SWEEP: Duration = Duration::from_millis(250);

/// The Overlord of one process.
#[derive(Debug)]
pub(crate) struct Overlord {
    pub(crate) id: String,
    /// Where others reach it.
    pub(crate) address: String,
    state: Mutex<State>,
    pub(crate) store: Store,
    pub(crate) reports: Reports,
    pub(crate) network: Network,
    /// Calls that wait for slots, by their tickets in the line.
    pub(crate) callers: Mutex<HashMap<Ticket, Caller>>,
    pub(crate) audit: AuditLog,
    /// Of the administrator that is made when there is none.
    pub(crate) initial_admin_password: Option<Secret>,
    pub(crate) tracker: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// What [`Overlord::new`] takes of the security's options.
#[derive(Debug)]
pub(crate) struct Security {
    pub(crate) audit: AuditLog,
    pub(crate) initial_admin_password: Option<Secret>,
}

impl Overlord {
    pub(crate) fn new(
        state: State,
        store: Store,
        reports: Reports,
        (network, address): (Network, String),
        security: Security,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Overlord {
            id: uuid::Uuid::new_v4().to_string(),
            address,
            state: Mutex::new(state),
            store,
            reports,
            network,
            callers: Mutex::default(),
            audit: security.audit,
            initial_admin_password: security.initial_admin_password,
            tracker: TaskTracker::new(),
            shutdown,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a handler that changes things to its end even when its caller goes away in the middle.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        handler: impl Future<Output = Result<T, RequestError>> + Send + 'static,
    ) -> Result<T, RequestError> {
        let done = self.tracker.spawn(handler).await;
        done.unwrap_or_else(|error| Err(RequestError::Internal(error.to_string())))
    }

    /// What a controller may ask for its task: only the one of the current epoch.
    pub(crate) fn fence<'a>(
        state: &'a mut State,
        task: &TaskId,
        epoch: u64,
    ) -> Result<&'a mut TaskEntry, RequestError> {
        let Some(entry) = state.tasks.get_mut(task) else {
            return Err(RequestError::UnknownTask(task.clone()));
        };
        // 0 is no epoch: nobody was given the task yet.
        if entry.epoch != epoch || epoch == 0 {
            return Err(RequestError::StaleEpoch {
                task_id: task.clone(),
                given: epoch,
                current: entry.epoch,
            });
        }
        match entry.phase {
            // Waiting: its controller was thought dead and is not.
            Phase::Running { .. } | Phase::Recovering { .. } | Phase::Waiting => Ok(entry),
            Phase::Ending | Phase::Ended { .. } => Err(RequestError::TaskEnded(task.clone())),
        }
    }

    /// Takes note that processes are gone.
    pub(crate) fn bury(self: &Arc<Self>, dead: &[v1::Node]) {
        for node in dead {
            tracing::warn!(node = node.node_id, address = node.address, role = ?node.role(), "node is gone");
            self.part_with(node, queue::lose_controller);
        }
        if !dead.is_empty() {
            self.grant();
        }
    }

    /// Gives up what a process had that is no member any more; `tasks` says what becomes of a controller's.
    pub(crate) fn part_with(
        self: &Arc<Self>,
        node: &v1::Node,
        tasks: fn(&mut State, &NodeId) -> Vec<queue::Failure>,
    ) {
        self.network.forget(&node.address);
        let id = NodeId::from(node.node_id.as_str());
        let failures = {
            let mut state = self.state();
            state.slots.drop_node(&id);
            tasks(&mut state, &id)
        };
        self.fail_all(failures);
    }

    /// Looks for deaths and overdue tasks until the shutdown.
    pub(crate) async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shutdown.cancelled() => return,
            }
            let now = Instant::now();
            let (dead, failures) = {
                let mut state = self.state();
                let dead = state.members.sweep(now);
                let mut failures = queue::expire_recovery(&mut state, now);
                failures.extend(queue::expire_waiting(&mut state, now_ms()));
                let old = |entry: &TaskEntry| matches!(entry.phase, Phase::Ended { forget_at, .. } if forget_at <= now);
                state.tasks.retain(|_, entry| !old(entry));
                (dead, failures)
            };
            self.bury(&dead);
            self.fail_all(failures);
            self.dispatch();
        }
    }

    /// Gives back all that a task held, once its end is written, and lets others go on.
    pub(crate) fn settle(self: &Arc<Self>, task: &TaskId, ended: Option<Phase>) {
        {
            let mut state = self.state();
            let now = now_ms();
            match ended {
                None => state.forget(task, now),
                Some(phase) => {
                    state.release(task, now);
                    if let Some(entry) = state.tasks.get_mut(task) {
                        entry.phase = phase;
                        entry.notify();
                    }
                }
            }
        }
        self.grant();
        self.dispatch();
    }
}
