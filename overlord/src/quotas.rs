//! What one user may have at once.

use std::collections::HashMap;

use clap::Args;

use crate::state::{Phase, TaskEntry};

/// Limits per user; 0 is none. Requests without a user share one quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct Quotas {
    /// Queries of one user that run at once; more of them wait. 0: no limit.
    #[arg(
        long = "max-running-queries-per-user",
        env = "SARSEN_MAX_RUNNING_QUERIES_PER_USER",
        default_value_t = 0
    )]
    pub running_per_user: u32,
    /// Queries of one user that may wait; more of them are refused with 429. 0: no limit.
    #[arg(
        long = "max-queued-queries-per-user",
        env = "SARSEN_MAX_QUEUED_QUERIES_PER_USER",
        default_value_t = 0
    )]
    pub queued_per_user: u32,
    /// Worker slots that the queries of one user may hold together. 0: no limit.
    #[arg(
        long = "max-worker-slots-per-user",
        env = "SARSEN_MAX_WORKER_SLOTS_PER_USER",
        default_value_t = 0
    )]
    pub slots_per_user: u32,
}

impl Quotas {
    /// Whether a user with so many running queries may start another one.
    pub fn may_run(&self, running: u32) -> bool {
        self.running_per_user == 0 || running < self.running_per_user
    }

    /// Whether a user with so many waiting queries may add another one.
    pub fn may_wait(&self, waiting: u32) -> bool {
        self.queued_per_user == 0 || waiting < self.queued_per_user
    }
}

/// Whether a task takes part of its user's running queries.
pub fn runs(entry: &TaskEntry) -> bool {
    matches!(entry.phase, Phase::Running { .. } | Phase::Recovering { .. })
}

/// Tasks of each user that fulfil a condition.
pub fn count<'a>(
    entries: impl Iterator<Item = &'a TaskEntry>,
    counts: impl Fn(&TaskEntry) -> bool,
) -> HashMap<String, u32> {
    let mut users: HashMap<String, u32> = HashMap::new();
    for entry in entries.filter(|entry| counts(entry)) {
        *users.entry(entry.spec.identity.clone()).or_default() += 1;
    }
    users
}
