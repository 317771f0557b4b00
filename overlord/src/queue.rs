//! Which waiting task goes to which controller, and what becomes of tasks that lost theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sarsen_proto::v1;

use crate::ids::{NodeId, TaskId};
use crate::pool::Pool;
use crate::quotas;
use crate::slots::WorkerNode;
use crate::state::{Phase, State, TaskEntry};

/// How often a task is given to another controller.
pub const MAX_REDISPATCHES: u32 = 3;

/// A task to be given to a controller.
#[derive(Debug, Clone)]
pub struct Dispatch {
    pub task: TaskId,
    pub epoch: u64,
    pub node: NodeId,
    pub address: String,
    pub started_ms: i64,
    pub spec: Arc<v1::TaskSpec>,
}

/// A task to be ended by the Overlord itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub task: TaskId,
    pub message: String,
}

/// What a canceled task says.
pub fn canceled(task: TaskId) -> Failure {
    Failure {
        task,
        message: "Canceled: Query canceled by user or by task shutdown.".to_owned(),
    }
}

/// What a task says whose locks were taken by one of higher priority.
pub fn preempted(task: TaskId) -> Failure {
    Failure {
        task,
        message: "InsertLockPreempted: Insert lock preempted by a higher-priority ingestion job".to_owned(),
    }
}

/// What a synchronous statement says whose turn did not come in time.
fn timed_out(task: TaskId) -> Failure {
    Failure {
        task,
        message: "Canceled: Query timed out".to_owned(),
    }
}

fn is_ready(entry: &TaskEntry) -> bool {
    entry.persisted && matches!(entry.phase, Phase::Waiting) && entry.locked_ms.is_some()
}

/// Tasks that each controller has.
fn load(state: &State) -> HashMap<NodeId, u32> {
    let mut load = HashMap::new();
    for entry in state.tasks.values() {
        if let Phase::Running { node, .. } = &entry.phase {
            *load.entry(node.clone()).or_insert(0) += 1;
        }
    }
    load
}

/// The controller with room and the fewest tasks. While workers that will do are of a controller's version, it is one of
/// these: a query runs on processes of its controller's version only.
fn pick(
    state: &State,
    load: &HashMap<NodeId, u32>,
    workers: &[WorkerNode],
    spec: &v1::TaskSpec,
) -> Option<(NodeId, String)> {
    let tasks = |id: &NodeId| load.get(id).copied().unwrap_or(0);
    let pool = Pool::of(None, &spec.worker_labels);
    let any_served = is_served(state, &pool, workers);
    state
        .members
        .controllers()
        .filter(|(id, node)| tasks(id) < node.slots && (!any_served || pool.serves(node, workers)))
        .min_by_key(|(id, _)| (tasks(id), *id))
        .map(|(id, node)| (id.clone(), node.address.clone()))
}

/// Whether any controller could take another task.
fn has_room(state: &State, load: &HashMap<NodeId, u32>) -> bool {
    let mut controllers = state.members.controllers();
    controllers.any(|(id, node)| load.get(id).copied().unwrap_or(0) < node.slots)
}

fn assign(state: &mut State, task: &TaskId, node: NodeId, address: String, now_ms: i64) -> Option<Dispatch> {
    let entry = state.tasks.get_mut(task)?;
    entry.epoch += 1;
    if entry.started_ms == 0 {
        entry.started_ms = now_ms;
    }
    entry.phase = Phase::Running {
        node: node.clone(),
        location: address.clone(),
    };
    entry.notify();
    let (epoch, started_ms, spec) = (entry.epoch, entry.started_ms, Arc::clone(&entry.spec));
    Some(Dispatch {
        task: task.clone(),
        epoch,
        node,
        address,
        started_ms,
        spec,
    })
}

