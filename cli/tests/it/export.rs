//! `INSERT INTO EXTERN`: what is written, what is refused, what is left.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, Standalone, events, walk};

const VALUES: &str =
    "(VALUES (1, 'a', 1.5), (2, 'b,\"x\"', 2.0), (3, CAST(NULL AS VARCHAR), 1e300)) AS t (n, s, d)";

fn export(path: &Path, format: &str, query: &str) -> String {
    format!(
        "INSERT INTO EXTERN(local(exportPath => '{}')) AS {format} {query}",
        path.display()
    )
}

/// Texts of all files below a folder by their names there, but for those that describe the export.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = Vec::new();
    walk(folder, &mut found);
    let named = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    found
        .into_iter()
        .map(named)
        .filter(|(name, _)| !name.starts_with("_symlink"))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_export_has_druids_files_and_report() {
    let standalone = Standalone::start();
    let path = standalone.path().join("out");
    let sql = export(&path, "CSV", &format!("SELECT n, s, d FROM {VALUES}"));
    let report = standalone.api.run(&sql, &json!({ "sqlQueryId": "ex" }));
    let written = files(&path);
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        ["query-ex-worker0-partition0.csv"]
    );
    assert_eq!(
        text(&written["query-ex-worker0-partition0.csv"]),
        "n,s,d\n1,a,1.5\n2,\"b,\"\"x\"\"\",2.0\n3,,1.0E300\n\n"
    );
    let manifest = std::fs::read_to_string(path.join("_symlink_format_manifest/manifest")).unwrap();
    let file = path
        .canonicalize()
        .unwrap()
        .join("query-ex-worker0-partition0.csv");
    assert_eq!(manifest, format!("file:{}\n", file.display()));
    let meta = std::fs::read_to_string(path.join("_symlink_format_manifest/druid_export_meta")).unwrap();
    assert_eq!(meta, "version: 1\n");
    assert!(
        report["results"].is_null() && report["status"]["segmentReport"].is_null(),
        "{report}"
    );
    let last = report["stages"].as_array().unwrap().last().unwrap();
    let processor = &last["definition"]["processor"];
    assert_eq!(processor["type"], "exportResults");
    assert_eq!(processor["exportFormat"], "csv");
    let provider = json!({ "type": "local", "exportPath": path.to_string_lossy() });
    assert_eq!(processor["exportStorageProvider"], provider);
    let (_, payload) = standalone
        .api
        .send("GET", "/druid/indexer/v1/task/query-ex", None);
    let destination = &payload["payload"]["spec"]["destination"];
    assert_eq!(destination["type"], "export");
    assert_eq!(destination["exportStorageProvider"], provider);
    assert_eq!(destination["resultFormat"], "csv");
    let (_, status) = standalone
        .api
        .send("GET", "/druid/indexer/v1/task/query-ex/status", None);
    assert_eq!(status["status"]["dataSource"], "__query_export");
    // The destination is not empty any more.
    let task_id = standalone.api.submit(&sql, &json!({}));
    let status = standalone.api.wait(&task_id);
    assert_eq!(status["status"], "FAILED");
    assert!(
        status["errorMsg"]
            .as_str()
            .unwrap()
            .contains("Found files at provided export destination"),
        "{status}"
    );
    assert_eq!(files(&path).len(), 1);
}

