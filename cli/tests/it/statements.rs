//! `/druid/v2/sql/statements`, and results that are stored as pages.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cluster::{Api, Cluster, PATIENCE, Process, Standalone, events, free_port, walk};

fn submit(api: &Api, query: &str, context: Value) -> (u16, Value) {
    let mut context = context;
    context["executionMode"] = json!("ASYNC");
    let body = json!({ "query": query, "context": context });
    api.send("POST", "/druid/v2/sql/statements", Some(&body))
}

fn path(id: &str) -> String {
    format!("/druid/v2/sql/statements/{id}")
}

/// The statement once it has ended.
fn ended(api: &Api, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = api.send("GET", &path(id), None);
        assert_eq!(status, 200, "{body}");
        if body["state"] == "SUCCESS" || body["state"] == "FAILED" {
            return body;
        }
        assert!(Instant::now() < deadline, "{body}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn run(api: &Api, query: &str, context: Value) -> Value {
    let (status, body) = submit(api, query, context);
    assert_eq!(status, 200, "{body}");
    ended(api, body["queryId"].as_str().unwrap())
}

fn durable(rows_per_page: u64) -> Value {
    json!({ "selectDestination": "durableStorage", "rowsPerPage": rows_per_page, "maxNumTasks": 4 })
}

fn results(api: &Api, id: &str, parameters: &str) -> (u16, Value) {
    api.send("GET", &format!("{}/results{parameters}", path(id)), None)
}

fn id(statement: &Value) -> String {
    statement["queryId"].as_str().unwrap().to_owned()
}

/// Result files below deep storage.
fn pages_of(cluster: &Cluster) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(
        &cluster.folder.path().join("deep-storage/query-results"),
        &mut found,
    );
    found
}

#[test]
fn sorted_results_are_pages_in_order_and_outlive_every_process() {
    let mut cluster = Cluster::start(1, 2);
    let rows = 20_000;
    let source = events(cluster.folder.path(), rows, 5);
    let query = format!(
        "SELECT n, k, x, TIME_PARSE(t) AS t, ARRAY[n, 1] AS a, NULL AS nothing FROM {source} ORDER BY n DESC"
    );
    let done = run(&cluster.api, &query, durable(3_000));
    assert_eq!(done["state"], "SUCCESS", "{done}");
    let result = &done["result"];
    assert_eq!(result["numTotalRows"], rows);
    assert_eq!(result["sampleRecords"].as_array().unwrap().len(), 3_000);
    let pages = result["pages"].as_array().unwrap();
    assert!((6..=10).contains(&pages.len()), "{result}");
    for (number, page) in pages.iter().enumerate() {
        assert_eq!(page["id"], number);
        assert!(
            page["numRows"].as_u64().unwrap() <= 3_375 && page["sizeInBytes"].as_u64().unwrap() > 0,
            "{page}"
        );
    }
    let total: u64 = pages
        .iter()
        .map(|page| page["sizeInBytes"].as_u64().unwrap())
        .sum();
    assert_eq!(result["totalSizeInBytes"], total);
    assert_eq!(pages_of(&cluster).len(), pages.len());
    let report = cluster.api.report(&id(&done));
    assert_eq!(report["results"]["resultsTruncated"], true);
    let last = report["stages"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["definition"]["processor"],
        json!({ "type": "selectResults" })
    );
    assert_eq!(last["output"], "durableStorageQueryResults");
    let counters = &report["counters"][last["stageNumber"].to_string()];
    let written = counters
        .as_object()
        .unwrap()
        .values()
        .map(|worker| worker["output"]["rows"][0].as_u64().unwrap());
    assert_eq!(written.sum::<u64>(), u64::from(rows));

    let id = id(&done);
    let all_pages = |api: &Api| {
        let mut values: Vec<i64> = Vec::new();
        for (number, page) in pages.iter().enumerate() {
            let (status, rows) = results(api, &id, &format!("?page={number}&resultFormat=array"));
            assert_eq!(status, 200);
            let rows = rows.as_array().unwrap();
            assert_eq!(rows.len() as u64, page["numRows"].as_u64().unwrap());
            values.extend(rows.iter().map(|row| row[0].as_i64().unwrap()));
        }
        values
    };
    let expected: Vec<i64> = (0..i64::from(rows)).rev().collect();
    assert_eq!(all_pages(&cluster.api), expected);
    let (_, whole) = results(&cluster.api, &id, "");
    assert_eq!(whole.as_array().unwrap().len(), rows as usize);
    // A page shows what a report shows.
    let (_, first) = results(&cluster.api, &id, "?page=0&resultFormat=array");
    assert_eq!(first[0], result["sampleRecords"][0]);
    assert_eq!(
        first[0],
        json!([19_999, "key59", 9.5, 1_704_438_000_000_i64, "[19999,1]", null])
    );
    assert_eq!(whole[0]["nothing"], Value::Null);

    for process in [&mut cluster.gateway, &mut cluster.overlord] {
        process.kill();
    }
    cluster.controllers[0].kill();
    cluster.workers[0].kill();
    cluster.workers[1].kill();
    for name in ["overlord", "gateway", "controller0", "worker0", "worker1"] {
        let process = cluster.restart(name);
        match name {
            "overlord" => cluster.overlord = process,
            "gateway" => cluster.gateway = process,
            "controller0" => cluster.controllers[0] = process,
            "worker0" => cluster.workers[0] = process,
            _ => cluster.workers[1] = process,
        }
    }
    cluster.api.wait_for_health();
    assert_eq!(ended(&cluster.api, &id)["result"], *result);
    assert_eq!(all_pages(&cluster.api), expected);
}