/// Gives waiting tasks to controllers with room, by rank and within their users' quotas; the state holds them as running
/// from now on.
pub fn dispatch(state: &mut State, now_ms: i64) -> Vec<Dispatch> {
    let mut ready: Vec<_> = state
        .tasks
        .iter()
        .filter(|(_, entry)| is_ready(entry))
        .map(|(id, e)| (e.rank(), id.clone()))
        .collect();
    if ready.is_empty() {
        return Vec::new();
    }
    ready.sort();
    let mut load = load(state);
    let mut running = quotas::count(state.tasks.values(), quotas::runs);
    let workers = state.members.workers();
    let mut orders = Vec::new();
    for (_, task) in ready {
        if !has_room(state, &load) {
            break;
        }
        let Some(spec) = state.tasks.get(&task).map(|entry| Arc::clone(&entry.spec)) else {
            continue;
        };
        let of_user = running.entry(spec.identity.clone()).or_default();
        if !state.quotas.may_run(*of_user) {
            continue;
        }
        let Some((node, address)) = pick(state, &load, &workers, &spec) else {
            continue;
        };
        *load.entry(node.clone()).or_insert(0) += 1;
        *of_user += 1;
        orders.extend(assign(state, &task, node, address, now_ms));
    }
    orders
}

/// The same for one task that was submitted just now, and is not in the store yet: it needs nobody's turn, since a
/// task that could run would be running.
pub fn dispatch_new(state: &mut State, task: &TaskId, now_ms: i64) -> Option<Dispatch> {
    let entry = state.tasks.get(task)?;
    entry.locked_ms?;
    let user = &entry.spec.identity;
    let of_user = |other: &TaskEntry| quotas::runs(other) && other.spec.identity == *user;
    let running = state.tasks.values().filter(|other| of_user(other)).count();
    if !state.quotas.may_run(u32::try_from(running).unwrap_or(u32::MAX)) {
        return None;
    }
    let (node, address) = pick(state, &load(state), &state.members.workers(), &entry.spec)?;
    assign(state, task, node, address, now_ms)
}

/// A controller cannot run its task (any more): the task waits for another one, or ends.
pub fn lose(state: &mut State, task: &TaskId) -> Option<Failure> {
    give_up(state, task, Cause::Lost)
}

/// A controller gives its task back because it was told to end, or because there are no workers of its version any more:
/// that counts for nothing. Whoever still runs it under the old epoch is told so when it calls.
pub fn hand_back(state: &mut State, task: &TaskId) -> Option<Failure> {
    state.slots.release_task(task);
    give_up(state, task, Cause::HandedBack)
}

/// Why a controller does not run a task any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Lost,
    HandedBack,
}

fn give_up(state: &mut State, task: &TaskId, cause: Cause) -> Option<Failure> {
    let entry = state.tasks.get_mut(task)?;
    if matches!(entry.phase, Phase::Ending | Phase::Ended { .. }) {
        return None;
    }
    match cause {
        Cause::Lost => entry.redispatches += 1,
        Cause::HandedBack => entry.epoch += 1,
    }
    let failure = if entry.canceled {
        canceled(task.clone())
    } else if entry.preempted {
        preempted(task.clone())
    } else if entry.redispatches > MAX_REDISPATCHES {
        let message = format!(
            "controller lost: {} controllers in a row were lost while they ran it",
            entry.redispatches
        );
        Failure {
            task: task.clone(),
            message,
        }
    } else {
        entry.phase = Phase::Waiting;
        return None;
    };
    entry.phase = Phase::Ending;
    Some(failure)
}

/// A controller process is gone.
pub fn lose_controller(state: &mut State, node: &NodeId) -> Vec<Failure> {
    let lost = tasks_on(state, node);
    lost.iter().filter_map(|task| lose(state, task)).collect()
}

/// A controller process has ended as it was told to.
pub fn leave_controller(state: &mut State, node: &NodeId) -> Vec<Failure> {
    let left = tasks_on(state, node);
    left.iter().filter_map(|task| hand_back(state, task)).collect()
}

fn tasks_on(state: &State, node: &NodeId) -> Vec<TaskId> {
    let on_it = |entry: &TaskEntry| matches!(&entry.phase, Phase::Running { node: at, .. } if at == node);
    let tasks = state.tasks.iter().filter(|(_, entry)| on_it(entry));
    tasks.map(|(id, _)| id.clone()).collect()
}

