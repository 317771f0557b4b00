//! EXTERNs without columns: before and after these are known.

use sarsen_planner::{Action, InferredSignature, ResourceKind, StatementKind, plan, to_infer};

use crate::request;

const EXTERN: &str = r#"TABLE(EXTERN('{"type":"local","files":["/f.json"]}', '{"type":"json"}'))"#;

#[tokio::test]
async fn a_statement_is_checked_before_its_columns_are_known() {
    let sql = format!("REPLACE INTO t OVERWRITE ALL SELECT a, b FROM {EXTERN} PARTITIONED BY DAY");
    let planned = plan(&request(&sql)).await.unwrap();
    assert!(planned.definition.stages.is_empty() && planned.outputs.is_empty());
    assert_eq!(planned.kind, StatementKind::Replace);
    assert_eq!(planned.datasource.as_deref(), Some("t"));
    assert_eq!(
        planned.replace_intervals.map(|intervals| intervals.len()),
        Some(1)
    );
    let needed: Vec<_> = planned
        .resources
        .iter()
        .map(|needed| (needed.kind, needed.name.as_str(), needed.action))
        .collect();
    assert_eq!(
        needed,
        [
            (ResourceKind::Datasource, "t", Action::Write),
            (ResourceKind::External, "local", Action::Read)
        ]
    );
    for (sql, reason) in [
        (
            format!("EXPLAIN PLAN FOR SELECT * FROM {EXTERN}"),
            "EXPLAIN needs the columns of EXTERN",
        ),
        (format!("INSERT INTO t SELECT * FROM {EXTERN}"), "PARTITIONED BY"),
        (
            format!("SELECT * FROM {EXTERN}, nothing"),
            "Object 'nothing' not found",
        ),
        (
            "SELECT * FROM TABLE(EXTERN('{}', '{}'))".to_owned(),
            "[inputSource]",
        ),
        (
            "SELECT * FROM TABLE(EXTERN('{}'))".to_owned(),
            "EXTERN takes (inputSource",
        ),
    ] {
        let error = plan(&request(&sql)).await.unwrap_err();
        assert!(error.message.contains(reason), "{sql}: {}", error.message);
    }
}

#[tokio::test]
async fn the_same_statement_is_planned_with_the_columns_that_were_found() {
    let sql =
        format!("SELECT b, COUNT(*) AS n FROM {EXTERN} AS x, {EXTERN} AS y WHERE x.a = y.a GROUP BY x.b")
            .replace("SELECT b", "SELECT x.b");
    let mut request = request(&sql);
    let wanted = to_infer(&request).unwrap();
    assert_eq!(wanted.len(), 1);
    for (source, format) in wanted {
        let signature = r#"[{"name":"a","type":"LONG"},{"name":"b","type":"STRING"}]"#
            .parse()
            .unwrap();
        request.inferred.push(InferredSignature {
            source,
            format,
            signature,
        });
    }
    let planned = plan(&request).await.unwrap();
    assert!(!planned.definition.stages.is_empty());
    let outputs: Vec<_> = planned
        .outputs
        .iter()
        .map(|column| column.native_type.as_str())
        .collect();
    assert_eq!(outputs, ["STRING", "LONG"]);
    let unknown = sarsen_planner::PlanRequest {
        sql: format!("SELECT c FROM {EXTERN}"),
        ..request
    };
    let error = plan(&unknown).await.unwrap_err();
    assert!(
        error.message.contains("Column 'c' not found"),
        "{}",
        error.message
    );
}
