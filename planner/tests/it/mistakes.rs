//! What is said of statements that are refused.

use sarsen_planner::{PlanError, plan};

use crate::request;

async fn refused(sql: &str) -> PlanError {
    match plan(&request(sql)).await {
        Ok(_) => panic!("planned: {sql}"),
        Err(error) => error,
    }
}

fn place(error: &PlanError) -> Vec<&str> {
    let keys = ["line", "column", "endLine", "endColumn"];
    let named = |key: &&str| error.context.iter().find(|(name, _)| name == key);
    keys.iter()
        .filter_map(named)
        .map(|(_, value)| value.as_str())
        .collect()
}

#[tokio::test]
async fn nested_aggregates_are_placed_at_the_outer_call() {
    let error = refused("SELECT SUM(MAX(n)) FROM events").await;
    assert_eq!(
        error.message,
        "Aggregate expressions cannot be nested (line [1], column [8])"
    );
    assert_eq!(place(&error), ["1", "8", "1", "18"]);
}

#[tokio::test]
async fn an_ordinal_names_a_column() {
    let error = refused("SELECT n FROM events ORDER BY 2").await;
    assert_eq!(error.message, "Ordinal out of range (line [1], column [31])");
    assert_eq!(place(&error), ["1", "31", "1", "31"]);
}

#[tokio::test]
async fn a_number_that_no_type_holds_is_placed() {
    let error = refused("SELECT n, 1e400 FROM events").await;
    assert_eq!(
        error.message,
        "Numeric literal '1E400' out of range (line [1], column [11])"
    );
    assert_eq!(place(&error), ["1", "11", "1", "15"]);
}

#[tokio::test]
async fn operands_that_do_not_go_together_are_placed() {
    let error = refused("SELECT n,\n country + ARRAY[1] AS x FROM events").await;
    assert_eq!(place(&error), ["2", "2", "2", "19"], "{}", error.message);
}

#[tokio::test]
async fn an_unknown_function_is_placed_with_the_nearest_name() {
    let error = refused("SELECT UPER(country) FROM events").await;
    assert_eq!(
        error.message,
        "No match found for function signature UPER(<CHARACTER>); did you mean 'UPPER'? (line [1], column [8])"
    );
}

#[tokio::test]
async fn an_unnamed_column_is_placed() {
    let error = refused("INSERT INTO t SELECT __time, UPPER(country) FROM events PARTITIONED BY DAY").await;
    assert!(
        error.message.ends_with("(line [1], column [30])"),
        "{}",
        error.message
    );
    assert_eq!(place(&error), ["1", "30", "1", "43"]);
}

#[tokio::test]
async fn target_columns_are_as_many_as_the_query_gives() {
    let few = refused("INSERT INTO t (__time, b) SELECT __time, n, x FROM events PARTITIONED BY DAY").await;
    assert_eq!(
        few.message,
        "INSERT names 2 target columns [__time, b], but its query gives 3"
    );
    let double = refused("INSERT INTO t (b, b) SELECT __time, n FROM events PARTITIONED BY DAY").await;
    assert_eq!(double.message, "Duplicate column in the target column list: [b]");
}

#[tokio::test]
async fn an_ingestion_is_not_ordered() {
    let error =
        refused("REPLACE INTO t OVERWRITE ALL SELECT __time, n FROM events ORDER BY n PARTITIONED BY ALL")
            .await;
    assert_eq!(
        error.message,
        "Cannot use an ORDER BY clause on a Query of type [REPLACE], use CLUSTERED BY instead"
    );
}

#[tokio::test]
async fn an_index_spec_is_an_object() {
    let mut request = request("INSERT INTO t SELECT __time, n FROM events PARTITIONED BY DAY");
    request.context.insert("indexSpec".to_owned(), "nope".into());
    let error = plan(&request).await.unwrap_err();
    assert_eq!(
        error.message,
        "Expected key [indexSpec] to be an indexSpec, but got [nope]"
    );
}

#[tokio::test]
async fn double_names_are_refused() {
    let double = refused("INSERT INTO t SELECT __time, n AS a, x AS a FROM events PARTITIONED BY DAY").await;
    assert_eq!(double.message, "Duplicate field in SELECT: [a]");
}

#[tokio::test]
async fn the_end_of_the_text_has_a_place() {
    let error = refused("SELECT 1\nFROM events\nWHERE (n = 1").await;
    assert!(
        error
            .message
            .starts_with("Received an unexpected token [<EOF>] (line [3], column [12])")
    );
    assert_eq!(place(&error), ["3", "12", "3", "12"]);
}

