//! The requests of Druid's page on SQL-based ingestion, as the page writes them.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, Standalone};
use crate::http_source::serve;
use crate::oracle::python;

fn gzipped(lines: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(lines.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn input() -> String {
    let wikipedia: String = (0..100)
        .map(|row| {
            format!(
                "{{\"timestamp\":\"2016-06-27T{:02}:00:11.080Z\",\"channel\":\"#c{}\",\"added\":{row},\"page\":\"p\",\"isRobot\":true}}\n",
                row % 24,
                row % 3
            )
        })
        .collect();
    let kttm: String = (0..50)
        .map(|row| {
            format!("{{\"timestamp\":\"2019-08-25T00:00:{row:02}Z\",\"agent_category\":\"a{}\",\"agent_type\":\"b\"}}\n", row % 4)
        })
        .collect();
    serve(HashMap::from([
        ("/data/wikipedia.json.gz".to_owned(), gzipped(&wikipedia)),
        ("/kttm-v2-2019-08-25.json.gz".to_owned(), gzipped(&kttm)),
    ]))
}

/// One of the page's blocks, as it is written there, with the addresses and the task replaced.
fn block(file: &str, server: &Api, input: &str, task_id: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/page")
        .join(file);
    let address = server.url.trim_start_matches("http://");
    std::fs::read_to_string(path)
        .unwrap()
        .replace("<your-instance>:<port>", address)
        .replace("<hostname>:<port>", address)
        .replace("https://<username>:<password>@", "http://user:pass@")
        .replace("https://druid.apache.org", input)
        .replace("<taskId>", task_id)
}

/// Sends an HTTP block: a line with method and path, and a body where there is one.
fn send(block: &str, api: &Api) -> (u16, Value) {
    let (request, body) = block.split_once('\n').unwrap();
    let (method, path) = request.split_once(' ').unwrap();
    let body: Option<Value> = (!body.is_empty()).then(|| serde_json::from_str(body).unwrap());
    api.send(method, path, body.as_ref())
}

/// The query shape of the page's report: no time column, all rows in one chunk.
fn kttm_simple(url: &str) -> String {
    format!(
        "REPLACE INTO \"kttm_simple\" OVERWRITE ALL\nSELECT \"timestamp\", \"agent_category\", \"agent_type\"\nFROM TABLE(EXTERN(\
         '{{\"type\": \"http\", \"uris\": [\"{url}/kttm-v2-2019-08-25.json.gz\"]}}', '{{\"type\": \"json\"}}', \
         '[{{\"name\": \"timestamp\", \"type\": \"string\"}}, {{\"name\": \"agent_category\", \"type\": \"string\"}}, \
         {{\"name\": \"agent_type\", \"type\": \"string\"}}]'))\nPARTITIONED BY ALL TIME"
    )
}

fn check(api: &Api) {
    let input = input();
    let (status, submitted) = send(&block("submit.http", api, &input, ""), api);
    assert_eq!(status, 202, "{submitted}");
    assert_eq!(submitted["state"], "RUNNING");
    let task_id = submitted["taskId"].as_str().unwrap();
    // All answer from the moment the id is there.
    assert_eq!(api.status(task_id)["id"], task_id);
    let (status, task) = send(&block("status.http", api, &input, task_id), api);
    assert_eq!((status, &task["task"]), (200, &json!(task_id)), "{task}");
    let (status, report) = send(&block("report.http", api, &input, task_id), api);
    assert_eq!(status, 200, "{report}");
    assert!(
        report["multiStageQuery"]["payload"]["status"].is_object(),
        "{report}"
    );
    let status = api.wait(task_id);
    assert_eq!(status["statusCode"], "SUCCESS", "{status}");
    assert_eq!(
        api.rows("SELECT COUNT(*), SUM(added) FROM wikipedia"),
        json!([[100, 4950]])
    );

    let report = api.run(&kttm_simple(&input), &json!({}));
    assert_eq!(
        api.rows("SELECT COUNT(*), MIN(__time) FROM kttm_simple"),
        json!([[50, "1970-01-01T00:00:00.000Z"]])
    );
    check_report(&report);
}

/// Each field of the page's example is there with its type.
fn check_report(report: &Value) {
    let status = &report["status"];
    assert_eq!(status["status"], "SUCCESS");
    assert!(status["startTime"].as_str().unwrap().ends_with('Z'));
    assert!(status["durationMs"].as_i64().unwrap() >= 0);
    let stages = report["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 2, "{report}");
    for (number, stage) in stages.iter().enumerate() {
        assert_eq!(stage["stageNumber"], number);
        assert!(
            stage["definition"]["id"]
                .as_str()
                .unwrap()
                .ends_with(&format!("_{number}"))
        );
        assert_eq!(stage["phase"], "FINISHED");
        assert_eq!(stage["workerCount"], 1);
        assert_eq!(stage["partitionCount"], 1, "{stage}");
        assert!(stage["startTime"].is_string());
        assert!(stage["duration"].is_i64());
        assert!(stage["definition"]["maxWorkerCount"].is_i64());
    }
    let read = &stages[0]["definition"];
    assert_eq!(read["input"][0]["type"], "external");
    assert_eq!(read["input"][0]["inputSource"]["type"], "http");
    assert_eq!(read["input"][0]["inputFormat"]["type"], "json");
    assert_eq!(
        read["input"][0]["signature"][0],
        json!({ "name": "timestamp", "type": "STRING" })
    );
    assert_eq!(read["processor"]["type"], "scan");
    assert!(read["shuffleSpec"]["type"].is_string());
    let write = &stages[1]["definition"];
    assert_eq!(write["input"], json!([{ "type": "stage", "stage": 0 }]));
    assert_eq!(write["processor"]["type"], "segmentGenerator");
    assert_eq!(write["processor"]["dataSchema"]["dataSource"], "kttm_simple");
    assert_eq!(write["signature"], json!([]));
    let counters = &report["counters"]["0"]["0"];
    assert_eq!(counters["input0"]["type"], "channel");
    assert_eq!(counters["input0"]["rows"], json!([50]));
    assert_eq!(counters["input0"]["files"], json!([1]));
    assert_eq!(counters["input0"]["totalFiles"], json!([1]));
    for channel in ["output", "shuffle"] {
        assert_eq!(counters[channel]["rows"], json!([50]));
        assert!(counters[channel]["bytes"][0].as_u64().unwrap() > 0);
        assert!(counters[channel]["frames"][0].as_u64().unwrap() > 0);
    }
    let written = &report["counters"]["1"]["0"];
    assert_eq!(written["input0"]["rows"], json!([50]));
    assert_eq!(written["segmentGenerationProgress"]["rowsPushed"], 50);
}

#[test]
fn the_pages_requests_run_against_standalone() {
    check(&Standalone::start().api);
}

#[test]
fn the_pages_requests_run_against_separate_processes() {
    check(&Cluster::start(1, 2).api);
}

/// Runs a block with its interpreter; answers what it prints.
fn run_block(mut interpreter: Command, block: &str) -> Value {
    let output = interpreter.args(["-c", block]).output().unwrap();
    assert!(
        output.status.success(),
        "{block}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{block}\nprinted {printed}"))
}

/// Submits, asks for status and report, and cancels by the page's blocks in one language.
fn check_blocks(extension: &str, interpreter: impl Fn() -> Command) {
    let server = Standalone::start();
    let (api, input) = (&server.api, input());
    let run = |name: &str, task_id: &str| {
        run_block(
            interpreter(),
            &block(&format!("{name}.{extension}"), api, &input, task_id),
        )
    };
    let submitted = run("submit", "");
    assert_eq!(submitted["state"], "RUNNING", "{submitted}");
    let task_id = submitted["taskId"].as_str().unwrap();
    api.wait(task_id);
    let status = run("status", task_id);
    assert_eq!(status["task"], task_id);
    assert_eq!(status["status"]["statusCode"], "SUCCESS", "{status}");
    assert_eq!(status["status"]["dataSource"], "wikipedia");
    let report = run("report", task_id);
    assert_eq!(report["multiStageQuery"]["taskId"], task_id);
    assert_eq!(
        report["multiStageQuery"]["payload"]["status"]["status"], "SUCCESS",
        "{report}"
    );
    assert_eq!(
        api.rows("SELECT COUNT(*), SUM(added) FROM wikipedia"),
        json!([[100, 4950]])
    );
    // A task that runs is ended by the cancel block.
    let endless = "SELECT COUNT(*) FROM wikipedia a, wikipedia b, wikipedia c, wikipedia d, wikipedia e \
                   WHERE a.added + b.added + c.added + d.added + e.added = 1";
    let task_id = api.submit(endless, &json!({}));
    assert_eq!(run("cancel", &task_id), json!({ "task": task_id }));
    let status = api.wait(&task_id);
    assert_eq!(status["statusCode"], "FAILED", "{status}");
    assert!(
        status["errorMsg"].as_str().unwrap().contains("Cancel"),
        "{status}"
    );
}

#[test]
fn the_pages_curl_blocks_run() {
    check_blocks("sh", || Command::new("bash"));
}

#[test]
fn the_pages_python_blocks_run() {
    check_blocks("py", || Command::new(python()));
}
