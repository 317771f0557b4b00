//! Everything in an S3 bucket behind a proxy that fails one request in ten: deep storage, reports, EXTERN, durable
//! outputs of stages, exports.

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, Standalone, events, walk};
use crate::s3::{FaultyProxy, S3Server};

const BUCKET: &str = "bucket";

/// Credentials for the processes that these tests start, as users give them.
#[allow(unsafe_code)]
fn keys_in_environment() {
    static ONCE: Once = Once::new();
    // SAFETY: the environment is only read through std here, which has a lock for it.
    ONCE.call_once(|| unsafe {
        std::env::set_var("AWS_ACCESS_KEY_ID", "test");
        std::env::set_var("AWS_SECRET_ACCESS_KEY", "test");
    });
}

/// A server, and the proxy that Sarsen knows it by.
fn faulty_bucket(one_in: u64) -> (S3Server, FaultyProxy) {
    keys_in_environment();
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let seed = std::env::var("SARSEN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let proxy = FaultyProxy::start(server.address(), seed.unwrap_or(7), one_in);
    (server, proxy)
}

fn results(report: &Value) -> Value {
    report["results"]["results"].clone()
}

/// An EXTERN of objects, with columns.
fn objects(source: &Value, format: &str, columns: &str) -> String {
    // A csv file of ours begins with the names of its columns.
    let format = match format {
        "csv" => json!({ "type": "csv", "findColumnsFromHeader": true }),
        format => json!({ "type": format }),
    };
    format!("TABLE(EXTERN('{source}', '{format}')) EXTEND ({columns})")
}

/// The lines of [`events`] in objects below `in/`.
fn upload_events(server: &S3Server, folder: &Path, rows: u32) {
    events(folder, rows, 4);
    let text = std::fs::read_to_string(folder.join("events.json")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (number, lines) in lines.chunks(lines.len().div_ceil(6)).enumerate() {
        let body = lines.join("\n") + "\n";
        server.put(BUCKET, &format!("in/part-{number}.json"), body.as_bytes());
    }
}

const COLUMNS: &str = "t VARCHAR, k VARCHAR, n BIGINT, x DOUBLE";

#[test]
fn a_cluster_in_a_bucket_that_fails_one_request_in_ten_answers_right_and_leaves_nothing_behind() {
    let (server, proxy) = faulty_bucket(10);
    let standalone = Standalone::with(&[
        "--workers",
        "3",
        "--deep-storage",
        "s3://bucket/cluster",
        "--s3-endpoint",
        &proxy.url(),
    ]);
    let api = &standalone.api;
    let rows = 12_000_i64;
    upload_events(&server, standalone.path(), 12_000);
    let sum = rows * (rows - 1) / 2;
    let context = json!({ "maxNumTasks": 4 });
    let source = json!({ "type": "s3", "prefixes": ["s3://bucket/in/"], "objectGlob": "**.json" });
    let source = objects(&source, "json", COLUMNS);
    let report = api.run(
        &format!(
            "REPLACE INTO e OVERWRITE ALL SELECT TIME_PARSE(t) AS __time, k, n, x FROM {source} \
             PARTITIONED BY DAY CLUSTERED BY k"
        ),
        &context,
    );
    let workers = report["counters"]["0"].as_object().unwrap();
    let files = |worker: &Value| worker["input0"]["totalFiles"][0].as_u64().unwrap_or(0);
    assert_eq!(workers.values().map(files).sum::<u64>(), 6, "{workers:?}");
    assert_eq!(api.rows("SELECT COUNT(*), SUM(n) FROM e"), json!([[rows, sum]]));

    let durable = json!({ "maxNumTasks": 4, "durableShuffleStorage": true });
    let query = "SELECT k, SUM(n) AS s, COUNT(*) AS c FROM e GROUP BY k ORDER BY s DESC, k LIMIT 3";
    let report = api.run(query, &durable);
    assert_eq!(results(&report), results(&api.run(query, &context)));
    let outputs: Vec<&Value> = report["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| &stage["output"])
        .collect();
    assert!(
        outputs.contains(&&json!("durableStorageIntermediate")),
        "{outputs:?}"
    );

    for (format, columns) in [("csv", COLUMNS), ("json", COLUMNS), ("parquet", COLUMNS)] {
        let export = format!(
            "INSERT INTO EXTERN(s3(bucket => 'bucket', prefix => 'out/{format}')) AS {format} \
             SELECT TIME_FORMAT(__time) AS t, k, n, x FROM e"
        );
        api.run(&export, &json!({ "maxNumTasks": 4, "rowsPerPage": 5000 }));
        let manifest = server
            .get(BUCKET, &format!("out/{format}/_symlink_format_manifest/manifest"))
            .unwrap();
        let manifest = String::from_utf8(manifest).unwrap();
        let uris: Vec<&str> = manifest.lines().collect();
        assert!(uris.len() >= 2, "{manifest}");
        assert_eq!(
            server.keys(BUCKET, &format!("out/{format}/query-")).len(),
            uris.len()
        );
        let source = objects(&json!({ "type": "s3", "uris": uris }), format, columns);
        let read = api.run(
            &format!("SELECT COUNT(n), SUM(n), COUNT(DISTINCT k) FROM {source}"),
            &context,
        );
        assert_eq!(results(&read), json!([[rows, sum, 997]]), "{format}");
    }
    // Pages of results lie in the bucket, and are read from there.
    let pages = json!({
        "executionMode": "ASYNC", "selectDestination": "durableStorage", "rowsPerPage": 3_000, "maxNumTasks": 4
    });
    let body = json!({ "query": "SELECT n FROM e ORDER BY n", "context": pages });
    let (status, submitted) = api.send("POST", "/druid/v2/sql/statements", Some(&body));
    assert_eq!(status, 200, "{submitted}");
    let id = submitted["queryId"].as_str().unwrap();
    api.wait(id);
    let stored = server.keys(BUCKET, &format!("cluster/query-results/{id}/"));
    assert!((4..=6).contains(&stored.len()), "{stored:?}");
    let path = format!("/druid/v2/sql/statements/{id}/results?resultFormat=array");
    let (_, all) = api.send("GET", &path, None);
    let expected: Value = (0..rows).map(|n| json!([n])).collect();
    assert!(all == expected, "{} rows", all.as_array().map_or(0, Vec::len));
    let (_, second) = api.send("GET", &format!("{path}&page=1"), None);
    let first = second[0][0].as_i64().unwrap();
    assert!((2_000..=3_375).contains(&first), "{first}");

    // An ended task's report lies in the bucket.
    assert!(server.keys(BUCKET, "cluster/reports/").len() >= 8);

    let (requests, troubles) = proxy.counts();
    let failed: usize = troubles.values().sum();
    assert!(
        failed * 40 > requests,
        "{failed} of {requests} requests failed: {troubles:?}"
    );
    assert_eq!(troubles.len(), 5, "{troubles:?}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = (server.uploads(BUCKET), server.keys(BUCKET, "cluster/shuffle/"));
        if left.0.is_empty() && left.1.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_doctor_tries_a_bucket_and_leaves_nothing_in_it() {
    let (server, _proxy) = faulty_bucket(1_000_000);
    let url = server.url();
    let doctor = |bucket: &str, key: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sarsen"))
            .args(["doctor", "--json", "controller", "--s3-endpoint", &url])
            .args(["--deep-storage", &format!("s3://{bucket}/deep")])
            .env("AWS_ACCESS_KEY_ID", key)
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = found
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["check"] == "deep storage");
        found.unwrap().clone()
    };
    let good = doctor(BUCKET, "test");
    assert_eq!(good["status"], "ok", "{good}");
    assert!(server.keys(BUCKET, "").is_empty());
    let missing = doctor("nowhere", "test");
    assert_eq!(missing["status"], "fail", "{missing}");
    assert!(
        missing["advice"]
            .as_str()
            .unwrap()
            .contains("make the bucket `nowhere`"),
        "{missing}"
    );
}

#[test]
fn a_lost_worker_whose_outputs_are_durable_reruns_no_finished_stage() {
    let mut cluster = Cluster::start(1, 2);
    let source = events(cluster.folder.path(), 60_000, 8);
    let context = json!({ "maxNumTasks": 3, "durableShuffleStorage": true, "shufflePartitions": 24 });
    cluster.api.run(
        &format!("INSERT INTO e SELECT TIME_PARSE(t) AS __time, k, n, x FROM {source} PARTITIONED BY DAY"),
        &context,
    );
    let query = "SELECT COUNT(*), SUM(c), SUM(s) FROM (SELECT n, k, COUNT(*) c, SUM(n) s FROM \
                 (SELECT * FROM e UNION ALL SELECT * FROM e UNION ALL SELECT * FROM e) GROUP BY n, k)";
    let shuffle = cluster.folder.path().join("deep-storage/shuffle");
    let written = || {
        let mut files = Vec::new();
        walk(&shuffle, &mut files);
        let name = |path: std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        files.into_iter().map(name).collect::<Vec<String>>()
    };
    let task_id = cluster.api.submit(query, &context);
    let deadline = Instant::now() + PATIENCE;
    // The controller knows of all outputs of the first stage once the next one has begun.
    while cluster.api.report(&task_id)["stages"][1]["phase"].is_null() {
        assert!(Instant::now() < deadline, "{}", cluster.api.report(&task_id));
    }
    cluster.workers[1].kill();
    let mut attempts = std::collections::BTreeSet::new();
    while cluster.api.status(&task_id)["status"] == "RUNNING" {
        assert!(Instant::now() < deadline, "{}", cluster.api.report(&task_id));
        attempts.extend(written());
        std::thread::sleep(Duration::from_millis(2));
    }
    let report = cluster.api.report(&task_id);
    let expected = json!([[60_000, 180_000, 3_i64 * (60_000 * 59_999 / 2)]]);
    assert_eq!(results(&report), expected, "{}", cluster.api.status(&task_id));
    let again: Vec<&String> = attempts
        .iter()
        .filter(|name| name.starts_with("stage0-") && !name.contains("-0."))
        .collect();
    assert!(again.is_empty(), "{again:?}");
    let deadline = Instant::now() + PATIENCE;
    while !written().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", written());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn outputs_of_queries_that_are_over_are_swept_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("shuffle/query-gone/3/stage0-worker0-0.frames");
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, "x").unwrap();
    let standalone = Standalone::with(&["--deep-storage", folder.path().to_str().unwrap()]);
    let deadline = Instant::now() + PATIENCE;
    while old.exists() {
        assert!(Instant::now() < deadline, "{}", standalone.process.log_text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_store_that_stays_in_trouble_is_named_and_one_that_hangs_is_asked_again() {
    let (server, proxy) = faulty_bucket(1);
    server.put(BUCKET, "in/a.json", b"{\"n\":1}\n");
    let standalone = Standalone::with(&["--s3-endpoint", &proxy.url(), "--object-retries", "2"]);
    let source = objects(
        &json!({ "type": "s3", "uris": ["s3://bucket/in/a.json"] }),
        "json",
        "n BIGINT",
    );
    let task_id = standalone
        .api
        .submit(&format!("SELECT SUM(n) FROM {source}"), &json!({}));
    let status = standalone.api.wait(&task_id);
    assert_eq!(status["status"], "FAILED");
    assert!(
        status["errorMsg"]
            .as_str()
            .unwrap()
            .contains("s3://bucket/in/a.json"),
        "{status}"
    );
    let (requests, _) = proxy.counts();
    assert_eq!(requests, 3, "one request and two repetitions");
    let hanging = FaultyProxy::hanging(server.address(), 2);
    let standalone = Standalone::with(&["--s3-endpoint", &hanging.url(), "--object-timeout", "1"]);
    let report = standalone
        .api
        .run(&format!("SELECT SUM(n) FROM {source}"), &json!({}));
    assert_eq!(results(&report), json!([[1]]));
}

#[test]
fn a_million_objects_are_listed_in_little_memory() {
    keys_in_environment();
    let url = crate::million::serve("in/", 1_000_000);
    let standalone = Standalone::with(&["--s3-endpoint", &url]);
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", standalone.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = peak();
    // The names are held packed, until a limit refuses them.
    let all = objects(
        &json!({ "type": "s3", "prefixes": ["s3://bucket/in/"] }),
        "json",
        "n BIGINT",
    );
    let task_id = standalone
        .api
        .submit(&format!("SELECT SUM(n) FROM {all}"), &json!({}));
    // A thousand pages of XML take their time where others are at work too.
    let deadline = Instant::now() + 5 * PATIENCE;
    while standalone.api.status(&task_id)["status"] == "RUNNING" {
        assert!(Instant::now() < deadline, "{}", standalone.api.report(&task_id));
        std::thread::sleep(Duration::from_millis(200));
    }
    let report = standalone.api.report(&task_id);
    assert_eq!(
        report["status"]["errorReport"]["error"]["errorCode"], "TooManyInputFiles",
        "{report}"
    );
    assert_eq!(
        report["status"]["errorReport"]["error"]["numInputFiles"],
        1_000_000
    );
    let held = peak() - before;
    assert!(held < 150, "{held} MB for a million names");
}
