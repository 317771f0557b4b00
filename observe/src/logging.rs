//! Structured logs on stderr, and spans for traces.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::options::{LogFormat, Options};
use crate::task_log::{KeepTaskLogs, is_kept};
use crate::trace::Tracing;
use crate::{StartError, trace};

/// Libraries' finer logs hold headers, statements or rows: those are never written, whatever `--log` says.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO
        || ["sarsen", "tower_http"]
            .iter()
            .any(|ours| metadata.target().starts_with(ours))
}

pub fn start(options: &Options, service: &'static str) -> Result<Tracing, StartError> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| StartError::Filter {
        filter: options.log.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let quiet = || filter_fn(may_be_written);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match options.log_format {
        LogFormat::Json => lines.json().with_filter(filter.and(quiet())).boxed(),
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(filter.and(quiet()))
            .boxed(),
    };
    let traces = match &options.otlp_endpoint {
        Some(endpoint) => trace::export(endpoint, service)?,
        None => Tracing::default(),
    };
    let spans = traces.layer();
    tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .with(KeepTaskLogs.with_filter(filter_fn(is_kept)))
        .try_init()
        .map_err(|error| StartError::Logs(error.to_string()))?;
    Ok(traces)
}