#[test]
fn files_are_cut_by_rows_and_bytes_and_sorted_into_folders() {
    let standalone = Standalone::with(&["--workers", "2"]);
    let api = &standalone.api;
    let source = events(standalone.path(), 20_000, 4);
    let context = |more: Value| {
        let mut context = json!({ "maxNumTasks": 3 });
        context
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        context
    };
    let lines = |bytes: &[u8]| text(bytes).lines().filter(|line| !line.is_empty()).count();

    let path = standalone.path().join("rows");
    api.run(
        &export(&path, "CSV", &format!("SELECT * FROM {source}")),
        &context(json!({ "rowsPerPage": 3000 })),
    );
    let written = files(&path);
    assert_eq!(written.len(), 7, "{:?}", written.keys());
    // Each has a header.
    assert_eq!(
        written.values().map(|file| lines(file) - 1).sum::<usize>(),
        20_000
    );
    assert!(written.values().all(|file| lines(file) <= 3_001));

    let path = standalone.path().join("bytes");
    let sql = export(&path, "JSON", &format!("SELECT * FROM {source}"));
    api.run(&sql, &context(json!({ "bytesPerPage": 200_000 })));
    let written = files(&path);
    assert!(written.len() >= 5, "{:?}", written.keys());
    assert!(written.values().all(|file| file.len() < 350_000));
    assert_eq!(written.values().map(|file| lines(file)).sum::<usize>(), 20_000);

    let path = standalone.path().join("folders");
    let query = format!(
        "SELECT n, k, MOD(n, 3) AS m, CASE WHEN MOD(n, 2) = 0 THEN 'a/b' END AS w FROM {source} PARTITIONED BY w, m"
    );
    api.run(
        &export(&path, "JSON", &query),
        &context(json!({ "exportCompression": "gzip" })),
    );
    let written = files(&path);
    let folders: Vec<&str> = written
        .keys()
        .map(|name| name.rsplit_once('/').unwrap().0)
        .collect();
    let mut expected = Vec::new();
    for w in ["__HIVE_DEFAULT_PARTITION__", "a%2Fb"] {
        expected.extend((0..3).map(|m| format!("w={w}/m={m}")));
    }
    assert_eq!(folders, expected);
    let mut numbers = Vec::new();
    for (name, packed) in &written {
        assert!(name.ends_with(".json.gz"), "{name}");
        let mut rows = String::new();
        flate2::read::MultiGzDecoder::new(packed.as_slice())
            .read_to_string(&mut rows)
            .unwrap();
        for row in rows.lines() {
            let row: Value = serde_json::from_str(row).unwrap();
            assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["n", "k"]);
            let n = row["n"].as_i64().unwrap();
            assert!(name.contains(&format!("m={}/", n % 3)), "{name}: {n}");
            assert_eq!(name.starts_with("w=a%2Fb"), n % 2 == 0);
            numbers.push(n);
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());

    let path = standalone.path().join("parquet");
    let sql = export(&path, "PARQUET", &format!("SELECT k, n, x FROM {source}"));
    api.run(
        &sql,
        &context(json!({ "rowsPerPage": 8000, "exportCompression": "snappy" })),
    );
    assert_eq!(files(&path).len(), 3);
    let back = format!(
        "SELECT COUNT(*), SUM(n), COUNT(DISTINCT k) FROM TABLE(EXTERN('{}', '{{\"type\":\"parquet\"}}')) \
         EXTEND (k VARCHAR, n BIGINT, x DOUBLE)",
        json!({ "type": "local", "baseDir": path.to_string_lossy(), "filter": "*.parquet" })
    );
    assert_eq!(api.rows(&back), json!([[20_000, 199_990_000, 997]]));
}

#[test]
fn an_export_without_rows_has_one_file_with_a_header() {
    let standalone = Standalone::start();
    for (format, name) in [("CSV", "csv"), ("JSON", "json"), ("PARQUET", "parquet")] {
        let path = standalone.path().join(name);
        let sql = export(&path, format, &format!("SELECT n, s FROM {VALUES} WHERE n > 5"));
        standalone.api.run(&sql, &json!({ "sqlQueryId": name }));
        let written = files(&path);
        let file = &written[&format!("query-{name}-worker0-partition0.{name}")];
        match name {
            "csv" => assert_eq!(text(file), "n,s\n\n"),
            "json" => assert!(file.is_empty()),
            _ => assert!(file.starts_with(b"PAR1")),
        }
    }
    let path = standalone.path().join("folders");
    let sql = export(
        &path,
        "CSV",
        &format!("SELECT n, s FROM {VALUES} WHERE n > 5 PARTITIONED BY s"),
    );
    standalone.api.run(&sql, &json!({}));
    assert!(files(&path).is_empty());
    assert!(path.join("_symlink_format_manifest/manifest").exists());
}

