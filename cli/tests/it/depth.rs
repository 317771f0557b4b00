//! Statements that are long or nested without end: they run, or are refused; no process falls over them.

use serde_json::{Value, json};

use crate::cluster::{Standalone, events};

/// `OR` of comparisons that no optimiser folds into a list.
fn ors(count: usize) -> String {
    let comparisons: Vec<String> = (0..count)
        .map(|number| {
            if number % 2 == 0 {
                format!("n = {number}")
            } else {
                format!("x < n - {}", 100_000 + number)
            }
        })
        .collect();
    format!("SELECT COUNT(*) FROM e WHERE {}", comparisons.join(" OR "))
}

/// CASEs in the ELSE of each other.
fn cases(depth: usize) -> String {
    let nested = (0..depth).fold("'other'".to_owned(), |inner, level| {
        format!("CASE WHEN n = {level} THEN 'n{level}' ELSE {inner} END")
    });
    format!("SELECT {nested} AS c, COUNT(*) FROM e GROUP BY 1 ORDER BY 2 DESC LIMIT 1")
}

fn parentheses(depth: usize) -> String {
    format!(
        "SELECT COUNT(*) FROM e WHERE {}n = 1{}",
        "(".repeat(depth),
        ")".repeat(depth)
    )
}

#[test]
fn long_and_deep_statements_run_and_deeper_ones_are_refused() {
    let server = Standalone::start();
    let api = &server.api;
    let folder = tempfile::tempdir().unwrap();
    let source = events(folder.path(), 5_000, 2);
    api.run(
        &format!("INSERT INTO e SELECT TIME_PARSE(t) AS __time, k, n, x FROM {source} PARTITIONED BY DAY"),
        &json!({}),
    );
    assert_eq!(api.rows(&ors(2_000)), json!([[1_000]]));
    assert_eq!(api.rows(&cases(200)), json!([["other", 4_800]]));
    assert_eq!(api.rows(&parentheses(400)), json!([[1]]));
    let report = api.run(&ors(2_000), &json!({ "maxNumTasks": 3 }));
    assert_eq!(report["results"]["results"], json!([[1_000]]));

    for (what, deeper) in [
        ("ORs", ors(20_000)),
        ("CASEs", cases(3_000)),
        ("parentheses", parentheses(10_000)),
        (
            "subqueries",
            format!(
                "{}SELECT n FROM e{}",
                "SELECT * FROM (".repeat(1_000),
                ")".repeat(1_000)
            ),
        ),
        (
            "NOTs",
            format!("SELECT COUNT(*) FROM e WHERE {}n = 1", "NOT ".repeat(20_000)),
        ),
        ("minuses", format!("SELECT {}1", "- ".repeat(20_000))),
        ("UNIONs", vec!["SELECT n FROM e"; 5_000].join(" UNION ALL ")),
        (
            "additions",
            format!("SELECT {} AS s FROM e", vec!["n"; 20_000].join(" + ")),
        ),
    ] {
        for path in ["/druid/v2/sql/task", "/druid/v2/sql"] {
            let (status, body) = api.send("POST", path, Some(&json!({ "query": deeper })));
            let message = match &body["error"] {
                Value::Object(error) => error["errorMessage"].to_string(),
                _ => body["errorMessage"].to_string(),
            };
            assert_eq!(status, 400, "{what}: {message}");
            assert!(message.contains("at most"), "{what}: {message}");
        }
    }
    assert_eq!(api.rows("SELECT COUNT(*) FROM e"), json!([[5_000]]));
}
