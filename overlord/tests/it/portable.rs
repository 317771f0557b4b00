//! Backups: out of either kind of store and into either kind.

use sarsen_overlord::metadata::{MetadataUrl, Store, StoreError, backup, portable_tables, restore};
use sarsen_overlord::security::apply;
use sarsen_proto::v1;
use sarsen_proto::v1::change_security_request::Change;

use crate::place::Place;
use crate::store::{add_task, allocate, append, day, leading, on_every_store};
use sarsen_overlord::metadata::AllocationMode;

/// A backup's lines but for the header, which tells when it was taken.
async fn lines(url: &MetadataUrl) -> Vec<String> {
    let mut out = Vec::new();
    backup(url, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

async fn text(url: &MetadataUrl) -> String {
    let mut out = Vec::new();
    backup(url, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Something in every table.
async fn fill(store: &Store, place: &Place) {
    let published = add_task(store, "published", 1).await;
    append(store, &published, day(0)).await;
    append(store, &add_task(store, "more", 2).await, day(0)).await;
    let open = add_task(store, "open", 3).await;
    allocate(store, &open, AllocationMode::Append, day(1), 2).await;
    store.put_checkpoint(&open, 1, &[0, 255, 16]).await.unwrap();
    assert_eq!(store.checkpoint(&open).await.unwrap(), [0, 255, 16]);
    let user = Change::CreateUser("ann".to_owned());
    store.change_security(|state| apply(state, user)).await.unwrap();
    let rules = v1::PutConfigsRequest {
        kind: "rules".to_owned(),
        changes: vec![v1::ConfigChange {
            key: "wiki".to_owned(),
            payload_json: Some("[]".to_owned()),
        }],
        ..Default::default()
    };
    store.put_configs(&rules).await.unwrap();
    let bytes = match place.url {
        MetadataUrl::Sqlite(_) => "x'00ff'",
        MetadataUrl::Postgres(_) => "'\\x00ff'",
    };
    let sql = format!(
        "INSERT INTO replacing VALUES ('query-r', 1); \
         INSERT INTO worker_tasks VALUES ('query-r', {bytes}); \
         INSERT INTO druid_dataSource VALUES ('wiki', '2026', {bytes}, 'sha'); \
         UPDATE druid_segments SET upgraded_from_segment_id = 'old' WHERE id LIKE '%_1'"
    );
    place.execute(&sql).await;
}

on_every_store! {
    async fn a_backup_restores_into_either_kind_of_store(place: &Place, store: Store) {
        fill(&store, place).await;
        let taken = text(&place.url).await;
        let rows = lines(&place.url).await;
        let name = match place.url {
            MetadataUrl::Sqlite(_) => "restored_from_sqlite",
            MetadataUrl::Postgres(_) => "restored_from_postgres",
        };
        for target in [Place::sqlite(), Place::postgres(name).await] {
            let counts = restore(&target.url, taken.as_bytes()).await.unwrap();
            assert_eq!(counts["druid_segments"], 2);
            assert_eq!(lines(&target.url).await, rows);
            // It goes on where the other one was.
            let restored = leading(&target).await;
            assert_eq!(restored.next_seq().await.unwrap(), 4);
            assert_eq!(restored.security().await.unwrap().users[0].name, "ann");
            assert_eq!(restored.catalog(&[]).await.unwrap().tables[0].rows, 20);
            let more = add_task(&restored, "later", 4).await;
            let given = append(&restored, &more, day(0)).await;
            assert_eq!(given.first_partition, 2);
            // And is not restored into a second time.
            let again = restore(&target.url, taken.as_bytes()).await.unwrap_err();
            assert!(matches!(again, StoreError::NotEmpty(_)), "{again}");
        }
    }

    async fn a_store_in_use_is_not_restored_into(place: &Place, store: Store) {
        let taken = text(&place.url).await;
        let refused = restore(&place.url, taken.as_bytes()).await.unwrap_err();
        assert!(refused.to_string().contains("an Overlord has led"), "{refused}");
        drop(store);
    }

    async fn a_backup_that_is_not_whole_changes_nothing(place: &Place, store: Store) {
        fill(&store, place).await;
        let taken = text(&place.url).await;
        let last = taken.trim_end().rfind('\n').unwrap();
        let without_a_row = taken.replacen(taken.lines().nth(1).unwrap(), "", 1).replace("\n\n", "\n");
        let unknown = taken.replacen("\"druid_segments\"", "\"druid_rules\"", 1);
        let name = match place.url {
            MetadataUrl::Sqlite(_) => "broken_from_sqlite",
            MetadataUrl::Postgres(_) => "broken_from_postgres",
        };
        for target in [Place::sqlite(), Place::postgres(name).await] {
            for broken in [&taken[..last], &taken[..last - 5], "", &without_a_row, &unknown] {
                let refused = restore(&target.url, broken.as_bytes()).await.unwrap_err();
                assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
            }
            restore(&target.url, taken.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_backup_is_taken_of_every_schema_that_goes_together_with_this_one() {
    use sqlx::Connection;
    let place = Place::sqlite();
    let store = leading(&place).await;
    fill(&store, &place).await;
    drop(store);
    let MetadataUrl::Sqlite(path) = &place.url else {
        panic!()
    };
    let mut connection = sqlx::AnyConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let mut change = async |sql: &str| {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    };
    // As a store of a release after this one, which added something, and of an earlier one, which lacks something.
    for (number, sql) in [
        (
            7,
            "INSERT INTO schema_version VALUES (7); ALTER TABLE publishes ADD COLUMN later TEXT",
        ),
        (
            4,
            "DROP TABLE schema_compatibility; DROP TABLE configs; DROP TABLE config_history; DROP TABLE worker_tasks; \
             DELETE FROM schema_version WHERE version > 4",
        ),
    ] {
        change(sql).await;
        let taken = text(&place.url).await;
        let target = Place::sqlite();
        restore(&target.url, taken.as_bytes()).await.unwrap();
        let restored = leading(&target).await;
        assert_eq!(
            restored.security().await.unwrap().users[0].name,
            "ann",
            "{number}"
        );
    }
    change("DELETE FROM schema_version WHERE version > 3").await;
    let refused = backup(&place.url, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherSchema { .. }), "{refused}");
    change(
        "CREATE TABLE schema_compatibility (one INTEGER PRIMARY KEY, least BIGINT NOT NULL); \
         INSERT INTO schema_compatibility VALUES (1, 7); INSERT INTO schema_version VALUES (7)",
    )
    .await;
    let refused = backup(&place.url, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { .. }), "{refused}");
}

#[tokio::test]
async fn a_backup_holds_every_table() {
    use sqlx::{Connection, Row};
    let place = Place::sqlite();
    drop(leading(&place).await);
    let MetadataUrl::Sqlite(path) = &place.url else {
        panic!()
    };
    let mut connection = sqlx::AnyConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let rows = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let known: Vec<&str> = portable_tables()
        .chain(["leadership", "schema_compatibility", "schema_version"])
        .collect();
    for row in rows {
        let name: String = row.get("name");
        assert!(known.contains(&name.as_str()), "{name} is in no backup");
    }
}
