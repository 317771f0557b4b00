//! How an ingestion tells the segments of a time chunk apart.

use sarsen_kernel::query::{IngestTarget, QueryKind};
use sarsen_kernel::shuffle::ShuffleKind;

use crate::planned;

/// The target, and how the stage before the last one shuffles.
async fn target(sql: &str) -> (IngestTarget, ShuffleKind) {
    let definition = planned(sql).await.definition;
    let QueryKind::Ingest(target) = definition.kind else {
        panic!("no ingestion: {sql}");
    };
    let read = &definition.stages[definition.stages.len() - 2];
    (target, read.shuffle.clone().expect("a shuffle").kind)
}

#[tokio::test]
async fn grouped_rows_are_sharded_by_their_leading_texts() {
    let (grouped, shuffle) = target(
        "REPLACE INTO t OVERWRITE ALL SELECT country AS place, city, SUM(n) AS n FROM events GROUP BY 1, 2 \
         PARTITIONED BY ALL",
    )
    .await;
    assert_eq!(grouped.shard_columns, ["place", "city"]);
    assert!(matches!(shuffle, ShuffleKind::GlobalSort(_)));
    let (by_time, shuffle) = target(
        "REPLACE INTO t OVERWRITE ALL SELECT __time, city, SUM(n) AS n FROM events GROUP BY 1, 2 PARTITIONED BY DAY",
    )
    .await;
    assert!(by_time.shard_columns.is_empty());
    assert!(by_time.shard_reason.starts_with("Using[0] CLUSTERED BY columns"));
    assert!(matches!(shuffle, ShuffleKind::Bucket { .. }));
}

#[tokio::test]
async fn an_insert_numbers_its_segments() {
    let (target, _) =
        target("INSERT INTO t SELECT __time, country FROM events PARTITIONED BY DAY CLUSTERED BY country")
            .await;
    assert!(target.shard_columns.is_empty());
}

#[tokio::test]
async fn columns_that_are_listed_name_what_is_stored() {
    let (target, _) = target(
        "REPLACE INTO t (__time, place) OVERWRITE ALL SELECT __time, UPPER(country) FROM events PARTITIONED BY DAY \
         CLUSTERED BY place",
    )
    .await;
    assert_eq!(target.shard_columns, ["place"]);
}
