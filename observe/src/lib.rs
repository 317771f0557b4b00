//! What a process tells of itself: logs, metrics, traces, health and the state of its queries. It decides nothing, and
//! knows no role: each role hands in what it can tell ([`Observed`]), and the binary opens the port.

mod admin;
mod catalogue;
mod logging;
mod options;
mod registry;
mod task_log;
mod trace;

pub use admin::{AdminError, metrics_page, serve};
pub use catalogue::{METRICS, Metric, MetricKind};
pub use options::Options;
pub use registry::{Observed, observe};
pub use task_log::TaskLog;
pub use trace::{Tracing, continue_trace, trace_parent};

/// Starts logs, metrics and traces of this process; the answer ends them.
///
/// # Errors
/// When the traces' receiver cannot be used, or logs are set up already.
pub fn start(options: &Options, service: &'static str) -> Result<Tracing, StartError> {
    catalogue::install();
    logging::start(options, service)
}

/// Why a process cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("--otlp-endpoint {endpoint}: {reason}")]
    Traces { endpoint: String, reason: String },
    #[error("--log {filter}: {reason}")]
    Filter { filter: String, reason: String },
    #[error("logs cannot be set up: {0}")]
    Logs(String),
}
