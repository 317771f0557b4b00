//! Worker slots for tasks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use sarsen_proto::v1;
use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::ids::{NodeId, TaskId};
use crate::line::{Room, Ticket, Turn, Waiting};
use crate::overlord::Overlord;
use crate::pool::Pool;
use crate::queue;
use crate::slots::{Completeness, WorkerNode};
use crate::state::State;
use crate::time::now_ms;

/// A call waits so long for slots; the caller asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call that waits for slots.
#[derive(Debug)]
pub(crate) struct Caller {
    epoch: u64,
    avoid: Vec<String>,
    answer: oneshot::Sender<Result<v1::AcquireWorkersReply, RequestError>>,
}

/// A place in the line for slots, given up when the call ends in whatever way.
struct Place<'a> {
    overlord: &'a Overlord,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.overlord.callers().remove(&self.ticket);
        let left = self.overlord.state().line.leave(self.ticket);
        if left.is_some() {
            // Who stood behind it may go now.
            self.overlord.grant();
        }
    }
}

impl Overlord {
    fn callers(&self) -> MutexGuard<'_, HashMap<Ticket, Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for workers of `version`, which is the controller's, with the labels that the query asks for.
    pub(crate) async fn acquire_workers(
        self: &Arc<Self>,
        request: v1::AcquireWorkersRequest,
        version: Option<String>,
    ) -> Result<v1::AcquireWorkersReply, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let (answer, mut answered) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            let entry = Overlord::fence(&mut state, &id, request.epoch)?;
            let pool = Pool::of(version, &entry.spec.worker_labels);
            let waiting = Waiting {
                pool: pool.clone(),
                task: id.clone(),
                user: entry.spec.identity.clone(),
                rank: entry.rank(),
                workers: request.workers.clone(),
                completeness: if request.partial {
                    Completeness::AtLeastOne
                } else {
                    Completeness::All
                },
            };
            let nodes = state.members.workers();
            let known = |id: &NodeId| nodes.iter().find(|node| node.id == *id);
            state
                .slots
                .keep(&id, |node| known(node).is_none_or(|node| pool.has(node)));
            if let Some(reason) = pool.missing(&nodes) {
                tracing::warn!(task = %id, reason, "a task waits for workers that are not there");
            }
            let ticket = state.line.join(waiting);
            let caller = Caller {
                epoch: request.epoch,
                avoid: request.avoid,
                answer,
            };
            self.callers().insert(ticket, caller);
            ticket
        };
        let _place = Place {
            overlord: self,
            ticket,
        };
        self.grant();
        tokio::select! {
            Ok(answer) = &mut answered => return answer,
            () = tokio::time::sleep(PATIENCE) => {}
            () = self.shutdown.cancelled() => return Err(RequestError::ShuttingDown),
        }
        self.no_workers(id, request.epoch, request.workers.len(), ticket)
    }

    /// What a call is told that waited in vain. A task goes to another controller where that one's version has workers.
    fn no_workers(
        self: &Arc<Self>,
        id: TaskId,
        epoch: u64,
        wanted: usize,
        ticket: Ticket,
    ) -> Result<v1::AcquireWorkersReply, RequestError> {
        let mut state = self.state();
        Overlord::fence(&mut state, &id, epoch)?;
        let pool = state.line.get(ticket).map(|waiting| waiting.pool.clone());
        let pool = pool.unwrap_or_default();
        let nodes = state.members.workers();
        if let Some(reason) = pool.missing(&nodes) {
            if !queue::is_served(&state, &pool, &nodes) {
                return Err(RequestError::NoSuchWorkers { task_id: id, reason });
            }
            tracing::info!(task = %id, reason, "a task is planned again by a controller of another version");
            let failure = queue::hand_back(&mut state, &id);
            drop(state);
            self.fail_all(failure);
            self.dispatch();
            return Err(RequestError::HandedOver { task_id: id, reason });
        }
        let (free, total) = state.slots.capacity(&pool.among(&nodes));
        Err(RequestError::NoSlots {
            task_id: id,
            wanted,
            free,
            total,
        })
    }

    /// Serves those in the line whose turn it is; called after everything that may have made it somebody's turn.
    pub(crate) fn grant(&self) {
        let mut state = self.state();
        if state.line.is_empty() {
            return;
        }
        let nodes = state.members.workers();
        let among = |pool: Pool| {
            let usable = pool.among(&nodes);
            (pool, usable)
        };
        let usable: HashMap<Pool, Vec<WorkerNode>> = state.line.pools().into_iter().map(among).collect();
        while let Some(turn) = next(&mut state, &nodes, &usable) {
            let (waiting, caller) = (state.line.leave(turn.ticket), self.callers().remove(&turn.ticket));
            let (Some(waiting), Some(caller)) = (waiting, caller) else {
                continue;
            };
            let nodes = usable.get(&waiting.pool).map_or(&[][..], Vec::as_slice);
            let answer = serve(&mut state, &waiting, &caller, turn, nodes);
            // A caller that is gone asks again, and is told what it holds; else its task's end gives it back.
            let _ = caller.answer.send(answer);
        }
    }

    pub(crate) fn release_workers(
        &self,
        request: v1::ReleaseWorkersRequest,
    ) -> Result<v1::Empty, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        {
            let mut state = self.state();
            Overlord::fence(&mut state, &id, request.epoch)?;
            state.slots.release(&id, &request.workers);
        }
        self.grant();
        Ok(v1::Empty {})
    }
}