#[test]
fn what_cannot_be_exported_is_refused_in_druids_words() {
    let standalone = Standalone::start();
    let local = "EXTERN(local(exportPath => '/tmp/x'))";
    for (sql, message) in [
        (
            format!("INSERT INTO {local} SELECT 1 AS x"),
            "Exporting rows into an EXTERN destination requires an AS clause to specify the format, but none was found.",
        ),
        (
            format!("INSERT INTO {local} AS CSV SELECT 1 AS x PARTITIONED BY ALL"),
            "Export statements do not support a PARTITIONED BY or CLUSTERED BY clause.",
        ),
        (
            format!("INSERT INTO {local} AS CSV SELECT 1 AS x PARTITIONED BY DAY CLUSTERED BY x"),
            "Export statements do not support a PARTITIONED BY or CLUSTERED BY clause.",
        ),
        (
            format!("REPLACE INTO {local} AS CSV OVERWRITE ALL SELECT 1 AS x"),
            "REPLACE operations do no support EXTERN destinations. Use INSERT statements to write to an external destination.",
        ),
        (
            "INSERT INTO t AS CSV SELECT 1 AS x PARTITIONED BY ALL".to_owned(),
            "The AS <format> clause should only be specified while exporting rows into an EXTERN destination.",
        ),
        (
            "INSERT INTO EXTERN(local()) AS CSV SELECT 1 AS x".to_owned(),
            "Missing required creator property 'exportPath'",
        ),
        (
            "INSERT INTO EXTERN(nonExistent()) AS CSV SELECT 1 AS x".to_owned(),
            "Could not resolve type id 'nonExistent' as a subtype",
        ),
        (
            "INSERT INTO EXTERN(s3(bucket => 'b', prefix => 'p', colour => 'red')) AS CSV SELECT 1 AS x"
                .to_owned(),
            "Unrecognized argument 'colour' of s3()",
        ),
        (
            "INSERT INTO EXTERN(local(exportPath => 5)) AS CSV SELECT 1 AS x".to_owned(),
            "Received an unexpected token [5]",
        ),
        (
            format!("INSERT INTO {local} AS XML SELECT 1 AS x"),
            "Export format [XML] is not supported",
        ),
        (
            format!("INSERT INTO {local} AS CSV SELECT 1 AS x ORDER BY x"),
            "Cannot use an ORDER BY clause on a Query of type [INSERT], use CLUSTERED BY instead",
        ),
        (
            format!("INSERT INTO {local} AS JSON SELECT 1 AS x, 2 AS y PARTITIONED BY z"),
            "PARTITIONED BY names [z], which is none of the query's columns [x, y]",
        ),
        (
            format!("INSERT INTO {local} AS CSV SELECT 1 AS x PARTITIONED BY x"),
            "An export needs a column that is not in PARTITIONED BY",
        ),
        (
            format!("SET rowsPerPage = 0; INSERT INTO {local} AS CSV SELECT 1 AS x"),
            "rowsPerPage must be a positive integer, got [0]",
        ),
    ] {
        let (status, body) =
            standalone
                .api
                .send("POST", "/druid/v2/sql/task", Some(&json!({ "query": sql })));
        assert!((400..=501).contains(&status) && status != 500, "{sql}: {status}");
        assert!(
            body.to_string()
                .contains(&json!(message).to_string().trim_matches('"').to_owned()),
            "{sql}\n{body}"
        );
    }
    let (status, _) = standalone.api.send(
        "POST",
        "/druid/v2/sql",
        Some(&json!({ "query": format!("INSERT INTO {local} AS CSV SELECT 1 AS x") })),
    );
    assert_eq!(status, 400);
}

