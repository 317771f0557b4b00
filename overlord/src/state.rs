//! All that the Overlord holds in memory about tasks and nodes; behind one mutex, never held over an await.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sarsen_proto::v1;
use tokio::sync::watch;

use crate::ids::{NodeId, TaskId};
use crate::locks::{LockMode, LockTable};
use crate::membership::Members;
use crate::metadata::{TaskEnd, TaskRow};
use crate::queue;
use crate::slots::SlotTable;

/// How long after a restart the controller of a task may take to show up.
pub const RECOVERY_GRACE: Duration = Duration::from_secs(10);

/// Where a task stands.
#[derive(Debug)]
pub enum Phase {
    /// For its locks, or for a controller with room.
    Waiting,
    /// Was given to the controller at this address before this Overlord started, and has not been heard of.
    Recovering { location: String, until: Instant },
    /// Given to a controller.
    Running { node: NodeId, location: String },
    /// Its end is being written.
    Ending,
    /// Only of synchronous tasks: the others are in the store from then on.
    Ended {
        end: TaskEnd,
        report: Box<v1::Report>,
        forget_at: Instant,
    },
}

/// A task that has not ended, or a synchronous one that ended just now.
#[derive(Debug)]
pub struct TaskEntry {
    pub seq: u64,
    pub spec: Arc<v1::TaskSpec>,
    pub created_ms: i64,
    /// 0 before a controller took it.
    pub started_ms: i64,
    pub phase: Phase,
    /// Of the last dispatch; 0 before the first.
    pub epoch: u64,
    pub redispatches: u32,
    /// `None` while it waits for its locks.
    pub locked_ms: Option<i64>,
    /// Someone asked for its end.
    pub canceled: bool,
    /// False until it is in the store, if it belongs there; nothing is done with it before.
    pub persisted: bool,
    changed: watch::Sender<()>,
}

impl TaskEntry {
    fn new(seq: u64, spec: Arc<v1::TaskSpec>, created_ms: i64) -> Self {
        TaskEntry {
            seq,
            spec,
            created_ms,
            started_ms: 0,
            phase: Phase::Waiting,
            epoch: 0,
            redispatches: 0,
            locked_ms: None,
            canceled: false,
            persisted: false,
            changed: watch::channel(()).0,
        }
    }

    /// Told of each change of its phase; closed once the task is forgotten.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn notify(&self) {
        self.changed.send_replace(());
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// State as users see it: a task that lost its controller still runs.
    pub fn state(&self) -> v1::TaskState {
        match &self.phase {
            Phase::Waiting if self.epoch == 0 => v1::TaskState::Pending,
            Phase::Waiting | Phase::Recovering { .. } | Phase::Running { .. } | Phase::Ending => {
                v1::TaskState::Running
            }
            Phase::Ended { end, .. } => end.state,
        }
    }
}

/// Everything in memory.
#[derive(Debug, Default)]
pub struct State {
    pub members: Members,
    pub slots: SlotTable,
    pub locks: LockTable,
    pub tasks: HashMap<TaskId, TaskEntry>,
    /// Calls that wait for slots, by their task's number: (number, ticket, fewest slots that the task would hold with
    /// what it asks for).
    pub acquiring: BTreeSet<(u64, u64, u32)>,
    next_seq: u64,
    next_ticket: u64,
}

impl State {
    /// Without tasks.
    pub fn of(members: Members) -> State {
        State {
            members,
            ..State::default()
        }
    }

    /// Forgets all, and starts from the tasks that the store knows as not ended.
    pub fn restart(&mut self, next_seq: u64, open: Vec<TaskRow>, now: Instant, now_ms: i64) {
        let mut members = std::mem::take(&mut self.members);
        members.clear();
        *self = State::of(members);
        self.next_seq = next_seq;
        for row in open {
            let id = TaskId::from(row.task.task_id.as_str());
            let spec = Arc::new(row.task.spec.unwrap_or_default());
            let mut entry = TaskEntry::new(row.seq, spec, row.task.created_ms);
            entry.started_ms = row.task.started_ms;
            entry.epoch = row.epoch;
            entry.persisted = true;
            if !row.task.location.is_empty() {
                entry.phase = Phase::Recovering {
                    location: row.task.location,
                    until: now + RECOVERY_GRACE,
                };
            }
            // In the order of their submission: who held a lock before holds it again.
            self.take_locks(&id, &mut entry, now_ms);
            self.tasks.insert(id, entry);
        }
    }

    /// Adds a new task with its locks, or its place in the line for them.
    pub fn submit(&mut self, id: &TaskId, spec: v1::TaskSpec, now_ms: i64) {
        self.next_seq += 1;
        let mut entry = TaskEntry::new(self.next_seq - 1, Arc::new(spec), now_ms);
        self.take_locks(id, &mut entry, now_ms);
        self.tasks.insert(id.clone(), entry);
    }

    fn take_locks(&mut self, id: &TaskId, entry: &mut TaskEntry, now_ms: i64) {
        let granted = match LockMode::of(&entry.spec) {
            Some(mode) => self.locks.request(id.clone(), &entry.spec.datasource, mode),
            None => true,
        };
        entry.locked_ms = granted.then_some(now_ms);
    }

    /// Gives back all that a task holds; those that waited for its locks hold them now.
    pub fn release(&mut self, id: &TaskId, now_ms: i64) {
        self.slots.release_task(id);
        let Some(entry) = self.tasks.get(id) else { return };
        let datasource = entry.spec.datasource.clone();
        for granted in self.locks.release(id, &datasource) {
            if let Some(entry) = self.tasks.get_mut(&granted) {
                entry.locked_ms = Some(now_ms);
            }
        }
    }

    /// Forgets a task altogether.
    pub fn forget(&mut self, id: &TaskId, now_ms: i64) {
        self.release(id, now_ms);
        if let Some(entry) = self.tasks.remove(id) {
            entry.notify();
        }
    }

    /// A ticket in the line for slots.
    pub fn take_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// A task as users see it.
    pub fn view(&self, id: &TaskId) -> Option<v1::Task> {
        let entry = self.tasks.get(id)?;
        let (location, duration_ms, error_message) = match &entry.phase {
            Phase::Running { location, .. } | Phase::Recovering { location, .. } => {
                (location.clone(), -1, String::new())
            }
            Phase::Waiting | Phase::Ending => (String::new(), -1, String::new()),
            Phase::Ended { end, .. } => (String::new(), end.duration_ms, end.error.clone()),
        };
        Some(v1::Task {
            task_id: id.as_str().to_owned(),
            state: entry.state().into(),
            created_ms: entry.created_ms,
            started_ms: entry.started_ms,
            duration_ms,
            datasource: entry.spec.datasource.clone(),
            location,
            error_message,
            spec: Some(entry.spec.as_ref().clone()),
            queue_position: queue::position(self, id),
        })
    }
}
