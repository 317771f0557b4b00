//! The native query that a statement would be in Druid.

use sarsen_planner::native::{Aggregation, Fold, NativeFilter, NativeKind, NativePlan, NativeSource};
use serde_json::json;

use crate::planned;

async fn native(sql: &str) -> NativePlan {
    planned(sql).await.native.expect("a native query")
}

#[tokio::test]
async fn a_projection_becomes_virtual_columns_and_a_scan() {
    let plan = native("SELECT country, n + 1 AS m, n + 0 AS same FROM events WHERE n > 5 AND n <= 9").await;
    let computed: Vec<_> = plan
        .query
        .virtual_columns
        .iter()
        .map(|column| column.expression.as_str())
        .collect();
    assert_eq!(computed, ["(\"n\" + 1)"]);
    let mappings: Vec<_> = plan
        .mappings
        .iter()
        .map(|(column, name)| (column.as_str(), name.as_str()))
        .collect();
    assert_eq!(mappings, [("country", "country"), ("v0", "m"), ("n", "same")]);
    assert_eq!(
        plan.query.filter,
        Some(NativeFilter::Range {
            column: "n".to_owned(),
            native_type: "LONG".to_owned(),
            lower: Some((json!(5), true)),
            upper: Some((json!(9), false)),
        })
    );
}

#[tokio::test]
async fn a_grouping_names_dimensions_and_aggregates() {
    let plan = native(
        "SELECT country, COUNT(*) AS c, SUM(x) AS s FROM events GROUP BY 1 HAVING COUNT(*) > 2 ORDER BY 2 DESC LIMIT 3",
    )
    .await;
    let NativeKind::GroupBy(grouping) = &plan.query.kind else {
        panic!("not a grouping: {plan:?}");
    };
    let (dimensions, aggregations, having) = (&grouping.dimensions, &grouping.aggregations, &grouping.having);
    assert_eq!(
        (dimensions[0].column.as_str(), dimensions[0].output.as_str()),
        ("country", "d0")
    );
    assert_eq!(
        aggregations[1],
        Aggregation::Fold {
            name: "a1".to_owned(),
            fold: Fold::Sum,
            native_type: "DOUBLE".to_owned(),
            column: "x".to_owned()
        }
    );
    assert!(having.is_some());
    assert_eq!(
        (plan.query.order[0].column.as_str(), plan.query.limit),
        ("a0", Some(3))
    );
}

#[tokio::test]
async fn values_are_worked_out() {
    let plan = native("SELECT i + 1 AS j, s FROM (VALUES (1, 'a'), (2, NULL)) AS t(i, s)").await;
    let NativeSource::Inline { rows, .. } = &plan.query.source else {
        panic!("not inline: {plan:?}");
    };
    assert_eq!(json!(rows), json!([[2, "a"], [3, null]]));
}

#[tokio::test]
async fn a_condition_on_time_becomes_an_interval() {
    let plan = native("SELECT n FROM events WHERE __time < TIMESTAMP '2020-01-01'").await;
    assert_eq!(plan.query.intervals.len(), 1);
    assert_eq!(plan.query.filter, None);
}

#[tokio::test]
async fn a_column_that_the_filter_holds_to_one_value_is_that_value() {
    let plan = native("SELECT country FROM events WHERE country = 'FR'").await;
    assert_eq!(plan.query.virtual_columns[0].expression, "'FR'");
}

#[tokio::test]
async fn types_are_those_of_sql() {
    let planned = planned("SELECT 1 AS a, 'x' AS b, n + 1 AS c, COUNT(*) AS d FROM events GROUP BY n").await;
    let types: Vec<_> = planned
        .outputs
        .iter()
        .map(|column| column.sql_type.as_str())
        .collect();
    assert_eq!(types, ["INTEGER", "CHAR", "BIGINT", "BIGINT"]);
}

#[tokio::test]
async fn what_has_no_native_form_has_none() {
    let planned = planned("SELECT n, ROW_NUMBER() OVER (ORDER BY n) AS r FROM events").await;
    assert!(planned.native.is_none());
}

#[tokio::test]
async fn a_join_is_a_source_whose_right_columns_have_a_prefix() {
    let plan = native(
        "SELECT a.country, SUM(b.n) AS n FROM events a \
         LEFT JOIN (SELECT country, COUNT(*) AS n FROM users GROUP BY 1) b ON a.country = b.country GROUP BY 1",
    )
    .await;
    let NativeSource::Join(join) = &plan.query.source else {
        panic!("no join: {plan:?}");
    };
    assert_eq!(join.left, NativeSource::Table("events".to_owned()));
    assert!(
        matches!(&join.right, NativeSource::Query(query) if matches!(query.kind, NativeKind::GroupBy(_)))
    );
    assert_eq!(
        (
            join.prefix.as_str(),
            join.condition.as_str(),
            join.kind,
            join.sort_merge
        ),
        (
            "j0.",
            "(\"country\" == \"j0.d0\")",
            sarsen_planner::native::NativeJoinType::Left,
            false
        )
    );
    let NativeKind::GroupBy(grouping) = &plan.query.kind else {
        panic!("not a grouping: {plan:?}");
    };
    assert_eq!(grouping.dimensions[0].column, "country");
    assert!(matches!(&grouping.aggregations[0], Aggregation::Fold { column, .. } if column == "j0.a0"));
}
