//! Roles as separate processes: waiting for each other, many queries at once, kill -9.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, Process, events};

const TABLE: &str = "SELECT TIME_PARSE(t) AS __time, k, n, x FROM ";

/// A query that takes a while and whose answer is known: rows, groups and sum of [`events`] tripled.
fn heavy(rows: i64) -> (String, Value) {
    let query = "SELECT COUNT(*), SUM(c), SUM(s) FROM (SELECT n, k, COUNT(*) c, SUM(n) s FROM \
                 (SELECT * FROM e UNION ALL SELECT * FROM e UNION ALL SELECT * FROM e) GROUP BY n, k)";
    (
        query.to_owned(),
        json!([[rows, 3 * rows, 3 * (rows * (rows - 1) / 2)]]),
    )
}

fn results(report: &Value) -> Value {
    report["results"]["results"].clone()
}

/// Puts [`events`] of so many rows and days into table `e`; the report.
fn insert_events(cluster: &Cluster, rows: u32, days: u32, context: &Value) -> Value {
    let source = events(cluster.folder.path(), rows, days);
    let insert = format!("INSERT INTO e {TABLE}{source} PARTITIONED BY DAY");
    cluster.api.run(&insert, context)
}

/// Waits for a query's end, and holds its rows against the expected ones.
fn answers(cluster: &Cluster, task_id: &str, expected: &Value) {
    let status = cluster.api.wait(task_id);
    assert_eq!(status["status"], "SUCCESS", "{status}");
    assert_eq!(results(&cluster.api.report(task_id)), *expected);
}

/// Waits until some stage of a task has read rows.
fn wait_until_it_reads(cluster: &Cluster, task_id: &str) {
    let deadline = Instant::now() + PATIENCE;
    while cluster.api.report(task_id)["counters"]
        .as_object()
        .is_none_or(|stages| stages.is_empty())
    {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn twenty_queries_at_once_all_answer_right() {
    let mut cluster = Cluster::start(2, 3);
    let context = json!({ "maxNumTasks": 4 });
    let report = insert_events(&cluster, 20_000, 5, &context);
    assert_eq!(
        report["status"]["segmentReport"]["shardSpec"],
        "NumberedShardSpec"
    );
    assert_eq!(
        cluster.api.rows("SELECT COUNT(*), SUM(n) FROM e"),
        json!([[20_000, 199_990_000]])
    );

    let queries: Vec<(String, Value)> = (0..20)
        .map(|number| {
            let query = format!(
                "SELECT k, COUNT(*), SUM(n + {number}) FROM e WHERE n % 997 = {number} GROUP BY k ORDER BY k"
            );
            let expected: Vec<i64> = (0..20_000).filter(|n| n % 997 == number).collect();
            let sum: i64 = expected.iter().map(|n| n + number).sum();
            (query, json!([[format!("key{number}"), expected.len(), sum]]))
        })
        .collect();
    std::thread::scope(|scope| {
        for (query, expected) in &queries {
            let api = cluster.api.clone();
            scope.spawn(move || {
                assert_eq!(
                    results(&api.run(query, &json!({ "maxNumTasks": 3 }))),
                    *expected,
                    "{query}"
                )
            });
        }
    });
    assert_eq!(cluster.spilled_files(), Vec::<std::path::PathBuf>::new());

    // Rows went from worker to worker, and only results anywhere else.
    let sent: u64 = cluster
        .workers
        .iter_mut()
        .map(|worker| {
            assert_eq!(worker.terminate(), Some(0), "{}", worker.log_text());
            worker
                .numbers_logged("flight_bytes_sent=")
                .into_iter()
                .sum::<u64>()
        })
        .sum();
    assert!(sent > 20_000, "{sent} bytes crossed Flight");
    for process in cluster
        .controllers
        .iter_mut()
        .chain([&mut cluster.gateway, &mut cluster.overlord])
    {
        assert_eq!(process.terminate(), Some(0), "{}", process.log_text());
        assert!(!process.log_text().contains("flight_bytes_sent"));
    }
}

/// `files` of so many rows each, below one folder; answers SQL that reads them.
fn many_files(cluster: &Cluster, files: u32, rows: u32) -> String {
    let folder = cluster.folder.path().join("many");
    std::fs::create_dir_all(&folder).unwrap();
    for file in 0..files {
        let lines: String = (file * rows..(file + 1) * rows)
            .map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(400)))
            .collect();
        std::fs::write(folder.join(format!("{file}.json")), lines).unwrap();
    }
    let source = json!({ "type": "local", "baseDir": folder.to_string_lossy(), "filter": "*.json" });
    format!("TABLE(EXTERN('{source}', '{{\"type\":\"json\"}}')) EXTEND (n BIGINT, \"text\" VARCHAR)")
}

