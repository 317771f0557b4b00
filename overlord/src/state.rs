//! All that the Overlord holds in memory about tasks and nodes; behind one mutex, never held over an await.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sarsen_proto::v1;
use tokio::sync::watch;

use crate::ids::{NodeId, TaskId};
use crate::line::Line;
use crate::locks::{LockMode, LockTable, Outcome};
use crate::membership::Members;
use crate::metadata::{TaskEnd, TaskRow};
use crate::queue;
use crate::quotas::Quotas;
use crate::rank::Rank;
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
    /// A task of higher priority has taken its locks: it publishes nothing, and is about to end.
    pub preempted: bool,
    /// False until it is in the store, if it belongs there; nothing is done with it before.
    pub persisted: bool,
    /// Worker tasks that it was given slots for, in that order.
    pub workers: Vec<v1::WorkerTask>,
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
            preempted: false,
            persisted: false,
            workers: Vec::new(),
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

    /// Its place in every line.
    pub fn rank(&self) -> Rank {
        Rank::new(self.spec.priority, self.created_ms, self.seq)
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
    /// Calls that wait for slots.
    pub line: Line,
    pub quotas: Quotas,
    /// Tasks that have lost their locks while they ran, and were not told yet.
    preempted: Vec<TaskId>,
    /// When the last task ended that held a slot, by node.
    completed: HashMap<NodeId, i64>,
    next_seq: u64,
}

impl State {
    /// Without tasks.
    pub fn of(members: Members, quotas: Quotas) -> State {
        State {
            members,
            quotas,
            ..State::default()
        }
    }

