//! Submitting, listing and shutting down tasks.

use std::sync::Arc;

use sarsen_proto::v1;

use crate::error::RequestError;
use crate::ids::TaskId;
use crate::metadata::{EndedFilter, OpenTask, TaskRow};
use crate::overlord::Overlord;
use crate::queue;
use crate::state::{Phase, TaskEntry};
use crate::time::{Interval, now_ms};

/// What the state says of a task id that is submitted.
enum Known {
    New(Box<Option<queue::Dispatch>>),
    /// It is being written.
    Unfinished(tokio::sync::watch::Receiver<()>),
    Same(v1::TaskState),
    Other,
    /// Its user has too many.
    Refused(RequestError),
}

/// Whether two submissions are the same request: what the statement was planned against may differ.
fn same_request(a: &v1::TaskSpec, b: &v1::TaskSpec) -> bool {
    let request = |spec: &v1::TaskSpec| {
        let texts = [
            &spec.sql,
            &spec.context_json,
            &spec.parameters_json,
            &spec.identity,
        ];
        (texts.map(Clone::clone), spec.synchronous)
    };
    request(a) == request(b)
}

impl Overlord {
    pub(crate) async fn submit(
        self: Arc<Self>,
        request: v1::SubmitTaskRequest,
    ) -> Result<v1::SubmitTaskReply, RequestError> {
        let spec = request
            .spec
            .ok_or_else(|| RequestError::Invalid("a submission has a task spec".to_owned()))?;
        if spec.query_id.is_empty() {
            return Err(RequestError::Invalid("a task spec has a query id".to_owned()));
        }
        let caller = request.caller;
        let id = TaskId::of_query(&spec.query_id);
        let reply = |state: v1::TaskState| v1::SubmitTaskReply {
            task_id: id.as_str().to_owned(),
            state: state.into(),
        };
        let live = self.state().tasks.contains_key(&id);
        // Only ended tasks can be unknown to the state and known to the store.
        let ended = if live {
            None
        } else {
            self.store.task(id.as_str()).await?
        };
        if let Some(TaskRow { task, .. }) = ended {
            let same = task.spec.as_ref().is_some_and(|known| same_request(known, &spec));
            return if same {
                Ok(reply(task.state()))
            } else {
                Err(RequestError::TaskExists(id))
            };
        }
        loop {
            match self.admit(&id, &spec) {
                Known::New(order) => {
                    self.tell_preempted();
                    self.write_new(&id, order.as_ref().as_ref()).await?;
                    self.audit.task("submit", &spec, caller.as_ref(), "accepted");
                    let state = if order.is_some() {
                        v1::TaskState::Running
                    } else {
                        v1::TaskState::Pending
                    };
                    match *order {
                        None if self.was_canceled(&id) => {
                            Arc::clone(&self).fail(queue::canceled(id.clone())).await
                        }
                        Some(order) => drop(self.tracker.spawn(Arc::clone(&self).start(order))),
                        None => self.dispatch(),
                    }
                    return Ok(reply(state));
                }
                Known::Unfinished(mut changed) => drop(changed.changed().await),
                Known::Same(state) => return Ok(reply(state)),
                Known::Other => return Err(RequestError::TaskExists(id)),
                Known::Refused(error) => return Err(error),
            }
        }
    }

    fn admit(&self, id: &TaskId, spec: &v1::TaskSpec) -> Known {
        let mut state = self.state();
        match state.tasks.get(id) {
            Some(entry) if !entry.persisted => Known::Unfinished(entry.subscribe()),
            Some(entry) if same_request(&entry.spec, spec) => Known::Same(entry.state()),
            Some(_) => Known::Other,
            None => {
                let now = now_ms();
                let of_user = |entry: &TaskEntry| {
                    entry.spec.identity == spec.identity && matches!(entry.phase, Phase::Waiting)
                };
                let queued = state.tasks.values().filter(|entry| of_user(entry)).count();
                let may_wait = state.quotas.may_wait(u32::try_from(queued).unwrap_or(u32::MAX));
                state.submit(id, spec.clone(), now);
                let order = queue::dispatch_new(&mut state, id, now);
                if order.is_none() && !may_wait {
                    state.forget(id, now);
                    return Known::Refused(RequestError::TooManyQueued {
                        user: spec.identity.clone(),
                        most: state.quotas.queued_per_user,
                    });
                }
                Known::New(Box::new(order))
            }
        }
    }

    /// Whether a waiting task was shut down while it was being written; it is ending from now on.
    fn was_canceled(&self, id: &TaskId) -> bool {
        let mut state = self.state();
        match state.tasks.get_mut(id) {
            Some(entry) if entry.canceled && matches!(entry.phase, Phase::Waiting) => {
                entry.phase = Phase::Ending;
                true
            }
            _ => false,
        }
    }

