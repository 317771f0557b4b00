//! What one may read and write: tables however they are hidden in a statement, EXTERN, other people's tasks.

use serde_json::json;

use super::{ADMIN, As, Secured, actions};

const READER: As<'static> = As::User("reader", "pw");

fn forbidden() -> serde_json::Value {
    json!({ "Access-Check-Result": "Unauthorized" })
}

#[test]
fn a_forbidden_table_is_found_wherever_a_statement_hides_it() {
    let server = Secured::start();
    server.two_tables();
    server.user(
        "reader",
        "pw",
        &[
            ("READ", "DATASOURCE", "open|mine"),
            ("WRITE", "DATASOURCE", "mine"),
        ],
    );
    let selects = [
        "SELECT * FROM secret",
        "SELECT * FROM \"secret\"",
        "SELECT * FROM druid.secret",
        "SELECT * FROM (SELECT * FROM secret)",
        "SELECT * FROM open UNION ALL SELECT * FROM secret",
        "WITH x AS (SELECT * FROM secret) SELECT * FROM x",
        "WITH open AS (SELECT * FROM secret) SELECT * FROM open",
        "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret",
        "SELECT * FROM open WHERE v IN (SELECT v FROM secret)",
        "SELECT * FROM open WHERE EXISTS (SELECT 1 FROM secret WHERE secret.v = open.v)",
        "SELECT (SELECT MAX(v) FROM secret) FROM open",
        "SELECT * FROM open o JOIN secret s ON o.v = s.v",
        "SELECT * FROM open, secret",
        "SELECT COUNT(*) FROM secret",
        "SELECT * FROM secret WHERE FALSE",
        "SELECT * FROM secret LIMIT 0",
        "EXPLAIN PLAN FOR SELECT * FROM secret",
        "SET x = 1; SELECT * FROM secret",
    ];
    for query in selects {
        for path in ["/druid/v2/sql", "/druid/v2/sql/task"] {
            let refused = server.send(&READER, "POST", path, Some(&json!({ "query": query })));
            // What the planner does not know is a 400 for everybody.
            let known = server
                .send(&ADMIN, "POST", path, Some(&json!({ "query": query })))
                .status
                < 400;
            let expected = if known { 403 } else { 400 };
            assert_eq!(refused.status, expected, "{path} {query}: {}", refused.text);
            assert!(!refused.text.contains("secret-row"), "{query}: {}", refused.text);
            if known {
                assert_eq!(refused.json(), forbidden(), "{query}");
            }
        }
    }
    for query in [
        "INSERT INTO mine SELECT * FROM secret PARTITIONED BY ALL",
        "REPLACE INTO mine OVERWRITE ALL SELECT * FROM secret PARTITIONED BY ALL",
        "INSERT INTO open SELECT * FROM open PARTITIONED BY ALL",
        "REPLACE INTO secret OVERWRITE ALL SELECT * FROM open PARTITIONED BY ALL",
        "EXPLAIN PLAN FOR INSERT INTO secret SELECT * FROM open PARTITIONED BY ALL",
    ] {
        let refused = server.submit(&READER, query);
        assert_eq!((refused.status, refused.json()), (403, forbidden()), "{query}");
    }
    server.run_as(
        &READER,
        "REPLACE INTO mine OVERWRITE ALL SELECT * FROM open PARTITIONED BY ALL",
    );
    let rows = server.send(
        &READER,
        "POST",
        "/druid/v2/sql",
        Some(&json!({ "query": "SELECT v FROM mine" })),
    );
    assert_eq!(rows.json(), json!([{ "v": "open-row" }]));
}

#[test]
fn names_of_forbidden_tables_are_neither_listed_nor_hinted_at() {
    let server = Secured::start();
    server.two_tables();
    server.user("reader", "pw", &[("READ", "DATASOURCE", "open")]);
    assert_eq!(
        server.get(&READER, "/druid/v2/datasources").json(),
        json!(["open"])
    );
    let hinted = server.submit(&ADMIN, "SELECT * FROM secre");
    assert!(hinted.text.contains("did you mean 'secret'"), "{}", hinted.text);
    let refused = server.submit(&READER, "SELECT * FROM secre");
    assert!(
        refused.status == 400 && !refused.text.contains("'secret'"),
        "{}",
        refused.text
    );
}

const INLINE: &str =
    r#"TABLE(EXTERN('{"type":"inline","data":"1"}','{"type":"csv","columns":["a"]}')) EXTEND (a VARCHAR)"#;

#[test]
fn extern_needs_its_own_right() {
    let server = Secured::start();
    server.user(
        "reader",
        "pw",
        &[("READ", "DATASOURCE", ".*"), ("WRITE", "DATASOURCE", ".*")],
    );
    let queries = [
        format!("SELECT * FROM {INLINE}"),
        format!("WITH x AS (SELECT * FROM {INLINE}) SELECT a FROM x"),
        format!(
            "INSERT INTO t SELECT TIME_PARSE('2024-01-01') AS __time, a FROM {INLINE} PARTITIONED BY ALL"
        ),
        format!("EXPLAIN PLAN FOR SELECT * FROM {INLINE}"),
    ];
    for query in &queries {
        let refused = server.submit(&READER, query);
        assert_eq!((refused.status, refused.json()), (403, forbidden()), "{query}");
    }
    let permissions = actions(&[("READ", "DATASOURCE", ".*"), ("READ", "EXTERNAL", "EXTERNAL")]);
    server.change(
        "POST",
        "/authorization/db/basic/roles/readerRole/permissions",
        Some(&permissions),
    );
    server.run_as(&READER, &queries[0]);
}

