//! Traces: one per query, from the request at the gateway to the work orders of its workers. Processes hand the trace
//! on in their messages, as a W3C `traceparent`.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::StartError;

const HEADER: &str = "traceparent";

/// Spans that are part of a query's trace carry this target; all others stay in the process.
const TARGETS: &str = "off,sarsen_trace=info";

/// Where finished spans go; dropping it sends what is left.
#[derive(Debug, Default)]
pub struct Tracing {
    provider: Option<SdkTracerProvider>,
}

impl Tracing {
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let tracer = self.provider.as_ref()?.tracer("sarsen");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        Some(layer.with_filter(EnvFilter::new(TARGETS)))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Sends spans to `endpoint` in batches.
pub(crate) fn export(endpoint: &str, service: &'static str) -> Result<Tracing, StartError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| StartError::Traces {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();
    Ok(Tracing {
        provider: Some(provider),
    })
}

/// The trace that `span` is part of, for a message; empty without one.
pub fn trace_parent(span: &Span) -> String {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.remove(HEADER).unwrap_or_default()
}

/// Makes `span` a part of the trace that a message named.
pub fn continue_trace(span: &Span, trace_parent: &str) {
    if trace_parent.is_empty() {
        return;
    }
    let headers = HashMap::from([(HEADER.to_owned(), trace_parent.to_owned())]);
    let parent = TraceContextPropagator::new().extract(&headers);
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(%error, "a span is not part of its trace");
    }
}
