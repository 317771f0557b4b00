//! Refused requests on their way to the audit log: equal ones as one line, and no more lines than a budget allows, so that
//! whoever knocks at the door cannot fill the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sarsen_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::service::App;

/// Time between two reports to the Overlord.
const EVERY: Duration = Duration::from_secs(2);

/// Lines that may be told at once, and the time in which another one may be.
const LINES: u32 = 200;
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Time between two lines for what has none of its own.
const REST_EVERY: Duration = Duration::from_secs(20);

/// Characters of a path that are told.
const PATH_CHARACTERS: usize = 200;

/// Requests that are told as one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    identity: String,
    remote: String,
    method: String,
    path: String,
    status: u16,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Refusals(Arc<Mutex<Pending>>);

#[derive(Debug)]
struct Pending {
    told: BTreeMap<Kind, u64>,
    /// By status: what found no line left.
    rest: BTreeMap<u16, u64>,
    lines: u32,
    since: Instant,
    rest_after: Instant,
}

impl Refusals {
    pub fn new(now: Instant) -> Self {
        Refusals(Arc::new(Mutex::new(Pending {
            told: BTreeMap::new(),
            rest: BTreeMap::new(),
            lines: LINES,
            since: now,
            rest_after: now,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a refused request; `caller` has no identity where nobody knows who asked.
    pub fn note(&self, caller: v1::Caller, method: &str, path: &str, status: u16, now: Instant) {
        let kind = Kind {
            identity: caller.identity,
            remote: caller.remote,
            method: method.to_owned(),
            path: path.chars().take(PATH_CHARACTERS).collect(),
            status,
        };
        let mut pending = self.lock();
        if let Some(count) = pending.told.get_mut(&kind) {
            *count += 1;
            return;
        }
        pending.refill(now);
        if pending.lines == 0 {
            *pending.rest.entry(status).or_default() += 1;
            return;
        }
        pending.lines -= 1;
        pending.told.insert(kind, 1);
    }

    /// What is to be told now.
    fn take(&self, now: Instant) -> Vec<v1::Refusal> {
        let mut pending = self.lock();
        let told = std::mem::take(&mut pending.told).into_iter();
        let mut refusals: Vec<v1::Refusal> = told
            .map(|(kind, count)| v1::Refusal {
                caller: Some(v1::Caller {
                    identity: kind.identity,
                    remote: kind.remote,
                }),
                method: kind.method,
                path: kind.path,
                status: kind.status.into(),
                count,
            })
            .collect();
        if !pending.rest.is_empty() && now >= pending.rest_after {
            pending.rest_after = now + REST_EVERY;
            let rest = std::mem::take(&mut pending.rest).into_iter();
            refusals.extend(rest.map(|(status, count)| v1::Refusal {
                status: status.into(),
                count,
                ..v1::Refusal::default()
            }));
        }
        refusals
    }

    /// The Overlord was not there: how many there were is not forgotten.
    fn put_back(&self, refusals: &[v1::Refusal]) {
        let mut pending = self.lock();
        for refusal in refusals {
            let status = u16::try_from(refusal.status).unwrap_or_default();
            *pending.rest.entry(status).or_default() += refusal.count;
        }
    }

    /// Tells the Overlord until `shutdown`, and then once more.
    pub async fn report(self, app: App, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.cancelled() => {}
            }
            let refusals = self.take(Instant::now());
            if !refusals.is_empty() {
                let request = v1::RecordRefusalsRequest {
                    refusals: refusals.clone(),
                };
                let told = match app.overlord() {
                    Ok(mut overlord) => overlord.record_refusals(request).await.is_ok(),
                    Err(_) => false,
                };
                if !told {
                    self.put_back(&refusals);
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
        }
    }
}

impl Pending {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_secs() / LINE_EVERY.as_secs()).unwrap_or(u32::MAX);
        if more > 0 {
            self.lines = self.lines.saturating_add(more).min(LINES);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    fn caller(remote: &str) -> v1::Caller {
        v1::Caller {
            identity: String::new(),
            remote: remote.to_owned(),
        }
    }

    #[test]
    fn equal_refusals_are_one_line() {
        let now = Instant::now();
        let refusals = Refusals::new(now);
        for _ in 0..1_000 {
            refusals.note(caller("1.2.3.4"), "GET", "/status", 401, now);
        }
        refusals.note(caller("1.2.3.4"), "GET", "/status", 403, now);
        let told = refusals.take(now);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].status, told[0].count), (401, 1_000));
        assert!(refusals.take(now).is_empty());
    }

    #[test]
    fn many_different_ones_have_no_more_lines_than_the_budget() {
        let now = Instant::now();
        let refusals = Refusals::new(now);
        let mut lines = 0;
        for second in 0..3_600_u64 {
            let at = now + Duration::from_secs(second);
            for number in 0..10 {
                let path = format!("/{second}/{number}/{}", "x".repeat(1_000));
                refusals.note(caller("1.2.3.4"), "GET", &path, 401, at);
            }
            let told = refusals.take(at);
            assert!(told.iter().all(|refusal| refusal.path.len() <= PATH_CHARACTERS));
            lines += told.len();
        }
        assert!((200..=200 + 180 + 181).contains(&lines), "{lines}");
        let rest = refusals.take(now + Duration::from_secs(4_000));
        assert!(
            rest.iter()
                .any(|refusal| refusal.path.is_empty() && refusal.count > 0)
        );
    }
}