/// Files that a worker has read of the first stage's input, and how many it was given.
fn files_of(report: &Value, worker: usize) -> (u64, u64) {
    let input = &report["counters"]["0"][worker.to_string()]["input0"];
    let number = |field: &str| input[field][0].as_u64().unwrap_or(0);
    (number("files"), number("totalFiles"))
}

#[test]
fn files_that_a_slow_worker_has_not_begun_are_read_by_the_others() {
    const FILES: u32 = 300;
    const ROWS: u32 = 20;
    let cluster = Cluster::start(1, 2);
    let source = many_files(&cluster, FILES, ROWS);
    let length = "CHAR_LENGTH(REGEXP_REPLACE(\"text\", '(x)(x)', '$2y'))";
    let query = format!("SELECT COUNT(*), SUM(n), SUM({length}) FROM {source}");
    let task_id = cluster.api.submit(&query, &json!({ "maxNumTasks": 3 }));
    let wait_until = |read: &dyn Fn(&Value) -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !read(&cluster.api.report(&task_id)) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait_until(&|report| (0..2).any(|worker| files_of(report, worker).0 > 0));
    cluster.workers[0].signal("STOP");
    // Placed up front, half of the files would be the stopped one's.
    let most = u64::from(FILES) * 2 / 3;
    wait_until(&|report| (0..2).any(|worker| files_of(report, worker).0 > most));
    cluster.workers[0].signal("CONT");
    let n = i64::from(FILES * ROWS);
    answers(&cluster, &task_id, &json!([[n, n * (n - 1) / 2, 400 * n]]));
    let report = cluster.api.report(&task_id);
    let given = [0, 1].map(|worker| files_of(&report, worker));
    assert_eq!(given.map(|(files, total)| total - files), [0, 0]);
    assert_eq!(
        given.map(|(files, _)| files).iter().sum::<u64>(),
        u64::from(FILES)
    );
}

