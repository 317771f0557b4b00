//! All metrics of all roles, with their names: Druid's (operations/metrics.md) as its Prometheus emitter writes them,
//! `druid_` and underscores for slashes, where it has one; times are seconds there. What Druid lacks is `sarsen_`.

use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a number does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    /// Seconds, in buckets.
    Time,
}

/// A documented metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// Roles that have it.
    pub role: &'static str,
    pub labels: &'static str,
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    role: &'static str,
    labels: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        role,
        labels,
        meaning,
    }
}

use MetricKind::{Counter, Gauge, Time};

/// Every metric but those of the process itself (`process_…`).
pub const METRICS: [Metric; 30] = [
    metric(
        "druid_task_success_count",
        Counter,
        "overlord",
        "dataSource",
        "Tasks that ended with SUCCESS",
    ),
    metric(
        "druid_task_failed_count",
        Counter,
        "overlord",
        "dataSource",
        "Tasks that ended with FAILED",
    ),
    metric(
        "druid_task_run_time",
        Time,
        "overlord",
        "dataSource, taskStatus",
        "From the start of a task to its end",
    ),
    metric(
        "druid_task_pending_time",
        Time,
        "overlord",
        "dataSource",
        "From submission to the start at a controller",
    ),
    metric(
        "druid_task_running_count",
        Gauge,
        "overlord",
        "",
        "Tasks that a controller runs",
    ),
    metric(
        "druid_task_pending_count",
        Gauge,
        "overlord",
        "",
        "Tasks that have their locks and wait for a controller",
    ),
    metric(
        "druid_task_waiting_count",
        Gauge,
        "overlord",
        "",
        "Tasks that wait for a lock",
    ),
    metric(
        "druid_taskSlot_total_count",
        Gauge,
        "overlord",
        "",
        "Worker slots of the cluster",
    ),
    metric(
        "druid_taskSlot_idle_count",
        Gauge,
        "overlord",
        "",
        "Worker slots that are free",
    ),
    metric(
        "druid_taskSlot_used_count",
        Gauge,
        "overlord",
        "",
        "Worker slots that are taken",
    ),
    metric(
        "druid_ingest_rows_published",
        Counter,
        "overlord",
        "dataSource",
        "Rows of published segments",
    ),
    metric(
        "druid_ingest_segments_count",
        Counter,
        "overlord",
        "dataSource",
        "Published segments",
    ),
    metric(
        "sarsen_overlord_leader",
        Gauge,
        "overlord",
        "",
        "1 where this Overlord leads, else 0",
    ),
    metric(
        "sarsen_overlord_nodes",
        Gauge,
        "overlord",
        "role",
        "Processes that are members",
    ),
    metric(
        "sarsen_overlord_slot_requests",
        Gauge,
        "overlord",
        "",
        "Requests for worker slots that wait",
    ),
    metric(
        "druid_sqlQuery_time",
        Time,
        "gateway",
        "success",
        "From a synchronous query's arrival to its last row",
    ),
    metric(
        "druid_query_success_count",
        Counter,
        "gateway",
        "",
        "Synchronous queries that were answered",
    ),
    metric(
        "druid_query_failed_count",
        Counter,
        "gateway",
        "",
        "Synchronous queries that failed",
    ),
    metric(
        "sarsen_http_requests",
        Counter,
        "gateway",
        "status",
        "HTTP requests that were answered",
    ),
    metric(
        "sarsen_controller_queries",
        Gauge,
        "controller",
        "",
        "Queries that run here",
    ),
    metric(
        "sarsen_controller_events",
        Counter,
        "controller",
        "",
        "Events of workers that were handled",
    ),
    metric(
        "sarsen_controller_workers_lost",
        Counter,
        "controller",
        "",
        "Worker tasks that were lost and replaced",
    ),
    metric(
        "druid_worker_task_running_count",
        Gauge,
        "worker",
        "",
        "Worker tasks that run here",
    ),
    metric(
        "druid_worker_taskSlot_total_count",
        Gauge,
        "worker",
        "",
        "Worker tasks that may run here at once",
    ),
    metric(
        "sarsen_worker_memory_limit_bytes",
        Gauge,
        "worker",
        "",
        "Memory that all worker tasks may use",
    ),
    metric(
        "sarsen_work_orders",
        Counter,
        "worker",
        "state",
        "Work orders that ended",
    ),
    metric(
        "sarsen_flight_sent_bytes",
        Counter,
        "worker",
        "",
        "Bytes of shuffled rows that other processes fetched",
    ),
    metric(
        "sarsen_flight_open_pulls",
        Gauge,
        "worker",
        "",
        "Streams of rows from other processes that this one has open, 64 at the most",
    ),
    metric(
        "sarsen_spilled_bytes",
        Counter,
        "worker",
        "",
        "Bytes that did not fit into memory",
    ),
    metric(
        "sarsen_work_order_time",
        Time,
        "worker",
        "state",
        "From the start of a work order to its end",
    ),
];

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0,
];

struct Recorder {
    page: PrometheusHandle,
    process: metrics_process::Collector,
}

static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();

/// Records metrics of this process from now on.
pub(crate) fn install() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_time".to_owned()), &BUCKETS);
        let installed = builder.and_then(PrometheusBuilder::install_recorder);
        let page = installed
            .inspect_err(|error| tracing::error!(%error, "no metrics are recorded"))
            .ok()?;
        for metric in METRICS {
            match metric.kind {
                Counter => describe_counter!(metric.name, metric.meaning),
                Gauge => describe_gauge!(metric.name, metric.meaning),
                Time => describe_histogram!(metric.name, Unit::Seconds, metric.meaning),
            }
        }
        let process = metrics_process::Collector::default();
        process.describe();
        Some(Recorder { page, process })
    });
}

/// The page that Prometheus reads.
pub(crate) fn render() -> String {
    let Some(recorder) = RECORDER.get().and_then(Option::as_ref) else {
        return String::new();
    };
    recorder.process.collect();
    recorder.page.run_upkeep();
    recorder.page.render()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Write;

    use super::*;

    fn page() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             Every role serves its metrics for Prometheus at `/metrics` of its `--admin-addr`, a gateway and a standalone also at\n\
             their HTTP address. Names and meanings are those of Druid and its Prometheus emitter where it has the metric; times\n\
             are seconds, in buckets. Each process has `process_…` beside these: CPU seconds, memory, threads and open files.\n\n\
             | metric | kind | role | labels | meaning |\n|---|---|---|---|---|\n",
        );
        for metric in METRICS {
            let kind = match metric.kind {
                Counter => "counter",
                Gauge => "gauge",
                Time => "histogram",
            };
            let Metric {
                name,
                role,
                labels,
                meaning,
                ..
            } = metric;
            writeln!(page, "| `{name}` | {kind} | {role} | {labels} | {meaning} |").unwrap();
        }
        page
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("SARSEN_UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let documented = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(documented, page(), "run with SARSEN_UPDATE_DOCS=1");
    }
}
