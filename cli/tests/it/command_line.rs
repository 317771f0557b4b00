//! `sarsen sql`, `sarsen task` and `sarsen demo`.

use std::process::{Command, Output};

use crate::cluster::{Standalone, events};

fn sarsen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sarsen"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn sql_prints_rows_and_fails_with_the_fault() {
    let mut server = Standalone::start();
    let url = server.api.url.clone();
    let query = "SELECT 1 AS a, 'x,y' AS b";
    let table = sarsen(&["sql", "--url", &url, "-e", query]);
    assert!(table.status.success(), "{}", text(&table.stderr));
    assert_eq!(
        text(&table.stdout),
        "+---+-----+\n| a | b   |\n+---+-----+\n| 1 | x,y |\n+---+-----+\n"
    );
    let csv = sarsen(&["sql", "--url", &url, "-e", query, "--format", "csv"]);
    assert_eq!(text(&csv.stdout), "a,b\n1,\"x,y\"\n");
    let json = sarsen(&["sql", "--url", &url, "-e", query, "--format", "json"]);
    assert_eq!(text(&json.stdout), "{\"a\":1,\"b\":\"x,y\"}\n");

    let refused = sarsen(&["sql", "--url", &url, "-e", "SELECT * FROM nothing"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("Object 'nothing' not found"),
        "{}",
        text(&refused.stderr)
    );
    let missing = "SELECT * FROM TABLE(EXTERN('{\"type\":\"local\",\"files\":[\"/no/such.json\"]}', '{\"type\":\"json\"}', \
                   '[{\"name\":\"a\",\"type\":\"string\"}]'))";
    let failed = sarsen(&["sql", "--url", &url, "-e", missing]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed.stderr).contains("/no/such.json"),
        "{}",
        text(&failed.stderr)
    );

    let list = sarsen(&["task", "--url", &url, "list"]);
    assert!(
        text(&list.stdout).contains("| FAILED  | __query_select |"),
        "{}",
        text(&list.stdout)
    );
    let unknown = sarsen(&["task", "--url", &url, "report", "nope"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(server.process.terminate(), Some(0));
}

#[test]
fn the_demo_ingests_joins_and_shows_where_segments_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo").to_string_lossy().into_owned();
    let demo = sarsen(&["demo", "--scale", "0.002", "--data-dir", &data]);
    let shown = text(&demo.stdout);
    assert!(demo.status.success(), "{shown}\n{}", text(&demo.stderr));
    for part in [
        "| 1-URGENT ",
        "segmentGenerator",
        "segments, ",
        "deep-storage/lineitem",
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
}

#[test]
fn the_demo_takes_a_file_of_the_users() {
    let folder = tempfile::tempdir().unwrap();
    events(folder.path(), 500, 3);
    let input = folder.path().join("events.json").to_string_lossy().into_owned();
    let data = folder.path().join("demo").to_string_lossy().into_owned();
    let demo = sarsen(&[
        "demo",
        "--input",
        &input,
        "--time-column",
        "t",
        "--data-dir",
        &data,
    ]);
    let shown = text(&demo.stdout);
    assert!(demo.status.success(), "{shown}\n{}", text(&demo.stderr));
    assert!(shown.contains("| 167 "), "{shown}");
}

#[test]
fn a_process_does_not_start_with_an_announced_version_that_is_none() {
    for (role, announced) in [("worker", "soon"), ("gateway", "1.2"), ("standalone", "")] {
        let started = Command::new(env!("CARGO_BIN_EXE_sarsen"))
            .arg(role)
            .env(sarsen_proto::version::ANNOUNCED_VARIABLE, announced)
            .output()
            .unwrap();
        assert_eq!(started.status.code(), Some(1));
        assert_eq!(
            text(&started.stderr),
            format!(
                "sarsen: SARSEN_TEST_ANNOUNCED_VERSION: `{announced}` is not a version: expected MAJOR.MINOR.PATCH\n"
            )
        );
    }
}
