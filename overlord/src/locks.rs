//! Who may write what (Druid: ingestion/concurrent-append-replace.md#task-lock-types). A REPLACE locks its intervals, an
//! INSERT its whole datasource, since it learns only at its end which time chunks it has rows for. What conflicts waits,
//! in the order of [`Rank`], and is not overtaken by what would conflict with it; a request of higher priority takes the
//! locks of lower ones away.

use std::collections::HashMap;

use sarsen_proto::v1;

use crate::ids::TaskId;
use crate::rank::Rank;
use crate::time::Interval;

/// What a task wants to lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockMode {
    /// Appends: any number of them at once, and nothing else.
    Shared,
    /// Overwrites these intervals, beside nobody.
    Exclusive(Vec<Interval>),
    /// Appends beside others that do, and beside a REPLACE that lets them.
    Append,
    /// Overwrites these intervals while others may append to them.
    Replace(Vec<Interval>),
}

impl LockMode {
    /// What a statement locks; a SELECT nothing.
    pub fn of(spec: &v1::TaskSpec) -> Option<LockMode> {
        match (spec.kind(), spec.lock_type()) {
            (v1::StatementKind::Insert, v1::TaskLockType::Append) => Some(LockMode::Append),
            (v1::StatementKind::Insert, _) => Some(LockMode::Shared),
            (v1::StatementKind::Replace, v1::TaskLockType::Replace) => {
                Some(LockMode::Replace(replaced(spec)))
            }
            (v1::StatementKind::Replace, _) => Some(LockMode::Exclusive(replaced(spec))),
            (v1::StatementKind::Select | v1::StatementKind::Unspecified, _) => None,
        }
    }

    fn conflicts(&self, other: &LockMode) -> bool {
        use LockMode::{Append, Exclusive, Replace, Shared};
        match (self, other) {
            (Shared, Shared) | (Append, Append | Replace(_)) | (Replace(_), Append) => false,
            (Exclusive(ours) | Replace(ours), Exclusive(theirs) | Replace(theirs)) => ours
                .iter()
                .any(|ours| theirs.iter().any(|theirs| ours.overlaps(theirs))),
            _ => true,
        }
    }
}

/// Intervals that a REPLACE overwrites; all of time when it names none.
pub fn replaced(spec: &v1::TaskSpec) -> Vec<Interval> {
    if spec.replace_intervals.is_empty() {
        return vec![Interval::ETERNITY];
    }
    spec.replace_intervals.iter().map(Interval::from).collect()
}

/// Whether others may append to what the task overwrites, while it runs.
pub fn is_concurrent_replace(spec: &v1::TaskSpec) -> bool {
    matches!(LockMode::of(spec), Some(LockMode::Replace(_)))
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Waits,
    Held,
    /// Held for a publish that has begun: nobody takes it away any more.
    Publishing,
    /// Taken away by a task of higher priority.
    Revoked,
}

/// One task's lock, or its wish for one.
#[derive(Debug, Clone)]
pub struct Lock {
    pub task: TaskId,
    pub mode: LockMode,
    pub priority: i32,
    pub rank: Rank,
    pub standing: Standing,
}

impl Lock {
    fn seen(&self, datasource: &str) -> v1::TaskLock {
        let everything = vec![Interval::ETERNITY];
        let (kind, intervals) = match &self.mode {
            LockMode::Shared => ("SHARED", everything),
            LockMode::Append => ("APPEND", everything),
            LockMode::Exclusive(intervals) => ("EXCLUSIVE", intervals.clone()),
            LockMode::Replace(intervals) => ("REPLACE", intervals.clone()),
        };
        v1::TaskLock {
            task_id: self.task.as_str().to_owned(),
            datasource: datasource.to_owned(),
            r#type: kind.to_owned(),
            intervals: intervals.into_iter().map(v1::Interval::from).collect(),
            priority: self.priority,
            revoked: self.standing == Standing::Revoked,
            publishing: self.standing == Standing::Publishing,
        }
    }

    fn is_held(&self) -> bool {
        matches!(self.standing, Standing::Held | Standing::Publishing)
    }
}

/// What a change of the table changed for others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// They hold their locks from now on.
    pub granted: Vec<TaskId>,
    /// They have lost theirs.
    pub revoked: Vec<TaskId>,
}

/// Locks held and waited for, by datasource.
#[derive(Debug, Default)]
pub struct LockTable {
    datasources: HashMap<String, Vec<Lock>>,
}

impl LockTable {
    /// Asks for a lock. The task is among the granted when it holds it at once.
    pub fn request(
        &mut self,
        task: TaskId,
        datasource: &str,
        mode: LockMode,
        priority: i32,
        rank: Rank,
    ) -> Outcome {
        let locks = self.datasources.entry(datasource.to_owned()).or_default();
        if locks.iter().any(|lock| lock.task == task) {
            return Outcome::default();
        }
        locks.push(Lock {
            task,
            mode,
            priority,
            rank,
            standing: Standing::Waits,
        });
        settle(locks)
    }

