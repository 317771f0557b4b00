//! Logs and other words for people.

use std::io::Write;

use tracing_subscriber::EnvFilter;

/// Structured logs to stderr; `SARSEN_LOG` chooses what (`info` by default), `SARSEN_LOG_FORMAT=json` how.
pub fn start() {
    let filter = EnvFilter::try_from_env("SARSEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::env::var("SARSEN_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().try_init()
    } else {
        builder
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init()
    };
    if started.is_err() {
        complain("sarsen: logs were set up already");
    }
}

/// A line on stdout. A reader that has gone away, as `head` does, is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
