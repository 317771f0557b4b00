//! Checks, and what they find.

use std::pin::Pin;
use std::time::Duration;

/// Time that one check may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// It runs, and may not do well.
    Warn,
    /// It does not run so.
    Fail,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Found {
    status: Status,
    found: String,
    advice: Option<String>,
}

impl Found {
    pub fn ok(found: impl Into<String>) -> Self {
        Found {
            status: Status::Ok,
            found: found.into(),
            advice: None,
        }
    }

    pub fn warn(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Found {
            status: Status::Warn,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    pub fn fail(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Found {
            status: Status::Fail,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    pub fn of(self, check: impl Into<String>) -> Finding {
        Finding {
            check: check.into(),
            status: self.status,
            found: self.found,
            advice: self.advice,
        }
    }
}

/// What a check found, under its name.
#[derive(Debug, Clone)]
pub struct Finding {
    pub check: String,
    pub status: Status,
    pub found: String,
    pub advice: Option<String>,
}

type Work = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Checks that are to be run.
#[derive(Default)]
pub struct Checks(Vec<(String, Work)>);

impl Checks {
    pub fn add(&mut self, name: impl Into<String>, work: impl Future<Output = Found> + Send + 'static) {
        self.0.push((name.into(), Box::pin(work)));
    }

    /// One that waits for files rather than for the network.
    pub fn add_blocking(&mut self, name: impl Into<String>, work: impl FnOnce() -> Found + Send + 'static) {
        self.add(name, async {
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or_else(|error| Found::fail(format!("the check itself failed: {error}"), REPORT))
        });
    }

    /// Runs all of them at once; what they found comes in the order in which they were added.
    pub async fn run(self) -> Vec<Finding> {
        let (names, work): (Vec<String>, Vec<Work>) = self.0.into_iter().unzip();
        let running: Vec<_> = work
            .into_iter()
            .map(|work| tokio::spawn(tokio::time::timeout(LIMIT, work)))
            .collect();
        let mut findings = Vec::new();
        for (name, running) in names.into_iter().zip(running) {
            let found = match running.await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => Found::fail(
                    format!("no answer within {} s", LIMIT.as_secs()),
                    "see whether the host or file system behind it is there, and whether a firewall drops what is sent to it",
                ),
                Err(error) => Found::fail(format!("the check itself failed: {error}"), REPORT),
            };
            findings.push(found.of(name));
        }
        findings
    }
}

const REPORT: &str = "this is a mistake of sarsen's: please report it";

/// An error and all that it came from, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// The last of the errors that an error came from, if it came from any.
pub fn innermost(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}