    /// Gives a task's lock back, or gives up waiting for it.
    pub fn release(&mut self, task: &TaskId, datasource: &str) -> Outcome {
        let Some(locks) = self.datasources.get_mut(datasource) else {
            return Outcome::default();
        };
        locks.retain(|lock| lock.task != *task);
        if locks.is_empty() {
            self.datasources.remove(datasource);
            return Outcome::default();
        }
        settle(locks)
    }

    /// A task that lost its lock before it did anything waits for it again.
    pub fn wait_again(&mut self, task: &TaskId, datasource: &str) -> Outcome {
        match self.lock_mut(task, datasource) {
            Some(lock) if lock.standing == Standing::Revoked => lock.standing = Standing::Waits,
            _ => return Outcome::default(),
        }
        self.datasources
            .get_mut(datasource)
            .map(|locks| settle(locks))
            .unwrap_or_default()
    }

    /// A publish begins: from now on the lock stays. False when the task does not hold it.
    pub fn begin_publish(&mut self, task: &TaskId, datasource: &str) -> bool {
        match self.lock_mut(task, datasource) {
            Some(lock) if lock.is_held() => {
                lock.standing = Standing::Publishing;
                true
            }
            _ => false,
        }
    }

    /// A publish was refused: the lock may be taken away again.
    pub fn end_publish(&mut self, task: &TaskId, datasource: &str) -> Outcome {
        match self.lock_mut(task, datasource) {
            Some(lock) if lock.standing == Standing::Publishing => lock.standing = Standing::Held,
            _ => return Outcome::default(),
        }
        self.datasources
            .get_mut(datasource)
            .map(|locks| settle(locks))
            .unwrap_or_default()
    }

    /// All locks of a datasource, waiting ones and all.
    pub fn of(&self, datasource: &str) -> &[Lock] {
        self.datasources.get(datasource).map_or(&[], Vec::as_slice)
    }

    /// Locks that are held, or were and are lost, as clients see them.
    pub fn held(&self) -> Vec<v1::TaskLock> {
        let of_datasource = |(datasource, locks): (&String, &Vec<Lock>)| {
            let taken = locks.iter().filter(|lock| lock.standing != Standing::Waits);
            let seen = taken.map(|lock| lock.seen(datasource));
            seen.collect::<Vec<_>>()
        };
        self.datasources.iter().flat_map(of_datasource).collect()
    }

    /// Whether nobody holds or waits for anything.
    pub fn is_empty(&self) -> bool {
        self.datasources.is_empty()
    }

    fn lock_mut(&mut self, task: &TaskId, datasource: &str) -> Option<&mut Lock> {
        let locks = self.datasources.get_mut(datasource)?;
        locks.iter_mut().find(|lock| lock.task == *task)
    }
}

/// Grants what can be granted, the lowest rank first.
fn settle(locks: &mut [Lock]) -> Outcome {
    let mut outcome = Outcome::default();
    locks.sort_by_key(|lock| lock.rank);
    for position in 0..locks.len() {
        let (Some(lock), earlier) = (locks.get(position), locks.iter().take(position)) else {
            continue;
        };
        if lock.standing != Standing::Waits {
            continue;
        }
        let against = |other: &&Lock| other.mode.conflicts(&lock.mode);
        let waits = |other: &&Lock| other.standing == Standing::Waits;
        let mut in_the_way = locks
            .iter()
            .filter(|other| other.is_held())
            .filter(against)
            .peekable();
        // Those that only wait count too: a stream of INSERTs would starve a REPLACE otherwise.
        let mut ahead = earlier.filter(waits).filter(against);
        let revoked: Vec<TaskId> = if in_the_way.peek().is_none() {
            match ahead.next() {
                Some(_) => continue,
                None => Vec::new(),
            }
        } else {
            let takes = |other: &Lock| other.priority < lock.priority && other.standing == Standing::Held;
            let equals_wait = ahead.any(|other| other.priority >= lock.priority);
            let taken: Option<Vec<TaskId>> = in_the_way
                .map(|other| takes(other).then(|| other.task.clone()))
                .collect();
            match taken {
                Some(taken) if !equals_wait => taken,
                _ => continue,
            }
        };
        for other in locks.iter_mut().filter(|other| revoked.contains(&other.task)) {
            other.standing = Standing::Revoked;
        }
        outcome.revoked.extend(revoked);
        if let Some(lock) = locks.get_mut(position) {
            lock.standing = Standing::Held;
            outcome.granted.push(lock.task.clone());
        }
    }
    outcome
}
