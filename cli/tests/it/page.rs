//! The requests of Druid's page on SQL-based ingestion, as the page writes them.

use std::collections::HashMap;
use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, PATIENCE, Standalone};
use crate::http_source::serve;

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

/// The page's first request, its URI changed.
fn first_request(url: &str) -> Value {
    let columns = [
        ("added", "long"),
        ("channel", "string"),
        ("cityName", "string"),
        ("comment", "string"),
        ("commentLength", "long"),
        ("countryIsoCode", "string"),
        ("countryName", "string"),
        ("deleted", "long"),
        ("delta", "long"),
        ("deltaBucket", "string"),
        ("diffUrl", "string"),
        ("flags", "string"),
        ("isAnonymous", "string"),
        ("isMinor", "string"),
        ("isNew", "string"),
        ("isRobot", "string"),
        ("isUnpatrolled", "string"),
        ("metroCode", "string"),
        ("namespace", "string"),
        ("page", "string"),
        ("regionIsoCode", "string"),
        ("regionName", "string"),
        ("timestamp", "string"),
        ("user", "string"),
    ];
    let signature: Vec<String> = columns
        .iter()
        .map(|(name, of_type)| format!("{{\"name\": \"{name}\", \"type\": \"{of_type}\"}}"))
        .collect();
    json!({
        "query": format!(
            "INSERT INTO wikipedia\nSELECT\n  TIME_PARSE(\"timestamp\") AS __time,\n  *\nFROM TABLE(\n  EXTERN(\n    \
             '{{\"type\": \"http\", \"uris\": [\"{url}/data/wikipedia.json.gz\"]}}',\n    '{{\"type\": \"json\"}}',\n    '[{}]'\n  )\n)\n\
             PARTITIONED BY DAY",
            signature.join(", ")
        ),
        "context": { "maxNumTasks": 3 }
    })
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
    let (status, submitted) = api.send("POST", "/druid/v2/sql/task", Some(&first_request(&input)));
    assert_eq!(status, 202, "{submitted}");
    assert_eq!(submitted["state"], "RUNNING");
    let task_id = submitted["taskId"].as_str().unwrap();
    // Both answer from the moment the id is there.
    assert_eq!(api.status(task_id)["id"], task_id);
    assert!(api.report(task_id)["status"].is_object());
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

#[test]
fn the_pages_curl_and_python_blocks_run() {
    let server = Standalone::start();
    let url = server.api.url.replacen("http://", "http://user:password@", 1);
    let body = first_request(&input()).to_string();
    // As the page quotes it for a shell.
    let script = format!(
        "curl --silent --location --request POST '{url}/druid/v2/sql/task/' \\\n  --header 'Content-Type: application/json' \\\n  \
         --data-raw '{}'",
        body.replace('\'', "'\\''")
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let task_id = answer["taskId"].as_str().unwrap().to_owned();
    assert_eq!(server.api.wait(&task_id)["status"], "SUCCESS");
    let script =
        format!("curl --silent --location --request POST '{url}/druid/indexer/v1/task/{task_id}/shutdown'");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        json!({ "task": task_id })
    );
    assert!(PATIENCE.as_secs() > 0);
}