#[test]
fn a_destination_that_is_not_allowed_fails_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let allowed = folder.path().join("allowed");
    let standalone = Standalone::with(&["--export-allow", allowed.to_str().unwrap()]);
    let run = |path: &Path| {
        let task_id = standalone
            .api
            .submit(&export(path, "CSV", "SELECT 1 AS x"), &json!({}));
        standalone.api.wait(&task_id)
    };
    assert_eq!(run(&allowed.join("a"))["status"], "SUCCESS");
    for path in [folder.path().join("other"), allowed.join("../other")] {
        let status = run(&path);
        assert_eq!(status["status"], "FAILED");
        assert!(
            status["errorMsg"].as_str().unwrap().contains("--export-allow"),
            "{status}"
        );
        assert!(!path.exists());
    }
    let s3 = "INSERT INTO EXTERN(s3(bucket => 'b', prefix => 'p')) AS CSV SELECT 1 AS x";
    let status = standalone.api.wait(&standalone.api.submit(s3, &json!({})));
    assert!(
        status["errorMsg"]
            .as_str()
            .unwrap()
            .contains("None of the allowed prefixes matched the input path [s3://b/p]"),
        "{status}"
    );
}

#[test]
fn a_cancelled_or_failed_export_leaves_nothing() {
    let standalone = Standalone::with(&["--workers", "2"]);
    let source = events(standalone.path(), 30_000, 4);
    let path = standalone.path().join("failed");
    // The last rows cannot be computed, when files of the first are there already.
    let failing = format!("SELECT n, k, 1 / (n - 29990) AS q FROM {source} PARTITIONED BY k");
    let task_id = standalone
        .api
        .submit(&export(&path, "CSV", &failing), &json!({ "maxNumTasks": 3 }));
    let failed = standalone.api.wait(&task_id);
    let path2 = standalone.path().join("cancelled");
    let slow = format!("SELECT a.n, b.k FROM {source} a JOIN {source} b ON a.x = b.x");
    let task_id = standalone.api.submit(
        &export(&path2, "CSV", &slow),
        &json!({ "maxNumTasks": 3, "rowsPerPage": 100_000 }),
    );
    std::thread::sleep(Duration::from_millis(1500));
    standalone.api.send(
        "POST",
        &format!("/druid/indexer/v1/task/{task_id}/shutdown"),
        None,
    );
    assert_eq!(standalone.api.wait(&task_id)["status"], "FAILED");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left = Vec::new();
        if failed["status"] == "FAILED" {
            walk(&path, &mut left);
        }
        walk(&path2, &mut left);
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_export_whose_worker_or_controller_dies_is_whole() {
    let mut cluster = Cluster::with(2, 2, |_| ["--export-allow", "/"].map(str::to_owned).to_vec());
    let source = events(cluster.folder.path(), 40_000, 4);
    let query = format!(
        "SELECT n, k FROM {source} UNION ALL SELECT n, k FROM {source} UNION ALL SELECT n, k FROM {source}"
    );
    for victim in ["worker", "controller"] {
        let path = cluster.folder.path().join(format!("out-{victim}"));
        let context = json!({ "maxNumTasks": 3, "rowsPerPage": 1000 });
        let task_id = cluster.api.submit(&export(&path, "JSON", &query), &context);
        let deadline = Instant::now() + PATIENCE;
        while cluster.api.report(&task_id)["counters"]
            .as_object()
            .is_none_or(|stages| stages.is_empty())
        {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        if victim == "worker" {
            cluster.workers[1].kill();
            cluster.workers[1] = cluster.restart("worker1");
        } else {
            let query_id = task_id.trim_start_matches("query-");
            let runs_it = cluster
                .controllers
                .iter()
                .position(|process| process.log_text().contains(query_id))
                .unwrap();
            cluster.controllers[runs_it].kill();
        }
        let status = cluster.api.wait(&task_id);
        assert_eq!(status["status"], "SUCCESS", "{status}");
        let manifest = std::fs::read_to_string(path.join("_symlink_format_manifest/manifest")).unwrap();
        let written = files(&path);
        assert_eq!(manifest.lines().count(), written.len());
        assert!(written.keys().all(|name| manifest.contains(name.as_str())));
        let rows: usize = written.values().map(|file| text(file).lines().count()).sum();
        assert_eq!(rows, 120_000, "{victim}");
    }
}
