//! Talking to controllers: giving them tasks, asking what they run, ending tasks that nobody runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sarsen_proto::membership::MAX_MESSAGE_BYTES;
use sarsen_proto::transport::VersionedChannel;
use sarsen_proto::v1;
use sarsen_proto::v1::controller_client::ControllerClient;
use tonic::{Code, Status};

use crate::audit;
use crate::handler::completion::SYNCHRONOUS_KEPT;
use crate::ids::{NodeId, TaskId};
use crate::metadata::{StoreError, TaskEnd};
use crate::observed::{count_end, seconds};
use crate::overlord::Overlord;
use crate::queue::{self, Dispatch, Failure};
use crate::state::Phase;
use crate::time::now_ms;

const START_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// What a controller is told for a task that was shut down.
const CANCEL_REASON: &str = "Query canceled by user or by task shutdown.";

/// And for one that has lost its locks.
const PREEMPT_REASON: &str = "Insert lock preempted by a higher-priority ingestion job";

impl Overlord {
    /// A client of the controller at an address.
    pub(crate) fn controller(&self, address: &str) -> Result<ControllerClient<VersionedChannel>, Status> {
        let channel = self
            .network
            .channel(address)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let client = ControllerClient::new(channel);
        Ok(client
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// Gives out all tasks that can be given out; called after everything that may have made one possible.
    pub(crate) fn dispatch(self: &Arc<Self>) {
        if self.shutdown.is_cancelled() {
            return;
        }
        self.tell_preempted();
        let orders = queue::dispatch(&mut self.state(), now_ms());
        for order in orders {
            let this = Arc::clone(self);
            self.tracker.spawn(async move {
                if this.record(&order).await {
                    this.start(order).await;
                }
            });
        }
    }

    /// Ends tasks at their controllers that have lost their locks.
    pub(crate) fn tell_preempted(self: &Arc<Self>) {
        let preempted = self.state().take_preempted();
        for (task, address) in preempted {
            tracing::info!(%task, address, "a task of higher priority takes its locks");
            let this = Arc::clone(self);
            let told = async move { this.cancel(&task, &address, v1::CancelCause::LockPreempted).await };
            self.tracker.spawn(told);
        }
    }

    /// The store learns of a dispatch before the controller does, so that a later Overlord knows the epoch.
    async fn record(self: &Arc<Self>, order: &Dispatch) -> bool {
        if order.spec.synchronous {
            return true;
        }
        let Dispatch {
            task,
            epoch,
            address,
            started_ms,
            ..
        } = order;
        match self
            .store
            .record_dispatch(task, *epoch, address, *started_ms, &order.spec)
            .await
        {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%task, %error, "cannot record a dispatch, will try again");
                let mut state = self.state();
                if let Some(entry) = state.tasks.get_mut(task).filter(|entry| entry.epoch == *epoch) {
                    entry.phase = Phase::Waiting;
                }
                false
            }
        }
    }

    /// Calls the controller.
    pub(crate) async fn start(self: Arc<Self>, order: Dispatch) {
        let checkpoint = match order.epoch > 1 {
            true => self.store.checkpoint(&order.task).await.unwrap_or_else(|error| {
                tracing::warn!(task = %order.task, %error, "the checkpoint cannot be read");
                Vec::new()
            }),
            false => Vec::new(),
        };
        let request = v1::StartTaskRequest {
            task_id: order.task.as_str().to_owned(),
            epoch: order.epoch,
            spec: Some(order.spec.as_ref().clone()),
            resumed: order.epoch > 1,
            checkpoint: checkpoint.into(),
        };
        let call = async { self.controller(&order.address)?.start_task(request).await };
        let status = match tokio::time::timeout(START_TIMEOUT, call).await {
            Ok(Ok(_)) => {
                tracing::info!(task = %order.task, epoch = order.epoch, at = order.address, "task started");
                self.count_start(&order);
                return self.cancel_if_asked(&order).await;
            }
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("the controller did not take the task in time"),
        };
        tracing::warn!(task = %order.task, at = order.address, %status, "a controller did not take its task");
        let failure = {
            let mut state = self.state();
            state.members.suspect(&order.node);
            let given = state.tasks.get(&order.task).is_some_and(|entry| {
                let here = matches!(&entry.phase, Phase::Running { node, .. } if *node == order.node);
                here && entry.epoch == order.epoch
            });
            if given && status.code() == Code::Aborted {
                queue::hand_back(&mut state, &order.task)
            } else if given {
                queue::lose(&mut state, &order.task)
            } else {
                None
            }
        };
        self.fail_all(failure);
        self.dispatch();
    }