    /// Forgets all, and starts from the tasks that the store knows as not ended.
    pub fn restart(&mut self, next_seq: u64, open: Vec<TaskRow>, now: Instant, now_ms: i64) {
        let mut members = std::mem::take(&mut self.members);
        members.clear();
        // Calls that wait for slots stay: they are refused when their turn comes, or served.
        let line = std::mem::take(&mut self.line);
        *self = State::of(members, self.quotas);
        self.line = line;
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
            // In the order of their submission: who held a lock before holds it again, and who took it away takes it again.
            self.add(id, entry, now_ms);
        }
    }

    /// Adds a new task with its locks, or its place in the line for them.
    pub fn submit(&mut self, id: &TaskId, spec: v1::TaskSpec, now_ms: i64) {
        self.next_seq += 1;
        let entry = TaskEntry::new(self.next_seq - 1, Arc::new(spec), now_ms);
        self.add(id.clone(), entry, now_ms);
    }

    fn add(&mut self, id: TaskId, mut entry: TaskEntry, now_ms: i64) {
        let (mode, spec) = (LockMode::of(&entry.spec), Arc::clone(&entry.spec));
        let rank = entry.rank();
        if mode.is_none() {
            entry.locked_ms = Some(now_ms);
        }
        self.tasks.insert(id.clone(), entry);
        if let Some(mode) = mode {
            let outcome = self
                .locks
                .request(id, &spec.datasource, mode, spec.priority, rank);
            self.apply(outcome, now_ms);
        }
    }

    /// Takes note of what a change of the locks changed for tasks.
    fn apply(&mut self, outcome: Outcome, now_ms: i64) {
        let mut outcomes = vec![outcome];
        while let Some(Outcome { granted, revoked }) = outcomes.pop() {
            for task in granted {
                if let Some(entry) = self.tasks.get_mut(&task) {
                    entry.locked_ms = Some(now_ms);
                }
            }
            for task in revoked {
                let Some(entry) = self.tasks.get_mut(&task) else {
                    continue;
                };
                entry.locked_ms = None;
                match entry.phase {
                    // Nothing that it did is lost.
                    Phase::Waiting => outcomes.push(self.locks.wait_again(&task, &entry.spec.datasource)),
                    Phase::Recovering { .. } | Phase::Running { .. } => {
                        entry.preempted = true;
                        self.preempted.push(task);
                    }
                    Phase::Ending | Phase::Ended { .. } => {}
                }
            }
        }
    }

    /// Tasks that have lost their locks since this was last asked, and where they run.
    pub fn take_preempted(&mut self) -> Vec<(TaskId, String)> {
        let preempted = std::mem::take(&mut self.preempted);
        let place = |task: TaskId| match &self.tasks.get(&task)?.phase {
            Phase::Running { location, .. } => Some((task, location.clone())),
            _ => None,
        };
        preempted.into_iter().filter_map(place).collect()
    }

    /// A publish of a task begins: nobody takes its locks any more. False when it does not hold them.
    pub fn begin_publish(&mut self, id: &TaskId) -> bool {
        let Some(entry) = self.tasks.get(id) else {
            return false;
        };
        let datasource = entry.spec.datasource.clone();
        self.locks.begin_publish(id, &datasource)
    }

    /// A publish was refused.
    pub fn end_publish(&mut self, id: &TaskId, now_ms: i64) {
        let Some(entry) = self.tasks.get(id) else { return };
        let datasource = entry.spec.datasource.clone();
        let outcome = self.locks.end_publish(id, &datasource);
        self.apply(outcome, now_ms);
    }

    /// Gives back all that a task holds; those that waited for its locks hold them now.
    pub fn release(&mut self, id: &TaskId, now_ms: i64) {
        let nodes: Vec<NodeId> = self.slots.held_by(id).map(|(_, node)| node.clone()).collect();
        self.completed.retain(|node, _| self.members.get(node).is_some());
        self.completed
            .extend(nodes.into_iter().map(|node| (node, now_ms)));
        self.slots.release_task(id);
        let Some(entry) = self.tasks.get(id) else { return };
        let datasource = entry.spec.datasource.clone();
        let outcome = self.locks.release(id, &datasource);
        self.apply(outcome, now_ms);
    }

    /// Forgets a task altogether.
    pub fn forget(&mut self, id: &TaskId, now_ms: i64) {
        self.release(id, now_ms);
        if let Some(entry) = self.tasks.remove(id) {
            entry.notify();
        }
    }

    /// Takes note of a slot that a task was given afresh.
    pub fn begin_worker(&mut self, id: &TaskId, worker: u32, location: &str, now_ms: i64) {
        let Some(entry) = self.tasks.get_mut(id) else {
            return;
        };
        let before = entry.workers.iter_mut().filter(|known| known.worker == worker);
        let attempt = before
            .map(|known| {
                if known.replaced_ms == 0 {
                    known.replaced_ms = now_ms;
                }
                known.attempt + 1
            })
            .max();
        entry.workers.push(v1::WorkerTask {
            worker,
            attempt: attempt.unwrap_or(0),
            location: location.to_owned(),
            created_ms: now_ms,
            replaced_ms: 0,
        });
    }

    /// Ids of the worker tasks that hold slots, by node.
    pub fn running_workers(&self) -> HashMap<String, Vec<String>> {
        let mut running: HashMap<String, Vec<String>> = HashMap::new();
        for (task, worker, node) in self.slots.all() {
            let runs = self.tasks.get(task).map(|entry| entry.workers.as_slice());
            let of_number = runs.unwrap_or_default().iter().rev();
            let attempt = of_number.clone().find(|run| run.worker == worker);
            let attempt = attempt.map_or(0, |run| run.attempt);
            let ids = running.entry(node.as_str().to_owned()).or_default();
            ids.push(format!("{task}-worker{worker}_{attempt}"));
        }
        running.values_mut().for_each(|ids| ids.sort());
        running
    }

    /// When the last task ended that held a slot of a node; 0: never.
    pub fn last_completed(&self, node: &str) -> i64 {
        self.completed.get(&NodeId::from(node)).copied().unwrap_or(0)
    }

    /// Why a task can have no workers, however many slots come free.
    fn waiting_for(&self, id: &TaskId) -> Option<String> {
        self.line.pool_of(id)?.missing(&self.members.workers())
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
            waiting_for: self.waiting_for(id).unwrap_or_default(),
            workers: entry.workers.clone(),
            seq: entry.seq,
        })
    }
}