#[test]
fn a_worker_killed_midway_costs_no_rows_and_leaves_no_files() {
    let mut cluster = Cluster::start(1, 3);
    let context = json!({ "maxNumTasks": 4 });
    insert_events(&cluster, 60_000, 8, &context);
    let (query, expected) = heavy(60_000);
    for victim in 0..2 {
        let task_id = cluster.api.submit(&query, &context);
        wait_until_it_reads(&cluster, &task_id);
        cluster.workers[victim].kill();
        answers(&cluster, &task_id, &expected);
        cluster.workers[victim] = cluster.restart(&format!("worker{victim}"));
    }
    let replace = "REPLACE INTO f OVERWRITE ALL SELECT * FROM (SELECT * FROM e UNION ALL SELECT * FROM e) \
                   PARTITIONED BY HOUR CLUSTERED BY k";
    let task_id = cluster.api.submit(replace, &context);
    wait_until_it_reads(&cluster, &task_id);
    cluster.workers[2].kill();
    let status = cluster.api.wait(&task_id);
    assert_eq!(status["status"], "SUCCESS", "{status}");
    assert_eq!(
        cluster.api.rows("SELECT COUNT(*), SUM(n) FROM f"),
        json!([[120_000, 3_599_940_000_i64]])
    );
    let deadline = Instant::now() + PATIENCE;
    while !cluster.unpublished_files("f").is_empty() {
        assert!(Instant::now() < deadline, "{:?}", cluster.unpublished_files("f"));
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.workers[2] = cluster.restart("worker2");
    cluster.api.wait_for_health();
    let deadline = Instant::now() + PATIENCE;
    while !cluster.spilled_files().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", cluster.spilled_files());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_controller_killed_midway_is_replaced_under_the_same_task_id() {
    let mut cluster = Cluster::start(2, 2);
    let context = json!({ "maxNumTasks": 3 });
    insert_events(&cluster, 40_000, 4, &context);
    let (query, expected) = heavy(40_000);
    let task_id = cluster.api.submit(&query, &context);
    wait_until_it_reads(&cluster, &task_id);
    let location = cluster.api.status(&task_id)["location"].to_string();
    let runs_it = |process: &Process| process.log_text().contains("task starts");
    let victim = cluster
        .controllers
        .iter()
        .rposition(runs_it)
        .unwrap_or_else(|| panic!("nobody runs it: {location}"));
    for controller in &mut cluster.controllers {
        if controller
            .log_text()
            .contains(task_id.trim_start_matches("query-"))
        {
            controller.kill();
        }
    }
    let status = cluster.api.wait(&task_id);
    assert_eq!(status["status"], "SUCCESS", "victim {victim}: {status}");
    assert_eq!(results(&cluster.api.report(&task_id)), expected);
}

#[test]
fn status_and_report_survive_the_overlord() {
    let mut cluster = Cluster::start(1, 1);
    let report = cluster
        .api
        .run("SELECT 1 + 1 AS x", &json!({ "sqlQueryId": "kept" }));
    cluster.overlord.kill();
    let (status, body) = cluster.api.send("GET", "/status/health", None);
    assert_eq!(status, 503, "{body}");
    assert!(
        body["errorMessage"].as_str().unwrap().contains("Overlord"),
        "{body}"
    );
    cluster.overlord = cluster.restart("overlord");
    cluster.api.wait_for_health();
    assert_eq!(cluster.api.status("query-kept")["status"], "SUCCESS");
    assert_eq!(results(&cluster.api.report("query-kept")), results(&report));
    assert_eq!(
        results(&cluster.api.run("SELECT 2 AS y", &json!({}))),
        json!([[2]])
    );
}

#[test]
fn a_cluster_is_upgraded_process_by_process_while_queries_run() {
    let mut cluster = Cluster::start(2, 3);
    let context = json!({ "maxNumTasks": 3 });
    insert_events(&cluster, 20_000, 4, &context);
    let (query, expected) = heavy(20_000);
    let tasks: Vec<String> = (0..20).map(|_| cluster.api.submit(&query, &context)).collect();
    let mut numbers = sarsen_proto::version::VERSION
        .split('.')
        .map(|number| number.parse::<u32>().unwrap());
    let next = format!("{}.{}.0", numbers.next().unwrap(), numbers.next().unwrap() + 1);
    assert_eq!(cluster.overlord.terminate(), Some(0));
    cluster.overlord = cluster.restart_as("overlord", &next);
    for number in 0..3 {
        assert_eq!(cluster.workers[number].terminate(), Some(0));
        cluster.workers[number] = cluster.restart_as(&format!("worker{number}"), &next);
        if number < 2 {
            assert_eq!(cluster.controllers[number].terminate(), Some(0));
            cluster.controllers[number] = cluster.restart_as(&format!("controller{number}"), &next);
        }
    }
    assert_eq!(cluster.gateway.terminate(), Some(0));
    cluster.gateway = cluster.restart_as("gateway", &next);
    cluster.api.wait_for_health();
    for task in tasks {
        answers(&cluster, &task, &expected);
    }
    // No worker was asked to take part in a query of another version: it would have refused, and said so.
    for process in cluster.workers.iter().chain(&cluster.controllers) {
        assert!(
            !process.log_text().contains("of another version"),
            "{}",
            process.log_text()
        );
    }
}