    fn count_start(&self, order: &Dispatch) {
        let created_ms = self.state().tasks.get(&order.task).map(|entry| entry.created_ms);
        if let Some(created_ms) = created_ms.filter(|_| order.epoch == 1) {
            let datasource = order.spec.datasource.clone();
            metrics::histogram!("druid_task_pending_time", "dataSource" => datasource)
                .record(seconds(order.started_ms - created_ms));
        }
    }

    /// A shutdown that came while the task was on its way to the controller.
    async fn cancel_if_asked(&self, order: &Dispatch) {
        let cause = self.state().tasks.get(&order.task).and_then(|entry| {
            let preempted = entry.preempted.then_some(v1::CancelCause::LockPreempted);
            entry
                .canceled
                .then_some(v1::CancelCause::Unspecified)
                .or(preempted)
        });
        if let Some(cause) = cause {
            self.cancel(&order.task, &order.address, cause).await;
        }
    }

    /// Tells a controller to end a task; it answers with CompleteTask. One that cannot be reached is lost soon.
    pub(crate) async fn cancel(&self, task: &TaskId, address: &str, cause: v1::CancelCause) {
        let reason = match cause {
            v1::CancelCause::Unspecified => CANCEL_REASON,
            v1::CancelCause::LockPreempted => PREEMPT_REASON,
        };
        let request = v1::CancelTaskRequest {
            task_id: task.as_str().to_owned(),
            reason: reason.to_owned(),
            cause: cause.into(),
        };
        let call = async { self.controller(address)?.cancel_task(request).await };
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => {
                tracing::warn!(%task, address, %status, "cannot cancel a task at its controller")
            }
            Err(_) => tracing::warn!(%task, address, "a controller did not answer a cancel in time"),
        }
    }

    /// Asks a controller that joined what it runs; it is given nothing before it has answered.
    pub(crate) async fn adopt(self: Arc<Self>, node: v1::Node) {
        let id = NodeId::from(node.node_id.as_str());
        let call = async { self.controller(&node.address)?.list_running(v1::Empty {}).await };
        let running = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(running)) => running.into_inner().tasks,
            Ok(Err(status)) => {
                tracing::warn!(address = node.address, %status, "a controller does not tell what it runs");
                return self.state().members.listing_failed(&id);
            }
            Err(_) => return self.state().members.listing_failed(&id),
        };
        let adoption = {
            let mut state = self.state();
            state.members.listed(&id);
            queue::adopt(&mut state, &id, &node.address, &running)
        };
        self.fail_all(adoption.failures);
        self.dispatch();
        for task in adoption.strangers.iter().chain(&adoption.canceled) {
            self.cancel(task, &node.address, v1::CancelCause::Unspecified)
                .await;
        }
        for task in &adoption.preempted {
            self.cancel(task, &node.address, v1::CancelCause::LockPreempted)
                .await;
        }
    }

    /// Ends tasks that no controller will end.
    pub(crate) fn fail_all(self: &Arc<Self>, failures: impl IntoIterator<Item = Failure>) {
        for failure in failures {
            self.tracker.spawn(Arc::clone(self).fail(failure));
        }
    }

    /// Ends one; goes on until the store has it.
    pub(crate) async fn fail(self: Arc<Self>, failure: Failure) {
        let Failure { task, message } = failure;
        let (started_ms, spec, workers) = {
            let state = self.state();
            let Some(entry) = state.tasks.get(&task) else {
                return;
            };
            self.audit.task("end", &entry.spec, None, "FAILED");
            (entry.started_ms, Arc::clone(&entry.spec), entry.workers.clone())
        };
        let duration_ms = if started_ms == 0 { 0 } else { now_ms() - started_ms };
        tracing::info!(%task, code = audit::code(&message), "task failed");
        let end = TaskEnd {
            state: v1::TaskState::Failed,
            started_ms,
            duration_ms,
            error: message,
            workers,
        };
        if spec.synchronous {
            let forget_at = Instant::now() + SYNCHRONOUS_KEPT;
            return self.settle(
                &task,
                Some(Phase::Ended {
                    end,
                    report: Box::default(),
                    forget_at,
                }),
            );
        }
        while let Err(error) = self.store.finish_task(&task, None, &end).await {
            tracing::error!(%task, %error, "cannot write a task's end, will try again");
            if matches!(error, StoreError::Fenced { .. }) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_PAUSE) => {}
                () = self.shutdown.cancelled() => return,
            }
        }
        count_end(&spec.datasource, &end);
        self.settle(&task, None);
    }
}
