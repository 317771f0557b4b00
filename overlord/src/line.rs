//! Who waits for worker slots, and whose turn it is. A query may start with fewer workers than it asks for; when others
//! wait it gets no more than its share, and one that needs many slots at once is passed by small ones, though not for
//! ever.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ids::TaskId;
use crate::pool::Pool;
use crate::rank::Rank;
use crate::slots::Completeness;

/// So often a request that needs several slots at once is passed by others; then free slots are kept for it.
const MAX_PASSED: u32 = 16;

/// A call that waits for slots.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub task: TaskId,
    pub user: String,
    pub rank: Rank,
    /// Worker numbers that it asks for, ascending.
    pub workers: Vec<u32>,
    pub completeness: Completeness,
    /// Workers that will do.
    pub pool: Pool,
}

/// Names a call in the line.
pub type Ticket = u64;

/// Slots as they are taken now.
#[derive(Debug, Default)]
pub struct Room {
    pub total: u32,
    /// Slots that each task holds, on nodes that live.
    pub held: HashMap<TaskId, u32>,
    /// Slots that each user's tasks hold.
    pub by_user: HashMap<String, u32>,
    /// Slots of one user at the most; 0 for no limit.
    pub per_user: u32,
    /// All and free slots of the workers of a kind; of one that is not here, those of all workers.
    pub pools: HashMap<Pool, (u32, u32)>,
}

impl Room {
    fn free(&self) -> u32 {
        self.total.saturating_sub(self.held.values().sum())
    }

    /// All and free slots that may go to whoever wants such workers.
    fn of(&self, pool: &Pool) -> (u32, u32) {
        self.pools
            .get(pool)
            .copied()
            .unwrap_or_else(|| (self.total, self.free()))
    }

    fn held_by(&self, task: &TaskId) -> u32 {
        self.held.get(task).copied().unwrap_or(0)
    }

    fn left_to(&self, user: &str) -> u32 {
        match self.per_user {
            0 => u32::MAX,
            most => most.saturating_sub(self.by_user.get(user).copied().unwrap_or(0)),
        }
    }
}

/// Whose turn it is, and how many slots beside those that it holds it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub ticket: Ticket,
    pub fresh: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Line {
    waiting: BTreeMap<Ticket, (Waiting, u32)>,
    last: Ticket,
}

impl Line {
    /// Joins the line.
    pub fn join(&mut self, waiting: Waiting) -> Ticket {
        self.last += 1;
        self.waiting.insert(self.last, (waiting, 0));
        self.last
    }

    /// Leaves the line, served or not.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.remove(&ticket).map(|(waiting, _)| waiting)
    }

    /// The workers that a task waits for.
    pub fn pool_of(&self, task: &TaskId) -> Option<&Pool> {
        let mut waiting = self.waiting.values().map(|(waiting, _)| waiting);
        waiting
            .find(|waiting| waiting.task == *task)
            .map(|waiting| &waiting.pool)
    }

    /// Kinds of workers that are waited for.
    pub fn pools(&self) -> HashSet<Pool> {
        self.waiting
            .values()
            .map(|(waiting, _)| waiting.pool.clone())
            .collect()
    }

    pub fn get(&self, ticket: Ticket) -> Option<&Waiting> {
        self.waiting.get(&ticket).map(|(waiting, _)| waiting)
    }

    /// Calls that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next one to be served, if anyone can be. `own` tells how many of the slots that a call asks for its task
    /// holds already.
    pub fn next(&mut self, room: &Room, own: impl Fn(&Waiting) -> u32) -> Option<Turn> {
        let mut order: Vec<(bool, Rank, Ticket)> = self
            .waiting
            .iter()
            .map(|(ticket, (waiting, _))| (room.held_by(&waiting.task) == 0, waiting.rank, *ticket))
            .collect();
        // Who has begun goes on first: it ends, and gives back what it holds.
        order.sort_unstable();
        let tasks = self.tasks(room);
        let mut passed = Vec::new();
        let mut kept: Vec<&Pool> = Vec::new();
        let mut turn = None;
        for (_, _, ticket) in order {
            let Some((waiting, times)) = self.waiting.get(&ticket) else {
                continue;
            };
            let (total, _) = room.of(&waiting.pool);
            let share = tasks.map(|tasks| (total / tasks).max(1));
            if kept.iter().any(|pool| pool.overlaps(&waiting.pool)) {
                continue;
            }
            match offer(waiting, room, share, own(waiting)) {
                Offer::Slots(fresh) => {
                    turn = Some(Turn { ticket, fresh });
                    break;
                }
                Offer::Wait if *times >= MAX_PASSED => {
                    // Slots are kept for it, but those that it could not use.
                    kept.push(&waiting.pool);
                }
                Offer::Wait => passed.push(ticket),
                Offer::Never => {}
            }
        }
        if turn.is_some() {
            for ticket in passed {
                if let Some((_, times)) = self.waiting.get_mut(&ticket) {
                    *times += 1;
                }
            }
        }
        turn
    }

    /// Tasks that run or wait, as long as others wait: each has an equal part of the slots, and one at the least.
    fn tasks(&self, room: &Room) -> Option<u32> {
        let waiting: HashSet<&TaskId> = self.waiting.values().map(|(waiting, _)| &waiting.task).collect();
        if waiting.len() <= 1 {
            return None;
        }
        let beside = room.held.keys().filter(|task| !waiting.contains(task)).count();
        Some(u32::try_from(waiting.len() + beside).unwrap_or(u32::MAX))
    }
}

enum Offer {
    /// So many beside those that it holds.
    Slots(u32),
    /// Nothing now, and it is first among those that need so many.
    Wait,
    /// Nothing, and nobody waits for its sake: the cluster is too small for it, or its user has used up what is theirs.
    Never,
}

fn offer(waiting: &Waiting, room: &Room, share: Option<u32>, own: u32) -> Offer {
    let asked = u32::try_from(waiting.workers.len()).unwrap_or(u32::MAX);
    let wanted = asked.saturating_sub(own);
    let fewest = match waiting.completeness {
        Completeness::All => wanted,
        Completeness::AtLeastOne => wanted.min(u32::from(own == 0)),
    };
    let held = room.held_by(&waiting.task);
    let allowed = room.left_to(&waiting.user);
    let (total, free) = room.of(&waiting.pool);
    if fewest.saturating_add(held) > total || fewest > allowed {
        return Offer::Never;
    }
    let fair = share.map_or(wanted, |share| share.saturating_sub(held).max(fewest));
    let given = wanted.min(fair).min(allowed).min(free);
    if given >= fewest {
        Offer::Slots(given)
    } else {
        Offer::Wait
    }
}
