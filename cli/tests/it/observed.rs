//! What processes tell of themselves: metrics, readiness, the state of a query, traces.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, PATIENCE, events, free_port};

fn admin_ports() -> BTreeMap<&'static str, u16> {
    ["gateway", "worker0", "controller0", "overlord"]
        .map(|name| (name, free_port()))
        .into()
}

#[test]
fn every_role_tells_of_itself_at_its_admin_address() {
    let ports = admin_ports();
    let cluster = Cluster::with(1, 1, |name| {
        vec!["--admin-addr".to_owned(), format!("127.0.0.1:{}", ports[name])]
    });
    let admin = |name: &str| Api::new(format!("http://127.0.0.1:{}", ports[name]));
    let table = events(cluster.folder.path(), 1000, 4);
    let insert =
        format!("INSERT INTO t SELECT TIME_PARSE(t) AS __time, k, n FROM {table} PARTITIONED BY DAY");
    cluster.api.run(&insert, &json!({}));
    cluster.api.rows("SELECT COUNT(*) FROM t");
    let page = |name: &str| {
        admin(name)
            .send("GET", "/metrics", None)
            .1
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (name, lines) in [
        (
            "overlord",
            &[
                "druid_task_success_count{dataSource=\"t\"} 1",
                "druid_ingest_rows_published{dataSource=\"t\"} 1000",
                "druid_ingest_segments_count{dataSource=\"t\"} 4",
                "druid_taskSlot_total_count 8",
                "druid_task_run_time_count{dataSource=\"t\",taskStatus=\"SUCCESS\"} 1",
                "sarsen_overlord_leader 1",
                "sarsen_overlord_nodes{role=\"worker\"} 1",
            ][..],
        ),
        ("controller0", &["sarsen_controller_queries 0"][..]),
        (
            "worker0",
            &[
                "druid_worker_taskSlot_total_count 8",
                "sarsen_work_orders{state=\"success\"}",
            ][..],
        ),
        (
            "gateway",
            &[
                "druid_query_success_count 1",
                "druid_sqlQuery_time_count{success=\"true\"} 1",
            ][..],
        ),
    ] {
        let page = page(name);
        for line in lines.iter().chain(&["process_resident_memory_bytes "]) {
            assert!(
                page.lines().any(|found| found.starts_with(line)),
                "{name} lacks {line}:\n{page}"
            );
        }
        assert_eq!(admin(name).send("GET", "/status/ready", None).0, 200, "{name}");
    }
    let own = cluster.api.send("GET", "/metrics", None).1;
    assert!(own.as_str().unwrap().contains("sarsen_http_requests"), "{own}");
}

/// A query over three thousand rows that takes longer than any test.
fn slow_query(cluster: &Cluster) -> String {
    let table = events(cluster.folder.path(), 3000, 4);
    let slow = format!("SELECT COUNT(*) FROM {table} a, {table} b, {table} c WHERE a.n + b.n + c.n < 0");
    slow.replacen(&table, &format!("(SELECT * FROM {table})"), 3)
}

#[test]
fn a_process_that_drains_is_not_ready() {
    let ports = admin_ports();
    let cluster = Cluster::with(1, 1, |name| {
        vec!["--admin-addr".to_owned(), format!("127.0.0.1:{}", ports[name])]
    });
    let slow = slow_query(&cluster);
    cluster.api.submit(&slow, &json!({}));
    // A request that the gateway has to wait for.
    let (url, body) = (
        format!("{}/druid/v2/sql", cluster.api.url),
        json!({ "query": slow }),
    );
    std::thread::spawn(move || {
        let http = reqwest::blocking::Client::builder().timeout(PATIENCE).build();
        let _ = http.unwrap().post(url).json(&body).send();
    });
    let admin = |name: &str| Api::new(format!("http://127.0.0.1:{}", ports[name]));
    let until = |name: &str, wanted: &dyn Fn(u16, &Value) -> bool| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, answer) = admin(name).send("GET", "/status/ready", None);
            if wanted(status, &answer) {
                return;
            }
            assert!(Instant::now() < deadline, "{name}: {answer}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    // Both queries run.
    let deadline = Instant::now() + PATIENCE;
    let queries = || admin("controller0").send("GET", "/debug/queries", None).1;
    while queries().as_object().is_none_or(|queries| queries.len() < 2) {
        assert!(Instant::now() < deadline, "the queries do not run");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for (name, role, process) in [
        ("gateway", "gateway", &cluster.gateway),
        ("controller0", "controller", &cluster.controllers[0]),
    ] {
        until(name, &|status, _| status == 200);
        process.signal("TERM");
        until(name, &|status, answer| {
            status == 503 && answer["reasons"][role] == "it is shutting down"
        });
    }
}

#[test]
fn the_state_of_a_running_query_can_be_seen() {
    let ports = admin_ports();
    let cluster = Cluster::with(1, 1, |name| {
        vec!["--admin-addr".to_owned(), format!("127.0.0.1:{}", ports[name])]
    });
    let slow = slow_query(&cluster);
    let task = cluster.api.submit(&slow, &json!({}));
    let query = task.trim_start_matches("query-").to_owned();
    for (role, part) in [
        ("overlord", "/slots/0"),
        ("controller0", "/report/stages/0"),
        ("worker0", "/0/state/workOrders/0"),
    ] {
        let admin = Api::new(format!("http://127.0.0.1:{}", ports[role]));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, dump) = admin.send("GET", &format!("/debug/queries/{query}"), None);
            let state = dump["parts"][0]["state"].clone();
            if status == 200 && state.pointer(part).is_some() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{role}: {dump}\n{}",
                cluster.api.report(&task)
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(admin.send("GET", "/debug/queries/unknown", None).0, 404);
    }
    cluster
        .api
        .send("POST", &format!("/druid/indexer/v1/task/{task}/shutdown"), None);
    cluster.api.wait(&task);
}

/// Spans that were received: (trace, service, name).
type Spans = Arc<Mutex<BTreeSet<(String, String, String)>>>;

#[derive(Clone, Default)]
struct Receiver(Spans);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut spans = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes
                .iter()
                .find(|attribute| attribute.key == "service.name");
            let service = format!("{:?}", name.and_then(|name| name.value.clone()));
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                spans.insert((trace, service.clone(), span.name));
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[test]
fn one_trace_leads_from_the_request_to_its_work_orders() {
    let receiver = Receiver::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = free_port();
    let service = TraceServiceServer::new(receiver.clone());
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve(([127, 0, 0, 1], port).into()),
    );
    let cluster = Cluster::with(1, 1, |_| {
        vec!["--otlp-endpoint".to_owned(), format!("http://127.0.0.1:{port}")]
    });
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let client = reqwest::blocking::Client::new();
    let answer = client
        .post(format!("{}/druid/v2/sql", cluster.api.url))
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&json!({"query": "SELECT 1 AS one"}))
        .send()
        .unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!([{"one": 1}]));
    let expected = [
        ("sarsen-gateway", "statement"),
        ("sarsen-controller", "task"),
        ("sarsen-worker", "worker-task"),
        ("sarsen-worker", "work-order"),
    ];
    let deadline = Instant::now() + PATIENCE;
    loop {
        let spans = receiver.0.lock().unwrap().clone();
        let has = |service: &str, name: &str| {
            spans
                .iter()
                .any(|span| span.0 == trace && span.1.contains(service) && span.2 == name)
        };
        if expected.iter().all(|(service, name)| has(service, name)) {
            break;
        }
        assert!(Instant::now() < deadline, "{spans:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
