//! Which worker process plays which worker number of which task.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ids::{NodeId, TaskId};

/// A live worker process and how many worker tasks it may run.
#[derive(Debug, Clone)]
pub struct WorkerNode {
    pub id: NodeId,
    pub address: String,
    pub slots: u32,
    pub version: String,
    pub labels: HashMap<String, String>,
}

/// Whether an acquisition may be answered in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    All,
    AtLeastOne,
}

/// Slots that are held.
#[derive(Debug, Default)]
pub struct SlotTable {
    held: HashMap<TaskId, BTreeMap<u32, NodeId>>,
}

impl SlotTable {
    /// Takes a slot for each worker number, on the nodes with the most free ones; `None`, and nothing taken, when there
    /// are too few. A number that is held already keeps its node, unless that is gone or in `avoid` (ids or addresses),
    /// whose nodes are taken last.
    pub fn acquire(
        &mut self,
        task: &TaskId,
        workers: &[u32],
        avoid: &[String],
        completeness: Completeness,
        nodes: &[WorkerNode],
    ) -> Option<Vec<(u32, NodeId)>> {
        let avoided = |node: &WorkerNode| {
            avoid
                .iter()
                .any(|name| *name == node.address || name == node.id.as_str())
        };
        let by_id: HashMap<&NodeId, &WorkerNode> = nodes.iter().map(|node| (&node.id, node)).collect();
        let usable = |id: &NodeId| by_id.get(id).is_some_and(|node| !avoided(node));
        let empty = BTreeMap::new();
        let own = self.held.get(task).unwrap_or(&empty);
        let mut kept = Vec::new();
        let mut wanted = Vec::new();
        for worker in workers {
            match own.get(worker).filter(|node| usable(node)) {
                Some(node) => kept.push((*worker, node.clone())),
                None => wanted.push(*worker),
            }
        }
        // A number that moves gives its old slot back first: it may be the only free one.
        let moving = |holder: &TaskId, worker: &u32| holder == task && wanted.contains(worker);
        let mut held: HashMap<&str, (u32, u32)> = HashMap::new();
        for (holder, workers) in &self.held {
            for (_, at) in workers.iter().filter(|(worker, _)| !moving(holder, worker)) {
                let (all, mine) = held.entry(at.as_str()).or_default();
                *all += 1;
                *mine += u32::from(holder == task);
            }
        }
        let mut free: Vec<(bool, u32, u32, &WorkerNode)> = nodes
            .iter()
            .map(|node| {
                let (all, mine) = held.get(node.id.as_str()).copied().unwrap_or_default();
                (avoided(node), node.slots.saturating_sub(all), mine, node)
            })
            .collect();
        let mut taken = Vec::new();
        for worker in &wanted {
            let best = free
                .iter_mut()
                .filter(|(_, left, _, _)| *left > 0)
                .min_by_key(|(avoided, left, mine, _)| (*avoided, std::cmp::Reverse(*left), *mine));
            let Some((_, left, mine, node)) = best else { break };
            *left -= 1;
            *mine += 1;
            taken.push((*worker, node.id.clone()));
        }
        kept.append(&mut taken);
        let enough = match completeness {
            Completeness::All => kept.len() == workers.len(),
            Completeness::AtLeastOne => !kept.is_empty() || workers.is_empty(),
        };
        if !enough {
            return None;
        }
        kept.sort();
        let held = self.held.entry(task.clone()).or_default();
        held.retain(|worker, _| !wanted.contains(worker));
        held.extend(kept.iter().cloned());
        Some(kept)
    }

    /// Takes note of slots that a task was given before this Overlord led.
    pub fn hold(&mut self, task: &TaskId, workers: impl IntoIterator<Item = (u32, NodeId)>) {
        let held = self.held.entry(task.clone()).or_default();
        held.extend(workers);
    }

    /// How many of these worker numbers a task holds a slot for, on one of these nodes.
    pub fn held_of(&self, task: &TaskId, workers: &[u32], live: &HashSet<&str>) -> u32 {
        let Some(held) = self.held.get(task) else { return 0 };
        let is_held = |worker: &&u32| held.get(worker).is_some_and(|node| live.contains(node.as_str()));
        u32::try_from(workers.iter().filter(is_held).count()).unwrap_or(u32::MAX)
    }

    /// Slots that each task holds on these nodes.
    pub fn by_task(&self, nodes: &[WorkerNode]) -> HashMap<TaskId, u32> {
        let live: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let held = self.held.iter().map(|(task, workers)| {
            let here = workers
                .values()
                .filter(|node| live.contains(node.as_str()))
                .count();
            (task.clone(), u32::try_from(here).unwrap_or(u32::MAX))
        });
        held.filter(|(_, here)| *here > 0).collect()
    }

    /// Worker numbers of a task, with their nodes.
    pub fn held_by(&self, task: &TaskId) -> impl Iterator<Item = (&u32, &NodeId)> {
        self.held.get(task).into_iter().flatten()
    }

    /// All slots that are held.
    pub fn all(&self) -> impl Iterator<Item = (&TaskId, u32, &NodeId)> {
        let of_task = |(task, workers)| {
            let workers: &BTreeMap<u32, NodeId> = workers;
            workers.iter().map(move |(worker, node)| (task, *worker, node))
        };
        self.held.iter().flat_map(of_task)
    }

    /// Gives some of a task's slots back.
    pub fn release(&mut self, task: &TaskId, workers: &[u32]) {
        if let Some(held) = self.held.get_mut(task) {
            held.retain(|worker, _| !workers.contains(worker));
            if held.is_empty() {
                self.held.remove(task);
            }
        }
    }

    /// Gives back a task's slots on nodes that `keeps` refuses.
    pub fn keep(&mut self, task: &TaskId, keeps: impl Fn(&NodeId) -> bool) {
        if let Some(held) = self.held.get_mut(task) {
            held.retain(|_, node| keeps(node));
            if held.is_empty() {
                self.held.remove(task);
            }
        }
    }

    /// Gives all of a task's slots back.
    pub fn release_task(&mut self, task: &TaskId) {
        self.held.remove(task);
    }

    /// Forgets the slots of a process that is gone.
    pub fn drop_node(&mut self, node: &NodeId) {
        for held in self.held.values_mut() {
            held.retain(|_, at| at != node);
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// How many of these nodes' slots are free, and how many there are.
    pub fn capacity(&self, nodes: &[WorkerNode]) -> (u32, u32) {
        let total = nodes
            .iter()
            .fold(0_u32, |sum, node| sum.saturating_add(node.slots));
        let ids: HashSet<&NodeId> = nodes.iter().map(|node| &node.id).collect();
        let live = |id: &&NodeId| ids.contains(*id);
        let held = self.held.values().flat_map(BTreeMap::values).filter(live).count();
        (
            total.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX)),
            total,
        )
    }
}