#[test]
fn extern_may_be_allowed_by_the_type_of_its_source() {
    let server = Secured::with(&["--enable-input-source-security"]);
    let of_type = |kind: &str| ("READ", "EXTERNAL", kind.to_owned());
    for (number, (kind, allowed)) in [("inline", true), ("local", false), ("EXTERNAL", false)]
        .iter()
        .enumerate()
    {
        let name = format!("u{number}");
        let (action, resource, kind) = of_type(kind);
        server.user(&name, "pw", &[(action, resource, &kind)]);
        let status = server
            .submit(&As::User(&name, "pw"), &format!("SELECT * FROM {INLINE}"))
            .status;
        assert_eq!(status, if *allowed { 202 } else { 403 }, "{kind}");
    }
}

#[test]
fn context_parameters_need_a_right_where_that_is_asked_for() {
    let server = Secured::with(&[
        "--authorize-query-context-params",
        "--unsecured-context-keys",
        "maxNumTasks",
    ]);
    server.user("reader", "pw", &[("WRITE", "QUERY_CONTEXT", "priority")]);
    let status = |context: serde_json::Value| {
        let body = json!({ "query": "SELECT 1", "context": context });
        server
            .send(&READER, "POST", "/druid/v2/sql/task", Some(&body))
            .status
    };
    assert_eq!(status(json!({})), 202);
    assert_eq!(
        status(json!({ "priority": 1, "maxNumTasks": 2, "sqlQueryId": "a" })),
        202
    );
    assert_eq!(status(json!({ "rowsPerSegment": 5 })), 403);
    let set = server.submit(&READER, "SET rowsPerSegment = 5; SELECT 1");
    assert_eq!(set.status, 403, "{}", set.text);
}

#[test]
fn a_task_is_open_to_those_who_may_read_its_datasource() {
    let server = Secured::start();
    server.two_tables();
    server.user("reader", "pw", &[("READ", "DATASOURCE", "open|__query_select")]);
    server.user("other", "pw", &[("READ", "DATASOURCE", "open")]);
    let write = "SELECT TIME_PARSE('2024-01-01') AS __time, 'x' AS v PARTITIONED BY ALL";
    let secret = server.run(&format!("INSERT INTO secret {write}"));
    let open = server.run(&format!("INSERT INTO open {write}"));
    let rows = server.run("SELECT v FROM secret");
    for task in [&secret, &rows] {
        for path in ["", "/status", "/reports", "/log"] {
            let refused = server.get(&READER, &format!("/druid/indexer/v1/task/{task}{path}"));
            assert_eq!(
                (refused.status, refused.json()),
                (403, forbidden()),
                "{task}{path}"
            );
        }
        let refused = server.send(
            &READER,
            "POST",
            &format!("/druid/indexer/v1/task/{task}/shutdown"),
            None,
        );
        assert_eq!(refused.status, 403, "{task}");
        let id = task.trim_start_matches("query-");
        assert_eq!(
            server
                .send(&READER, "DELETE", &format!("/druid/v2/sql/{id}"), None)
                .status,
            403
        );
    }
    assert_eq!(
        server
            .get(&READER, &format!("/druid/indexer/v1/task/{open}/reports"))
            .status,
        200
    );
    // Reading is not ending.
    let refused = server.send(
        &READER,
        "POST",
        &format!("/druid/indexer/v1/task/{open}/shutdown"),
        None,
    );
    assert_eq!(refused.status, 403);

    let listed = server.get(&READER, "/druid/indexer/v1/tasks").json();
    let mut datasources: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["dataSource"].as_str().unwrap())
        .collect();
    datasources.sort_unstable();
    datasources.dedup();
    assert_eq!(datasources, ["__query_select", "open"]);
    let refused = server.get(&READER, "/druid/indexer/v1/tasks?datasource=secret");
    assert_eq!(
        (refused.status, refused.text.as_str()),
        (403, "Access-Check-Result: Unauthorized")
    );

    // One's own SELECT is one's own; another's is not, even of a table that one may read.
    let own = server.run_as(&READER, "SELECT v FROM open");
    let report = |who: &As<'_>| {
        server
            .get(who, &format!("/druid/indexer/v1/task/{own}/reports"))
            .status
    };
    assert_eq!((report(&READER), report(&As::User("other", "pw"))), (200, 403));
}

#[test]
fn an_id_is_no_path() {
    let server = Secured::start();
    let before = std::fs::read_dir(server.server.path()).unwrap().count();
    for id in ["../../evil", "a/b", "a\nb", "a\u{1}", "a\0"] {
        let body = json!({ "query": "SELECT 1", "context": { "sqlQueryId": id } });
        for path in ["/druid/v2/sql", "/druid/v2/sql/task"] {
            let refused = server.send(&ADMIN, "POST", path, Some(&body));
            assert_eq!(refused.status, 400, "{id:?}: {}", refused.text);
            assert!(
                refused.text.contains("Invalid value for field [task ID]"),
                "{}",
                refused.text
            );
        }
    }
    for path in [
        "/druid/indexer/v1/task/..%2f..%2fmetadata.db/reports",
        "/druid/indexer/v1/task/%2e%2e/reports",
    ] {
        assert!(matches!(server.get(&ADMIN, path).status, 400 | 404), "{path}");
    }
    assert_eq!(std::fs::read_dir(server.server.path()).unwrap().count(), before);
}
