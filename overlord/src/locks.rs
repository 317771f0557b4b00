//! Who may write what: an exclusive lock on a datasource's intervals per REPLACE, a shared one on the datasource per
//! INSERT. Locks are granted in the order in which they were asked for, so nobody starves.

use std::collections::HashMap;

use sarsen_proto::v1;

use crate::ids::TaskId;
use crate::time::Interval;

/// What a task wants to lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockMode {
    /// Appends: any number of them at once.
    Shared,
    /// Overwrites these intervals.
    Exclusive(Vec<Interval>),
}

impl LockMode {
    /// What a statement locks; a SELECT nothing.
    pub fn of(spec: &v1::TaskSpec) -> Option<LockMode> {
        match spec.kind() {
            v1::StatementKind::Insert => Some(LockMode::Shared),
            v1::StatementKind::Replace => Some(LockMode::Exclusive(replaced(spec))),
            v1::StatementKind::Select | v1::StatementKind::Unspecified => None,
        }
    }

    fn conflicts(&self, other: &LockMode) -> bool {
        match (self, other) {
            (LockMode::Shared, LockMode::Shared) => false,
            (LockMode::Exclusive(ours), LockMode::Exclusive(theirs)) => ours
                .iter()
                .any(|ours| theirs.iter().any(|theirs| ours.overlaps(theirs))),
            // An INSERT learns only at its end which time chunks it has rows for.
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

#[derive(Debug)]
struct Entry {
    task: TaskId,
    mode: LockMode,
    granted: bool,
}

/// Locks held and waited for, by datasource, in the order of the requests.
#[derive(Debug, Default)]
pub struct LockTable {
    datasources: HashMap<String, Vec<Entry>>,
}

impl LockTable {
    /// Asks for a lock; true when it is held at once, else [`LockTable::release`] of others tells when.
    pub fn request(&mut self, task: TaskId, datasource: &str, mode: LockMode) -> bool {
        let entries = self.datasources.entry(datasource.to_owned()).or_default();
        if let Some(known) = entries.iter().find(|entry| entry.task == task) {
            return known.granted;
        }
        // Those that only wait count too: a stream of INSERTs would starve a REPLACE otherwise.
        let granted = !entries.iter().any(|earlier| earlier.mode.conflicts(&mode));
        entries.push(Entry { task, mode, granted });
        granted
    }

    /// Gives a task's lock back; answers the tasks that hold theirs now.
    pub fn release(&mut self, task: &TaskId, datasource: &str) -> Vec<TaskId> {
        let Some(entries) = self.datasources.get_mut(datasource) else {
            return Vec::new();
        };
        entries.retain(|entry| entry.task != *task);
        if entries.is_empty() {
            self.datasources.remove(datasource);
            return Vec::new();
        }
        let mut granted = Vec::new();
        let mut earlier: Vec<&LockMode> = Vec::new();
        for entry in entries.iter_mut() {
            if !entry.granted && !earlier.iter().any(|mode| mode.conflicts(&entry.mode)) {
                entry.granted = true;
                granted.push(entry.task.clone());
            }
            earlier.push(&entry.mode);
        }
        granted
    }

    /// Whether nobody holds or waits for anything.
    pub fn is_empty(&self) -> bool {
        self.datasources.is_empty()
    }
}