/// What a controller's list of running tasks means.
#[derive(Debug, Default)]
pub struct Adoption {
    /// It runs them and should not: they are unknown, or ended.
    pub strangers: Vec<TaskId>,
    /// It runs them, and someone has asked for their end.
    pub canceled: Vec<TaskId>,
    /// It runs them, and they have lost their locks.
    pub preempted: Vec<TaskId>,
    pub failures: Vec<Failure>,
}

/// Takes note of what a controller that joined runs.
pub fn adopt(state: &mut State, node: &NodeId, address: &str, running: &[v1::RunningTask]) -> Adoption {
    let mut adoption = Adoption::default();
    for task in running {
        let id = TaskId::from(task.task_id.as_str());
        let Some(entry) = state.tasks.get_mut(&id).filter(|entry| !entry.has_ended()) else {
            adoption.strangers.push(id);
            continue;
        };
        let unclaimed = matches!(entry.phase, Phase::Waiting | Phase::Recovering { .. });
        if unclaimed && entry.epoch == task.epoch {
            entry.phase = Phase::Running {
                node: node.clone(),
                location: address.to_owned(),
            };
            entry.notify();
            let workers = task.workers.iter();
            let workers = workers.map(|(worker, node)| (*worker, NodeId::from(node.as_str())));
            state.slots.hold(&id, workers);
            if entry.canceled {
                adoption.canceled.push(id);
            } else if entry.preempted {
                adoption.preempted.push(id);
            }
        }
    }
    // What was here before and is not: this process has lost it, or is another one.
    let lost =
        |entry: &TaskEntry| matches!(&entry.phase, Phase::Recovering { location, .. } if location == address);
    adoption.failures = unrecovered(state, lost);
    adoption
}

/// Tasks whose controller did not show up in time go to another one.
pub fn expire_recovery(state: &mut State, now: Instant) -> Vec<Failure> {
    unrecovered(
        state,
        |entry| matches!(&entry.phase, Phase::Recovering { until, .. } if *until <= now),
    )
}

fn unrecovered(state: &mut State, lost: impl Fn(&TaskEntry) -> bool) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (id, entry) in state.tasks.iter_mut().filter(|(_, entry)| lost(entry)) {
        if entry.canceled {
            entry.phase = Phase::Ending;
            failures.push(canceled(id.clone()));
        } else if entry.preempted {
            entry.phase = Phase::Ending;
            failures.push(preempted(id.clone()));
        } else {
            entry.phase = Phase::Waiting;
        }
    }
    failures
}

/// Ends synchronous statements that have waited for longer than they may.
pub fn expire_waiting(state: &mut State, now_ms: i64) -> Vec<Failure> {
    let overdue = |entry: &TaskEntry| {
        let timeout = entry.spec.queue_timeout_ms;
        matches!(entry.phase, Phase::Waiting)
            && timeout > 0
            && now_ms >= entry.created_ms.saturating_add(timeout)
    };
    let mut failures = Vec::new();
    for (id, entry) in state.tasks.iter_mut().filter(|(_, entry)| overdue(entry)) {
        entry.phase = Phase::Ending;
        failures.push(timed_out(id.clone()));
    }
    failures
}

/// Whether any controller could be given a task that asks for the labels of `pool`, because `workers` of its version have
/// them.
pub fn is_served(state: &State, pool: &Pool, workers: &[WorkerNode]) -> bool {
    let mut controllers = state.members.controllers();
    controllers.any(|(_, node)| pool.serves(node, workers))
}

/// Place in the line from 1; 0 for a task that does not wait.
pub fn position(state: &State, task: &TaskId) -> u32 {
    let waits = |entry: &TaskEntry| entry.state() == v1::TaskState::Pending;
    let Some(own) = state.tasks.get(task).filter(|entry| waits(entry)) else {
        return 0;
    };
    let before = state
        .tasks
        .values()
        .filter(|entry| waits(entry) && entry.rank() < own.rank())
        .count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}