fn ids(nodes: &[WorkerNode]) -> HashSet<&str> {
    nodes.iter().map(|node| node.id.as_str()).collect()
}

/// `usable` are those of `nodes` that belong to the pools of the line.
fn next(state: &mut State, nodes: &[WorkerNode], usable: &HashMap<Pool, Vec<WorkerNode>>) -> Option<Turn> {
    let held = state.slots.by_task(nodes);
    let mut by_user = HashMap::new();
    for (task, slots) in &held {
        if let Some(entry) = state.tasks.get(task) {
            *by_user.entry(entry.spec.identity.clone()).or_default() += slots;
        }
    }
    let (_, total) = state.slots.capacity(nodes);
    let capacity = |(pool, nodes): (&Pool, &Vec<WorkerNode>)| {
        let (free, total) = state.slots.capacity(nodes);
        (pool.clone(), (total, free))
    };
    let room = Room {
        pools: usable.iter().map(capacity).collect(),
        total,
        held,
        by_user,
        per_user: state.quotas.slots_per_user,
    };
    let State { line, slots, .. } = state;
    let live: HashMap<&Pool, HashSet<&str>> = usable.iter().map(|(pool, nodes)| (pool, ids(nodes))).collect();
    line.next(&room, |waiting| {
        let live = live.get(&waiting.pool);
        live.map_or(0, |live| slots.held_of(&waiting.task, &waiting.workers, live))
    })
}

/// Takes the slots of one turn: those that its task holds, and as many fresh ones as it was allowed, the lowest numbers first.
fn serve(
    state: &mut State,
    waiting: &Waiting,
    caller: &Caller,
    turn: Turn,
    nodes: &[WorkerNode],
) -> Result<v1::AcquireWorkersReply, RequestError> {
    Overlord::fence(state, &waiting.task, caller.epoch)?;
    let live = ids(nodes);
    let mut fresh = turn.fresh;
    let slots = &state.slots;
    let given: Vec<u32> = waiting
        .workers
        .iter()
        .copied()
        .filter(|worker| {
            let own = slots.held_of(&waiting.task, &[*worker], &live) > 0;
            let taken = own || fresh > 0;
            fresh = fresh.saturating_sub(u32::from(!own));
            taken
        })
        .collect();
    let kept: HashMap<u32, NodeId> = state
        .slots
        .held_by(&waiting.task)
        .map(|(worker, node)| (*worker, node.clone()))
        .collect();
    let taken = state
        .slots
        .acquire(&waiting.task, &given, &caller.avoid, waiting.completeness, nodes)
        .unwrap_or_default();
    let now = now_ms();
    for (worker, node) in &taken {
        let Some(address) = state.members.get(node).map(|node| node.address.clone()) else {
            continue;
        };
        let avoided = caller
            .avoid
            .iter()
            .any(|name| *name == address || name == node.as_str());
        // One that was to be avoided and is given again begins anew there.
        if avoided || kept.get(worker) != Some(node) {
            state.begin_worker(&waiting.task, *worker, &address, now);
        }
    }
    let assignment = |(worker, node)| v1::WorkerAssignment {
        worker,
        node: state.members.get(&node).cloned(),
    };
    Ok(v1::AcquireWorkersReply {
        assignments: taken.into_iter().map(assignment).collect(),
    })
}
