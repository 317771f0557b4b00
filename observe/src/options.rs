//! Flags that every role has.

use clap::{Args, ValueEnum};

/// How a process is watched.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    /// Where `/metrics`, `/status/health`, `/status/ready` and `/debug` are served over plain HTTP, without
    /// authentication: for probes and Prometheus on a network of your own. HOST:PORT; none by default.
    #[arg(long, env = "SARSEN_ADMIN_ADDR")]
    pub admin_addr: Option<String>,
    /// Receiver of traces (OTLP over gRPC), such as http://127.0.0.1:4317; none by default.
    #[arg(long, env = "SARSEN_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// Which lines are logged: a level (error, warn, info, debug, trace), also by module: `info,sarsen_worker=debug`.
    #[arg(long, env = "SARSEN_LOG", default_value = "info")]
    pub log: String,
    /// How lines are logged.
    #[arg(long, env = "SARSEN_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl Options {
    /// Log lines only.
    pub fn logs(filter: String) -> Self {
        Options {
            admin_addr: None,
            otlp_endpoint: None,
            log: filter,
            log_format: LogFormat::Text,
        }
    }
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