#[tokio::test]
async fn a_keyword_in_the_wrong_place_is_named() {
    let error = refused("CREATE TABLE x (a INT)").await;
    assert!(
        error
            .message
            .starts_with("Incorrect syntax near the keyword 'CREATE' at line 1, column 1."),
        "{}",
        error.message
    );
    let word = refused("SELEC 1").await;
    assert_eq!(
        word.message,
        "Non-query expression encountered in illegal context"
    );
}

#[tokio::test]
async fn a_call_with_operands_of_wrong_types_is_named_with_them() {
    let cases = [
        (
            "SELECT SUM(ARRAY[n]) FROM events",
            "'SUM' to arguments of type 'SUM(<BIGINT ARRAY>)'",
        ),
        (
            "SELECT STRLEN(ARRAY[1]) FROM events",
            "'STRLEN' to arguments of type 'STRLEN(<INTEGER ARRAY>)'",
        ),
        (
            "SELECT SUBSTR(ARRAY['a'], 1) FROM events",
            "'SUBSTR' to arguments of type 'SUBSTR(<CHAR(1) ARRAY>, <INTEGER>)'",
        ),
        (
            "SELECT ARRAY[1] + 0.25 FROM events",
            "'+' to arguments of type '<INTEGER ARRAY> + <DECIMAL(3, 2)>'",
        ),
        (
            "SELECT FLOOR(n TO DAY) FROM events",
            "'FLOOR' to arguments of type 'FLOOR(<BIGINT>, <INTERVAL DAY>)'",
        ),
        (
            "SELECT TIMESTAMPDIFF(DAY, n, n) FROM events",
            "'TIMESTAMPDIFF' to arguments of type 'TIMESTAMPDIFF(<INTERVAL DAY>, <BIGINT>, <BIGINT>)'",
        ),
        (
            "SELECT c FROM events, UNNEST(n) AS u(c)",
            "'UNNEST' to arguments of type 'UNNEST(<BIGINT>)'",
        ),
        (
            "SELECT NOT PARSE_JSON(country) FROM events",
            "'NOT' to arguments of type 'NOT<COMPLEX<JSON>>'",
        ),
        (
            "SELECT PARSE_JSON(1 + 1) FROM events",
            "'PARSE_JSON' to arguments of type 'PARSE_JSON(<INTEGER>)'",
        ),
        (
            "SELECT SUM(ARRAY[n]) FROM events WHERE ARRAY[n] = n",
            "'=' to arguments of type '<BIGINT ARRAY> = <BIGINT>'",
        ),
        (
            "WITH a AS (SELECT ARRAY[n] AS x FROM events), b AS (SELECT SUM(x) AS y FROM a) SELECT y FROM b",
            "'SUM' to arguments of type 'SUM(<BIGINT ARRAY>)'",
        ),
    ];
    for (sql, words) in cases {
        let error = refused(sql).await;
        assert!(
            error.message.contains(&format!("Cannot apply {words}")),
            "{sql}: {}",
            error.message
        );
        assert!(!place(&error).is_empty() || sql.contains("UNNEST"), "{sql}");
    }
}

#[tokio::test]
async fn a_function_that_is_not_there_is_named_with_the_families_of_its_arguments() {
    let error = refused("SELECT nofun(n, country, ARRAY[n]) FROM events").await;
    assert_eq!(
        error.message,
        "No match found for function signature nofun(<NUMERIC>, <CHARACTER>, <BIGINT ARRAY>) (line [1], column [8])"
    );
}

#[tokio::test]
async fn what_is_selected_beside_groups_must_be_one() {
    let error = refused("SELECT country, SUM(n) FROM events").await;
    assert_eq!(
        error.message,
        "Expression 'country' is not being grouped (line [1], column [8])"
    );
    let error = refused("SELECT country, GROUPING(country) FROM events").await;
    assert_eq!(
        error.message,
        "GROUPING operator may only occur in an aggregate query (line [1], column [17])"
    );
}

/// Each level must not double the time: a minute would be far too long for all of them.
#[tokio::test]
async fn what_is_broken_deep_inside_is_refused_at_once() {
    let started = std::time::Instant::now();
    for head in [
        "CASE WHEN TRUE THEN ",
        "CEIL(",
        "CAST(",
        "TRY_CAST(",
        "SUBSTRING(",
        "ARRAY[",
        "(SELECT * FROM ((",
        "ABS(",
    ] {
        refused(&format!("SELECT {}1 2 3", head.repeat(60))).await;
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
