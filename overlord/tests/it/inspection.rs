//! Looking at a store from outside.

use std::time::{Duration, Instant};

use sarsen_overlord::metadata::{MetadataUrl, Store, StoreError, inspect};

use crate::place::Place;
use crate::store::{leading, on_every_store};

on_every_store! {
    async fn an_inspection_tells_the_schema_and_who_may_use_it(place: &Place, store: Store) {
        let seen = inspect(&place.url).await.unwrap();
        assert_eq!((seen.schema, seen.not_writable), (Some(seen.known), None));
        assert_eq!(seen.clock_ms.is_some(), matches!(place.url, MetadataUrl::Postgres(_)));
        place.execute("INSERT INTO schema_version VALUES (99); UPDATE schema_compatibility SET least = 5").await;
        assert_eq!(inspect(&place.url).await.unwrap().schema, Some(99));
        place.execute("UPDATE schema_compatibility SET least = 99").await;
        let refused = inspect(&place.url).await.unwrap_err();
        assert!(matches!(refused, StoreError::TooNew { found: 99, least: 99, .. }), "{refused}");
        drop(store);
    }
}

#[tokio::test]
async fn a_store_without_tables_stays_without_any() {
    for (number, place) in [Place::sqlite(), Place::postgres("inspected_empty").await]
        .iter()
        .enumerate()
    {
        let seen = inspect(&place.url).await.unwrap();
        assert_eq!((seen.schema, seen.not_writable), (None, None), "{number}");
        assert_eq!(inspect(&place.url).await.unwrap().schema, None);
        if let MetadataUrl::Sqlite(path) = &place.url {
            assert!(!path.exists());
        }
    }
}

#[tokio::test]
async fn a_user_who_may_not_write_is_told() {
    let place = Place::postgres("inspected_by_a_reader").await;
    drop(Store::open(&place.url).await.unwrap());
    place
        .execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        .await;
    let MetadataUrl::Postgres(url) = &place.url else {
        panic!()
    };
    let url = url.expose().replace("//postgres@", "//reader@");
    let seen = inspect(&MetadataUrl::Postgres(url.into())).await.unwrap();
    assert_eq!(seen.schema, Some(seen.known));
    assert_eq!(
        seen.not_writable.as_deref(),
        Some("the user may not write the tables")
    );
}

#[tokio::test]
async fn whoever_writes_is_not_waited_for() {
    use sqlx::{Connection, Executor};
    let place = Place::sqlite();
    let store = Store::open(&place.url).await.unwrap();
    let MetadataUrl::Sqlite(path) = &place.url else {
        panic!()
    };
    let mut writer = sqlx::AnyConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    writer.execute("BEGIN IMMEDIATE").await.unwrap();
    let begun = Instant::now();
    assert!(inspect(&place.url).await.unwrap().schema.is_some());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    writer.execute("ROLLBACK").await.unwrap();
    store.close().await;
}
