//! Structured logs on stderr, and spans for traces.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::options::{LogFormat, Options};
use crate::trace::Tracing;
use crate::{StartError, trace};

pub fn start(options: &Options, service: &'static str) -> Result<Tracing, StartError> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| StartError::Filter {
        filter: options.log.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match options.log_format {
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_filter(filter)
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
        .try_init()
        .map_err(|error| StartError::Logs(error.to_string()))?;
    Ok(traces)
}