#[test]
fn rows_without_an_order_are_pages_too_and_none_is_lost_with_a_worker() {
    let mut cluster = Cluster::start(1, 3);
    let source = events(cluster.folder.path(), 30_000, 5);
    let (_, begun) = submit(&cluster.api, &format!("SELECT n FROM {source}"), durable(4_000));
    cluster.workers[2].kill();
    let done = ended(&cluster.api, &id(&begun));
    assert_eq!(done["state"], "SUCCESS", "{done}");
    let pages = done["result"]["pages"].as_array().unwrap().clone();
    assert!(pages.len() >= 8, "{pages:?}");
    assert!(
        pages
            .iter()
            .all(|page| page["numRows"].as_u64().unwrap() <= 4_000)
    );
    let (_, rows) = results(&cluster.api, &id(&done), "?resultFormat=array");
    let rows = rows.as_array().unwrap();
    let found: BTreeSet<i64> = rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
    assert_eq!((found.len(), rows.len()), (30_000, 30_000));

    // Grouped, limited, empty.
    let limited = format!("SELECT n FROM {source} ORDER BY n LIMIT 10 OFFSET 5");
    let done = run(&cluster.api, &limited, durable(4));
    let numbers: Vec<&Value> = done["result"]["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|page| &page["numRows"])
        .collect();
    assert_eq!(numbers, [4, 4, 2]);
    let (_, rows) = results(&cluster.api, &id(&done), "?resultFormat=array");
    assert_eq!(
        rows,
        json!([[5], [6], [7], [8], [9], [10], [11], [12], [13], [14]])
    );
    let done = run(
        &cluster.api,
        &format!("SELECT n FROM {source} WHERE n < 0"),
        durable(4),
    );
    assert_eq!(done["result"]["pages"], json!([]));
    assert_eq!(done["result"]["numTotalRows"], 0);
    assert_eq!(results(&cluster.api, &id(&done), ""), (200, json!("")));
    let grouped = format!("SELECT k AS a, COUNT(*) AS a FROM {source} GROUP BY 1");
    let done = run(&cluster.api, &grouped, durable(100_000));
    assert_eq!(done["result"]["pages"].as_array().unwrap().len(), 1);
    assert_eq!(done["result"]["numTotalRows"], 997);
}

#[test]
fn a_failed_or_cancelled_query_leaves_no_page() {
    let cluster = Cluster::start(1, 1);
    let source = events(cluster.folder.path(), 5_000, 5);
    let bad = format!("SELECT n FROM {source}");
    let mut context = durable(100);
    context["maxOutputRows"] = json!(1_000);
    let done = run(&cluster.api, &bad, context);
    assert_eq!(done["state"], "FAILED", "{done}");
    assert_eq!(done["errorDetails"]["errorCode"], "TooManyOutputRows");
    assert_eq!(done["errorDetails"]["context"]["maxOutputRows"], "1000");
    assert!(done.get("schema").is_none() && done.get("result").is_none());
    let (status, refused) = results(&cluster.api, &id(&done), "");
    assert_eq!(status, 400);
    assert!(
        refused["errorMessage"]
            .as_str()
            .unwrap()
            .ends_with("failed. Check the status api for more details.")
    );
    let deadline = Instant::now() + PATIENCE;
    while !pages_of(&cluster).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", pages_of(&cluster));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    // A gateway that does not know deep storage takes no statement whose results it could not read.
    let address = format!("127.0.0.1:{}", free_port());
    let overlord = cluster.overlord_address();
    let arguments = ["gateway", "--http-addr", &address, "--overlord", &overlord].map(str::to_owned);
    let _gateway = Process::start("blind", cluster.folder.path(), &arguments);
    let blind = Api::new(format!("http://{address}"));
    blind.wait_for_health();
    let (status, refused) = submit(&blind, "SELECT 1 AS x", durable(10));
    assert_eq!(
        (status, &refused["persona"]),
        (400, &json!("OPERATOR")),
        "{refused}"
    );
    assert!(
        refused["errorMessage"]
            .as_str()
            .unwrap()
            .contains("[selectDestination] since it is not configured")
    );
    assert_eq!(run(&blind, "SELECT 1 AS x", json!({}))["state"], "SUCCESS");
    // The same statement again is the same one.
    let named = json!({ "sqlQueryId": "named" });
    let first = run(&blind, "SELECT 1 AS x", named.clone());
    let (status, again) = submit(&blind, "SELECT 1 AS x", named);
    assert_eq!((status, again), (200, first));
}

#[test]
fn old_results_are_removed_and_their_absence_is_told() {
    let mut cluster = Cluster::with(1, 1, |name| match name {
        "overlord" => vec!["--durable-results-hours".to_owned(), "0".to_owned()],
        _ => Vec::new(),
    });
    let done = run(&cluster.api, "SELECT 1 AS x", durable(10));
    assert_eq!(done["state"], "SUCCESS", "{done}");
    // An Overlord looks when it begins to lead, and every ten minutes.
    cluster.overlord.kill();
    cluster.overlord = cluster.restart("overlord");
    cluster.api.wait_for_health();
    let deadline = Instant::now() + PATIENCE;
    while !pages_of(&cluster).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", pages_of(&cluster));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (status, gone) = results(&cluster.api, &id(&done), "");
    assert_eq!((status, gone["errorCode"].as_str()), (404, Some("notFound")));
    assert!(
        gone["errorMessage"]
            .as_str()
            .unwrap()
            .contains("no longer present")
    );
    assert_eq!(ended(&cluster.api, &id(&done))["state"], "SUCCESS");
}

#[test]
fn statements_answer_as_druid_does() {
    let server = Standalone::start();
    let api = &server.api;
    let message = |body: &Value| body["errorMessage"].as_str().unwrap_or_default().to_owned();
    let post = |body: Value| api.send("POST", "/druid/v2/sql/statements", Some(&body));
    for (context, expected) in [
        (
            json!({}),
            "Execution mode is not provided to the sql statement api. Please set [executionMode] to [ASYNC]",
        ),
        (
            json!({ "executionMode": "SYNC" }),
            "does not support the provided execution mode [SYNC]",
        ),
        (
            json!({ "executionMode": "LATER" }),
            "one of the values [SYNC,ASYNC] of enum [ExecutionMode], but got [LATER]",
        ),
        (
            json!({ "executionMode": "ASYNC", "selectDestination": "attic" }),
            "one of the values [TASKREPORT,DURABLESTORAGE] of enum [MSQSelectDestination], but got [attic]",
        ),
        (
            json!({ "executionMode": "ASYNC", "rowsPerPage": 0 }),
            "rowsPerPage must be a positive integer, got [0]",
        ),
        (
            json!({ "executionMode": "ASYNC", "__resultFormat": "csv" }),
            "[__resultFormat] is not allowed",
        ),
    ] {
        let (status, body) = post(json!({ "query": "SELECT 1", "context": context }));
        assert_eq!(status, 400, "{body}");
        assert!(message(&body).contains(expected), "{body}");
    }
    // The mode may stand in the statement.
    let (status, set) = post(
        json!({ "query": "SET executionMode = 'ASYNC'; SET selectDestination = 'durableStorage'; SELECT 1 AS x" }),
    );
    assert_eq!(status, 200, "{set}");
    let set = ended(api, &id(&set));
    assert_eq!(
        set["schema"],
        json!([{ "name": "x", "type": "INTEGER", "nativeType": "LONG" }])
    );
    assert_eq!(set["result"]["sampleRecords"], json!([[1]]));
    let payload = api
        .send("GET", &format!("/druid/indexer/v1/task/{}", id(&set)), None)
        .1;
    assert_eq!(
        payload["payload"]["spec"]["destination"],
        json!({ "type": "durableStorage" })
    );
    let report = api.report(&id(&set));
    assert_eq!(report["results"]["results"], json!([[1]]));

    let explained =
        post(json!({ "query": "EXPLAIN PLAN FOR SELECT 1", "context": { "executionMode": "ASYNC" } }));
    assert!(
        explained.0 == 200 && explained.1[0]["PLAN"].is_string(),
        "{explained:?}"
    );
    // What is answered at once is not stored, whatever the statement sets.
    let at_once = json!({ "query": "SET selectDestination = 'durableStorage'; SELECT 1 AS x" });
    assert_eq!(
        api.send("POST", "/druid/v2/sql", Some(&at_once)),
        (200, json!([{ "x": 1 }]))
    );

    let body = json!({
        "query": "SELECT 1 AS x, 'a,b' AS y", "resultFormat": "csv", "header": true,
        "context": { "executionMode": "ASYNC", "selectDestination": "durableStorage" }
    });
    let done = ended(api, &id(&post(body).1));
    let http = reqwest::blocking::Client::new();
    let fetch = |parameters: &str| {
        let url = format!("{}{}/results{parameters}", api.url, path(&id(&done)));
        let answer = http.get(url).send().unwrap();
        let header = answer.headers().get("content-disposition").cloned();
        (answer.status().as_u16(), header, answer.text().unwrap())
    };
    assert_eq!(fetch("").2, "1,\"a,b\"\n\n");
    assert_eq!(fetch("?resultFormat=object").2, "[{\"x\":1,\"y\":\"a,b\"}]\n");
    assert_eq!(
        fetch("?resultFormat=objectLines").2,
        "{\"x\":1,\"y\":\"a,b\"}\n\n"
    );
    assert_eq!(fetch("?resultFormat=arrayLines&page=0").2, "[1,\"a,b\"]\n\n");
    let (status, header, _) = fetch("?filename=a%20b.csv");
    assert_eq!(
        (status, header.unwrap().to_str().unwrap()),
        (200, "attachment; filename=\"a b.csv\"")
    );
    for (parameters, expected) in [
        ("?page=1", "Invalid page id [1] passed."),
        (
            "?page=-1",
            "Page cannot be negative. Please pass a positive number.",
        ),
        ("?page=x", "Page must be a number"),
        ("?resultFormat=xml", "of enum [ResultFormat], but got [xml]"),
        ("?filename=", "Filename cannot be empty."),
        ("?filename=a%2Fb", "Filename contains invalid characters."),
    ] {
        let (status, _, text) = fetch(parameters);
        assert!(
            status == 400 && text.contains(expected),
            "{parameters}: {status} {text}"
        );
    }
    let (_, plain) = submit(api, "SELECT 1 AS x", json!({}));
    let plain = ended(api, &id(&plain));
    assert_eq!(plain["result"]["pages"][0]["numRows"], 1);
    let (status, out) = results(api, &id(&plain), "?page=1");
    assert_eq!(
        (status, message(&out).as_str()),
        (400, "Page number [1] is out of the range of results")
    );
    let (_, detailed) = api.send("GET", &format!("{}?detail=true", path(&id(&plain))), None);
    assert!(
        detailed["stages"].is_array()
            && detailed["counters"].is_object()
            && detailed["warnings"] == json!([])
    );
    assert_eq!(api.send("DELETE", &path(&id(&plain)), None).0, 200);
    for (method, what) in [("GET", ""), ("GET", "/results"), ("DELETE", "")] {
        let (status, body) = api.send(method, &format!("{}{what}", path("nope")), None);
        assert_eq!(status, 404);
        assert!(
            message(&body).starts_with("Query [nope] was not found."),
            "{body}"
        );
    }
    assert_eq!(api.send("GET", "/druid/v2/sql/statements", None).0, 405);
    assert_eq!(
        api.send("GET", "/druid/v2/sql/statements/enabled", None).1,
        json!({ "enabled": true })
    );
}

#[test]
fn a_running_statement_is_told_and_cancelled() {
    let server = Standalone::start();
    let api = &server.api;
    let source = events(server.path(), 20_000, 5);
    let slow = format!("SELECT COUNT(*) FROM {source} a, {source} b WHERE a.n * b.n < 0");
    let (status, begun) = submit(api, &slow, durable(10));
    assert_eq!(status, 200, "{begun}");
    let begun = id(&begun);
    let (status, early) = results(api, &begun, "");
    assert_eq!(status, 400);
    let told = early["errorMessage"].as_str().unwrap();
    assert!(told.ends_with("state. Please wait for it to complete."), "{told}");
    assert_eq!(api.send("DELETE", &path(&begun), None).0, 202);
    let done = ended(api, &begun);
    assert_eq!(done["errorDetails"]["errorCode"], "Canceled");
    assert_eq!(api.send("DELETE", &path(&begun), None).0, 200);
}
