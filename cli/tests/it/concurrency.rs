//! Many queries at once, locks, limits and quotas, through the binary.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, PATIENCE, Standalone, events};

const TABLE: &str = "SELECT TIME_PARSE(t) AS __time, k, n, x FROM ";

/// A server that takes connections and never answers; what reads from it runs until it is ended.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.json", listener.local_addr().unwrap());
    (listener, url)
}

fn endless(url: &str) -> String {
    let source = json!({ "type": "http", "uris": [url] });
    format!(
        "TABLE(EXTERN('{source}', '{{\"type\":\"json\"}}')) EXTEND (t VARCHAR, k VARCHAR, n BIGINT, x DOUBLE)"
    )
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a controller has the task.
fn until_it_runs(api: &Api, task_id: &str) {
    until(task_id, || api.status(task_id)["runnerStatusCode"] == "RUNNING");
}

fn synchronous(api: &Api, query: &str, context: &Value) -> (u16, Value) {
    let body = json!({ "query": query, "resultFormat": "array", "context": context });
    api.send("POST", "/druid/v2/sql", Some(&body))
}

#[test]
fn fifty_queries_on_eight_slots_all_answer_right() {
    let cluster = Cluster::start(2, 1);
    let source = events(cluster.folder.path(), 20_000, 5);
    let insert = format!("INSERT INTO e {TABLE}{source} PARTITIONED BY DAY");
    cluster.api.run(&insert, &json!({ "maxNumTasks": 9 }));
    std::thread::scope(|scope| {
        for number in 0..50_i64 {
            let api = cluster.api.clone();
            scope.spawn(move || {
                // From one worker to more than there are slots.
                let context = json!({ "maxNumTasks": 2 + number % 12, "priority": 45 + number % 10 });
                let query = format!(
                    "SELECT k, COUNT(*), SUM(n + {number}) FROM e WHERE n % 997 = {number} GROUP BY k ORDER BY k"
                );
                let matching: Vec<i64> = (0..20_000).filter(|n| n % 997 == number).collect();
                let sum: i64 = matching.iter().map(|n| n + number).sum();
                let expected = json!([[format!("key{number}"), matching.len(), sum]]);
                if number % 2 == 0 {
                    let report = api.run(&query, &context);
                    assert_eq!(report["results"]["results"], expected, "{query}");
                } else {
                    assert_eq!(synchronous(&api, &query, &context), (200, expected), "{query}");
                }
            });
        }
    });
    assert_eq!(cluster.spilled_files(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn appending_while_a_replace_runs_loses_and_doubles_no_row() {
    let standalone = Standalone::start();
    let api = &standalone.api;
    let source = events(standalone.path(), 4_000, 2);
    let context = json!({ "useConcurrentLocks": true, "maxNumTasks": 3 });
    let insert = format!("INSERT INTO e {TABLE}{source} PARTITIONED BY DAY");
    api.run(&insert, &context);
    let mut appended = 1;
    for _ in 0..4 {
        let replace = "REPLACE INTO e OVERWRITE ALL SELECT * FROM e PARTITIONED BY DAY CLUSTERED BY k";
        std::thread::scope(|scope| {
            scope.spawn(|| api.run(replace, &context));
            for _ in 0..3 {
                appended += 1;
                scope.spawn(|| api.run(&insert, &context));
            }
        });
        let expected = json!([[4_000 * appended, 7_998_000 * appended]]);
        assert_eq!(api.rows("SELECT COUNT(*), SUM(n) FROM e"), expected);
    }
    // Alone, a REPLACE drops what it did not read.
    api.run(
        "REPLACE INTO e OVERWRITE ALL SELECT * FROM e WHERE n = 7 PARTITIONED BY DAY",
        &context,
    );
    assert_eq!(api.rows("SELECT COUNT(*) FROM e"), json!([[appended]]));
}

#[test]
fn a_task_of_higher_priority_takes_the_locks_of_one_that_runs() {
    let standalone = Standalone::start();
    let api = &standalone.api;
    let (_server, url) = silent_server();
    let query = format!(
        "REPLACE INTO e OVERWRITE ALL {TABLE}{} PARTITIONED BY DAY",
        endless(&url)
    );
    let low = api.submit(&query, &json!({}));
    until_it_runs(api, &low);
    let values =
        "REPLACE INTO e OVERWRITE ALL SELECT TIME_PARSE('2024-01-01') AS __time, 1 AS n PARTITIONED BY DAY";
    let equal = api.submit(values, &json!({ "priority": 50 }));
    assert_eq!(api.status(&equal)["runnerStatusCode"], "WAITING");
    api.run(values, &json!({ "priority": 51 }));
    let status = api.wait(&low);
    assert_eq!(status["status"], "FAILED");
    let error = &api.report(&low)["status"]["errorReport"]["error"];
    assert_eq!(error["errorCode"], "InsertLockPreempted");
    assert_eq!(
        error["errorMessage"],
        "Insert lock preempted by a higher-priority ingestion job"
    );
    assert_eq!(api.wait(&equal)["status"], "SUCCESS");
}

#[test]
fn limits_of_a_query_end_it_with_faults_that_name_them() {
    let standalone = Standalone::start();
    let api = &standalone.api;
    let source = events(standalone.path(), 3_000, 1);
    let select = format!("SELECT n FROM {source}");
    let insert = format!("INSERT INTO limited {TABLE}{source} PARTITIONED BY DAY");
    let sort = format!("SELECT a.k, b.n FROM {source} a, {source} b ORDER BY b.x, a.n, b.n LIMIT 10");
    for (query, setting, limit, code) in [
        (&select, "maxScannedBytes", 1_000, "TooManyScannedBytes"),
        (&insert, "maxScannedBytes", 1_000, "TooManyScannedBytes"),
        (&select, "maxOutputRows", 2_999, "TooManyOutputRows"),
        (&insert, "maxOutputRows", 2_999, "TooManyOutputRows"),
        (&sort, "maxQueryMemoryBytes", 1_000, "NotEnoughQueryMemory"),
    ] {
        let task = api.submit(query, &json!({ setting: limit }));
        assert_eq!(api.wait(&task)["status"], "FAILED", "{query} {setting}");
        let error = api.report(&task)["status"]["errorReport"]["error"].clone();
        assert_eq!(error["errorCode"], code, "{error}");
        assert_eq!(error[setting], limit, "{error}");
        assert!(
            error["errorMessage"].as_str().unwrap().contains(setting),
            "{error}"
        );
    }
    let context =
        json!({ "maxOutputRows": 3_000, "maxScannedBytes": "10000000", "maxQueryMemoryBytes": 100_000_000 });
    api.run(&select, &context);
    api.run(&insert, &context);
    let (status, error) = synchronous(api, &select, &json!({ "maxOutputRows": 10 }));
    assert_eq!(
        (status, &error["errorCode"]),
        (400, &json!("TooManyOutputRows")),
        "{error}"
    );
    for (bad, status) in [(json!(0), 400), (json!("many"), 400)] {
        let (found, error) = synchronous(api, &select, &json!({ "maxOutputRows": bad }));
        assert_eq!(found, status, "{error}");
    }
}

#[test]
fn a_timeout_ends_a_task_and_a_statement_that_waits() {
    let standalone = Standalone::with(&["--max-running-queries-per-user", "1"]);
    let api = &standalone.api;
    let (_server, url) = silent_server();
    let query = format!("SELECT n FROM {}", endless(&url));
    let task = api.submit(&query, &json!({ "timeout": 300 }));
    assert_eq!(api.wait(&task)["status"], "FAILED");
    let error = &api.report(&task)["status"]["errorReport"]["error"];
    assert_eq!(
        (&error["errorCode"], &error["errorMessage"]),
        (&json!("Canceled"), &json!("Query timed out"))
    );

    let runs = api.submit(&query, &json!({}));
    until_it_runs(api, &runs);
    let (status, error) = synchronous(
        api,
        "SELECT 1 FROM (VALUES (1)) AS v(x)",
        &json!({ "timeout": 200 }),
    );
    assert_eq!(
        (status, &error["errorMessage"]),
        (504, &json!("Query timed out")),
        "{error}"
    );
    api.send("POST", &format!("/druid/indexer/v1/task/{runs}/shutdown"), None);
    api.wait(&runs);
    assert_eq!(api.rows("SELECT x FROM (VALUES (1)) AS v(x)"), json!([[1]]));
}

#[test]
fn a_user_has_no_more_than_the_quota() {
    let flags = [
        "--max-running-queries-per-user",
        "1",
        "--max-queued-queries-per-user",
        "1",
    ];
    let standalone = Standalone::with(&flags);
    let api = &standalone.api;
    let (_server, url) = silent_server();
    let query = format!("SELECT n FROM {}", endless(&url));
    let runs = api.submit(&query, &json!({}));
    until_it_runs(api, &runs);
    let waits = api.submit(&query, &json!({}));
    assert_eq!(api.status(&waits)["runnerStatusCode"], "WAITING");
    let (status, error) = api.send("POST", "/druid/v2/sql/task", Some(&json!({ "query": query })));
    assert_eq!(status, 429, "{error}");
    assert_eq!(error["category"], "CAPACITY_EXCEEDED");
    assert!(
        error["errorMessage"]
            .as_str()
            .unwrap()
            .contains("--max-queued-queries-per-user")
    );
    for task in [waits, runs] {
        api.send("POST", &format!("/druid/indexer/v1/task/{task}/shutdown"), None);
    }
}

fn metadata(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .arg("metadata")
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .output()
        .unwrap()
}

#[test]
fn a_backup_taken_while_it_runs_restores_its_tables_and_tasks() {
    let standalone = Standalone::start();
    let source = events(standalone.path(), 500, 3);
    let task = standalone.api.submit(
        &format!("INSERT INTO e {TABLE}{source} PARTITIONED BY DAY"),
        &json!({}),
    );
    standalone.api.wait(&task);
    let data = standalone.path().join("data");
    let file = standalone.path().join("metadata.jsonl.gz");
    let name = file.to_str().unwrap();
    let taken = metadata(&["backup", name], &data);
    let said = String::from_utf8_lossy(&taken.stdout).into_owned();
    assert!(
        taken.status.success() && said.contains("backed up 3 segments and 1 tasks"),
        "{taken:?}"
    );
    let refused = metadata(&["restore", name], &data);
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("empty store"),
        "{refused:?}"
    );

    let restored = tempfile::tempdir().unwrap();
    assert!(metadata(&["restore", name], restored.path()).status.success());
    let (data_dir, deep_storage) = (restored.path().to_str().unwrap(), data.join("deep-storage"));
    let flags = [
        "--data-dir",
        data_dir,
        "--deep-storage",
        deep_storage.to_str().unwrap(),
    ];
    let other = Standalone::with_own_data(&flags);
    assert_eq!(other.api.rows("SELECT COUNT(*) FROM e"), json!([[500]]));
    assert_eq!(other.api.status(&task)["status"], "SUCCESS");
}
