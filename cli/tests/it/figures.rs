//! Figures that are measured when they are asked for: `cargo test --test it figures -- --ignored --nocapture`;
//! `SARSEN_BIN` names the binary that is measured.

use std::time::{Duration, Instant};

use sarsen_proto::membership::overlord;
use sarsen_proto::transport::Network;
use sarsen_proto::v1;
use serde_json::json;

use crate::cluster::{Process, Standalone, free_port};

/// CPU time of a process since its start, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Heartbeats of idle workers, each over a connection of its own, as workers send them.
async fn beat(address: String, number: usize) {
    let network = Network::default();
    let mut client = overlord(&network, &address).unwrap();
    let node = v1::Node {
        node_id: format!("worker{number}"),
        role: v1::Role::Worker.into(),
        address: format!("http://10.0.{}.{}:8091", number / 250, number % 250),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        slots: 4,
        ..Default::default()
    };
    tokio::time::sleep(Duration::from_millis(number as u64 % 1_000)).await;
    loop {
        let request = v1::HeartbeatRequest {
            node: Some(node.clone()),
        };
        let _ = client.heartbeat(request).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[test]
#[ignore = "measures for a while"]
fn idle_workers_cost_the_overlord_little() {
    for workers in [200, 1_000] {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let data = folder.path().join("data").to_string_lossy().into_owned();
        let address = format!("127.0.0.1:{port}");
        let arguments = ["overlord", "--grpc-addr", &address, "--data-dir", &data].map(str::to_owned);
        let process = Process::start("overlord", folder.path(), &arguments);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for number in 0..workers {
            runtime.spawn(beat(format!("http://{address}"), number));
        }
        std::thread::sleep(Duration::from_secs(5));
        let (before, began) = (cpu_seconds(process.id()), Instant::now());
        std::thread::sleep(Duration::from_secs(15));
        let share = (cpu_seconds(process.id()) - before) / began.elapsed().as_secs_f64();
        eprintln!("{workers} idle workers: {:.1} % of a core", 100.0 * share);
        runtime.shutdown_background();
    }
}

#[test]
#[ignore = "measures for a while"]
fn the_first_work_order_goes_out_soon_after_the_submission() {
    let standalone = Standalone::start();
    let api = &standalone.api;
    let mut waits: Vec<i64> = (0..500)
        .map(|number| {
            let query = format!("SELECT x + {number} FROM (VALUES (1)) AS v(x)");
            let submitted = sarsen_overlord::time::now_ms();
            let report = api.run(&query, &json!({}));
            let text = report["stages"][0]["startTime"].as_str().unwrap().to_owned();
            sarsen_overlord::time::parse_ms(&text).unwrap() - submitted
        })
        .collect();
    waits.sort_unstable();
    eprintln!(
        "submit to first work order: p50 {} ms, p99 {} ms",
        waits[250], waits[495]
    );
}