    /// Writes a new task together with its first dispatch, so that a task that need not wait costs one commit.
    async fn write_new(
        self: &Arc<Self>,
        id: &TaskId,
        order: Option<&queue::Dispatch>,
    ) -> Result<(), RequestError> {
        let (seq, created_ms, spec) = {
            let state = self.state();
            let Some(entry) = state.tasks.get(id) else {
                return Err(RequestError::UnknownTask(id.clone()));
            };
            (entry.seq, entry.created_ms, Arc::clone(&entry.spec))
        };
        if !spec.synchronous {
            let written = self.store.insert_task(OpenTask {
                seq,
                task_id: id,
                spec: &spec,
                epoch: order.map_or(0, |order| order.epoch),
                location: order.map_or("", |order| &order.address),
                created_ms,
                started_ms: order.map_or(0, |order| order.started_ms),
            });
            if let Err(error) = written.await {
                self.settle(id, None);
                return Err(error.into());
            }
        }
        if let Some(entry) = self.state().tasks.get_mut(id) {
            entry.persisted = true;
            entry.notify();
        }
        Ok(())
    }

    pub(crate) async fn get_task(&self, task_id: &str) -> Result<v1::Task, RequestError> {
        let id = TaskId::from(task_id);
        let live = self.state().view(&id);
        match live {
            Some(task) => Ok(task),
            None => match self.store.task(task_id).await? {
                Some(row) => Ok(row.task),
                None => Err(RequestError::UnknownTask(id)),
            },
        }
    }

    pub(crate) async fn list_tasks(
        &self,
        request: v1::ListTasksRequest,
    ) -> Result<v1::TaskList, RequestError> {
        let states: Vec<v1::TaskState> = request.states().collect();
        let datasource = (!request.datasource.is_empty()).then(|| request.datasource.clone());
        let created = request.created.as_ref().map(Interval::from);
        let before = request.before;
        let wanted = |entry: &TaskEntry| {
            !entry.spec.synchronous
                && (before == 0 || entry.seq < before)
                && (states.is_empty() || states.contains(&entry.state()))
                && datasource
                    .as_ref()
                    .is_none_or(|name| *name == entry.spec.datasource)
                && created.is_none_or(|i| i.start_ms <= entry.created_ms && entry.created_ms < i.end_ms)
        };
        let mut found: Vec<(u64, v1::Task)> = {
            let state = self.state();
            let live = state
                .tasks
                .iter()
                .filter(|(_, entry)| entry.persisted && wanted(entry));
            live.filter_map(|(id, entry)| {
                Some((
                    entry.seq,
                    v1::Task {
                        spec: None,
                        ..state.view(id)?
                    },
                ))
            })
            .collect()
        };
        let filter = EndedFilter {
            states: states.clone(),
            datasource: datasource.clone(),
            created,
            max: request.max,
            before,
        };
        let ended = self.store.ended_tasks(&filter).await?;
        // One that ended between the two looks is in both: its end is the newer news.
        found.retain(|(seq, _)| !ended.iter().any(|row| row.seq == *seq));
        found.extend(ended.into_iter().map(|row| (row.seq, row.task)));
        found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        if request.max > 0 {
            found.truncate(usize::try_from(request.max).unwrap_or(usize::MAX));
        }
        Ok(v1::TaskList {
            tasks: found.into_iter().map(|(_, task)| task).collect(),
        })
    }

    pub(crate) async fn shutdown_task(
        self: Arc<Self>,
        request: v1::ShutdownTaskRequest,
    ) -> Result<v1::Empty, RequestError> {
        let v1::ShutdownTaskRequest { task_id, caller } = request;

        enum Next {
            Fail,
            Tell(String),
            Wait,
        }
        let id = TaskId::from(task_id.as_str());
        let next = {
            let mut state = self.state();
            match state.tasks.get_mut(&id) {
                Some(entry) => {
                    self.audit
                        .task("shutdown", &entry.spec, caller.as_ref(), "accepted");
                    entry.canceled = true;
                    match &entry.phase {
                        Phase::Waiting if entry.persisted => {
                            entry.phase = Phase::Ending;
                            Some(Next::Fail)
                        }
                        Phase::Running { location, .. } => Some(Next::Tell(location.clone())),
                        // Its controller will be told, or the task ended, when it is heard of or given up.
                        _ => Some(Next::Wait),
                    }
                }
                None => None,
            }
        };
        match next {
            Some(Next::Fail) => Arc::clone(&self).fail(queue::canceled(id)).await,
            Some(Next::Tell(address)) => self.cancel(&id, &address, v1::CancelCause::Unspecified).await,
            Some(Next::Wait) => {}
            None if self.store.task(&task_id).await?.is_some() => {}
            None => return Err(RequestError::UnknownTask(id)),
        }
        Ok(v1::Empty {})
    }
}
