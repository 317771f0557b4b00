use sarsen_overlord::ids::TaskId;
use sarsen_overlord::metadata::{
    AllocationMode, OpenTask, Publication, Published, Store, StoreError, TaskEnd,
};
use sarsen_overlord::security::apply;
use sarsen_overlord::time::{Interval, parse_ms};
use sarsen_proto::v1;
use sarsen_proto::v1::change_security_request::Change;

use crate::place::Place;

pub const DAY: i64 = 86_400_000;

pub fn day(number: i64) -> Interval {
    Interval {
        start_ms: number * DAY,
        end_ms: (number + 1) * DAY,
    }
}

pub async fn add_task(store: &Store, name: &str, seq: u64) -> TaskId {
    let id = TaskId::of_query(name);
    let spec = v1::TaskSpec {
        query_id: name.into(),
        datasource: "wiki".into(),
        ..Default::default()
    };
    let task = OpenTask {
        seq,
        task_id: &id,
        spec: &spec,
        epoch: 1,
        location: "c",
        created_ms: 1,
        started_ms: 2,
    };
    store.insert_task(task).await.unwrap();
    id
}

pub fn segment(
    chunk: Interval,
    version: &str,
    partition: u32,
    columns: &[(&str, &str)],
) -> v1::SegmentRecord {
    let column = |(name, native): &(&str, &str)| v1::Column {
        name: (*name).into(),
        native_type: (*native).into(),
    };
    v1::SegmentRecord {
        id: format!("wiki_{chunk}_{version}_{partition}"),
        interval: Some(chunk.into()),
        version: version.to_owned(),
        payload_json: format!(
            r#"{{"version":"{version}","shardSpec":{{"type":"numbered","partitionNum":{partition}}},"size":100}}"#
        ),
        rows: 10,
        columns: columns.iter().map(column).collect(),
    }
}

pub async fn publish(
    store: &Store,
    task: &TaskId,
    replaced: Option<Vec<Interval>>,
    segments: Vec<v1::SegmentRecord>,
) -> Result<Published, StoreError> {
    store
        .publish(Publication {
            task_id: task,
            epoch: Some(1),
            datasource: "wiki",
            replaced,
            segments,
        })
        .await
}

pub async fn allocate(
    store: &Store,
    task: &TaskId,
    mode: AllocationMode,
    chunk: Interval,
    n: u32,
) -> v1::ChunkAllocation {
    store
        .allocate(task, "wiki", mode, &[(chunk, n)])
        .await
        .unwrap()
        .remove(0)
}

/// Allocates and publishes one segment.
pub async fn append(store: &Store, task: &TaskId, chunk: Interval) -> v1::ChunkAllocation {
    let given = allocate(store, task, AllocationMode::Append, chunk, 1).await;
    let segments = vec![segment(
        chunk,
        &given.version,
        given.first_partition,
        &[("__time", "LONG")],
    )];
    publish(store, task, None, segments).await.unwrap();
    given
}

/// Opens a store to write to it.
pub async fn leading(place: &Place) -> Store {
    let store = Store::open(&place.url).await.unwrap();
    store.lead().await.unwrap();
    store
}

/// Runs the same test over every kind of store, each empty.
macro_rules! on_every_store {
    ($(async fn $name:ident($place:ident: &Place, $store:ident: Store) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn test($place: &Place, $store: Store) $body

            #[tokio::test]
            async fn in_sqlite() {
                let place = Place::sqlite();
                test(&place, leading(&place).await).await;
            }

            #[tokio::test]
            async fn in_postgres() {
                let place = Place::postgres(stringify!($name)).await;
                test(&place, leading(&place).await).await;
            }
        }
    )*};
}
pub(crate) use on_every_store;

on_every_store! {
    async fn a_second_publish_of_a_task_answers_what_the_first_did(_place: &Place, store: Store) {
        let task = add_task(&store, "q", 1).await;
        append(&store, &task, day(0)).await;
        let again = publish(&store, &task, None, vec![segment(day(5), "v", 0, &[])])
            .await
            .unwrap();
        assert_eq!(
            again,
            Published {
                metadata_version: 1,
                repeated: true
            }
        );
        assert_eq!(store.segment_payloads("wiki", &[]).await.unwrap().len(), 1);
    }

    async fn a_stale_epoch_and_an_ended_task_publish_nothing(_place: &Place, store: Store) {
        let task = add_task(&store, "q", 1).await;
        assert!(store.record_dispatch(&task, 2, "c", 2, &v1::TaskSpec::default()).await.unwrap());
        let refused = publish(&store, &task, None, vec![segment(day(0), "v", 0, &[])]).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))));
        let end = TaskEnd {
            state: v1::TaskState::Failed,
            started_ms: 2,
            duration_ms: 3,
            error: "no".into(),
            workers: Vec::new(),
        };
        assert!(!store.finish_task(&task, Some(1), &end).await.unwrap());
        assert!(store.finish_task(&task, Some(2), &end).await.unwrap());
        assert!(!store.record_dispatch(&task, 3, "c", 2, &v1::TaskSpec::default()).await.unwrap());
        assert!(store.segment_payloads("wiki", &[]).await.unwrap().is_empty());
        assert!(store.open_tasks().await.unwrap().is_empty());
    }

    async fn a_replace_drops_what_lies_inside_its_intervals_and_nothing_else(_place: &Place, store: Store) {
        for number in 0..3 {
            let task = add_task(&store, &format!("i{number}"), 1 + u64::try_from(number).unwrap()).await;
            append(&store, &task, day(number)).await;
        }
        let task = add_task(&store, "r", 9).await;
        let mode = AllocationMode::Replace { locked_ms: 0 };
        let given = allocate(&store, &task, mode, day(1), 1).await;
        let segments = vec![segment(day(1), &given.version, 0, &[("__time", "LONG")])];
        // Day 2 gets no rows: it is dropped all the same.
        let replaced = Some(vec![Interval {
            start_ms: DAY,
            end_ms: 3 * DAY,
        }]);
        publish(&store, &task, replaced, segments).await.unwrap();
        let left = store.segment_payloads("wiki", &[]).await.unwrap();
        assert_eq!(left.len(), 2);
        assert!(left[1].contains(&given.version));
        assert!(
            store
                .segment_payloads("wiki", &[day(2)])
                .await
                .unwrap()
                .is_empty()
        );
    }

    async fn a_replace_of_all_drops_and_finds_segments_of_all_time(_place: &Place, store: Store) {
        let first = add_task(&store, "a", 1).await;
        append(&store, &first, Interval::ETERNITY).await;
        assert_eq!(store.segment_payloads("wiki", &[day(3)]).await.unwrap().len(), 1);
        let second = add_task(&store, "b", 2).await;
        publish(&store, &second, Some(vec![Interval::ETERNITY]), Vec::new())
            .await
            .unwrap();
        assert!(store.segment_payloads("wiki", &[]).await.unwrap().is_empty());
        assert!(store.catalog(&[]).await.unwrap().tables.is_empty());
    }

    async fn inserts_at_the_same_time_share_a_version_and_no_partition_number(_place: &Place, store: Store) {
        let (a, b) = (add_task(&store, "a", 1).await, add_task(&store, "b", 2).await);
        let first = allocate(&store, &a, AllocationMode::Append, day(0), 3).await;
        let second = allocate(&store, &b, AllocationMode::Append, day(0), 1).await;
        assert_eq!((first.first_partition, second.first_partition), (0, 3));
        assert_eq!(first.version, second.version);
        assert_eq!(
            allocate(&store, &a, AllocationMode::Append, day(0), 3).await,
            first
        );
        let other = segment(day(0), &second.version, 3, &[("__time", "LONG")]);
        publish(&store, &b, None, vec![other.clone()]).await.unwrap();
        assert!(matches!(
            publish(&store, &a, None, vec![other]).await,
            Err(StoreError::Superseded(_))
        ));
        publish(&store, &a, None, vec![segment(day(0), &first.version, 0, &[])])
            .await
            .unwrap();
    }

    async fn an_insert_over_another_granularity_is_told_what_stands_there(_place: &Place, store: Store) {
        let month = Interval {
            start_ms: 0,
            end_ms: 31 * DAY,
        };
        let first = add_task(&store, "a", 1).await;
        append(&store, &first, month).await;
        let second = add_task(&store, "b", 2).await;
        let given = allocate(&store, &second, AllocationMode::Append, day(3), 1).await;
        assert_eq!(given.interval, Some(month.into()));
    }

    async fn a_replace_has_a_version_above_all_that_ever_was(_place: &Place, store: Store) {
        let first = add_task(&store, "a", 1).await;
        let old = append(&store, &first, day(0)).await;
        let second = add_task(&store, "b", 2).await;
        let given = allocate(
            &store,
            &second,
            AllocationMode::Replace { locked_ms: 0 },
            day(0),
            2,
        )
        .await;
        assert_eq!(parse_ms(&given.version), parse_ms(&old.version).map(|ms| ms + 1));
        assert_eq!(given.first_partition, 0);
    }

    async fn the_catalogue_is_the_union_of_the_used_segments(_place: &Place, store: Store) {
        for (number, columns) in [
            (0, [("page", "STRING"), ("__time", "LONG"), ("added", "LONG")]),
            (1, [("__time", "LONG"), ("added", "DOUBLE"), ("user", "STRING")]),
        ] {
            let task = add_task(&store, &format!("q{number}"), 1 + u64::try_from(number).unwrap()).await;
            let given = allocate(&store, &task, AllocationMode::Append, day(number), 1).await;
            publish(
                &store,
                &task,
                None,
                vec![segment(day(number), &given.version, 0, &columns)],
            )
            .await
            .unwrap();
            let catalog = store.catalog(&[]).await.unwrap();
            assert_eq!(catalog.version, u64::try_from(number).unwrap() + 1);
        }
        let table = store
            .catalog(&["wiki".to_owned()])
            .await
            .unwrap()
            .tables
            .remove(0);
        let columns: Vec<(&str, &str)> = table
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.native_type.as_str()))
            .collect();
        let expected = [
            ("__time", "LONG"),
            ("page", "STRING"),
            ("added", "DOUBLE"),
            ("user", "STRING"),
        ];
        assert_eq!(columns, expected);
        assert_eq!((table.rows, table.bytes, table.segments), (20, 200, 2));
        assert!(
            store
                .catalog(&["other".to_owned()])
                .await
                .unwrap()
                .tables
                .is_empty()
        );
    }

    async fn the_catalogue_in_memory_is_what_the_store_holds(place: &Place, store: Store) {
        let month = Interval { start_ms: 0, end_ms: 92 * DAY };
        let schemas: [&[(&str, &str)]; 3] = [
            &[("__time", "LONG"), ("a", "LONG")],
            &[("__time", "LONG"), ("b", "STRING")],
            &[("__time", "LONG"), ("a", "STRING")],
        ];
        // What is published: the day, the schema, and for a REPLACE what it overwrites.
        let steps = [
            (day(0), 0, None),
            (day(1), 0, None),
            (day(0), 0, Some(day(0))),
            (day(1), 1, None),
            (day(1), 2, Some(day(1))),
            (month, 1, Some(month)),
            (month, 1, None),
            (day(2), 0, Some(Interval::ETERNITY)),
        ];
        for (seq, (chunk, schema, replaced)) in (1..).zip(steps) {
            let task = add_task(&store, &format!("q{seq}"), seq).await;
            let mode = match replaced {
                Some(_) => AllocationMode::Replace { locked_ms: 0 },
                None => AllocationMode::Append,
            };
            let given = allocate(&store, &task, mode, chunk, 1).await;
            let segments = vec![segment(chunk, &given.version, given.first_partition, schemas[schema])];
            publish(&store, &task, replaced.map(|interval| vec![interval]), segments).await.unwrap();
            let known = store.catalog(&[]).await.unwrap();
            let read = Store::open(&place.url).await.unwrap();
            assert_eq!(known, read.catalog(&[]).await.unwrap(), "after step {seq}");
            read.close().await;
        }
        let last = add_task(&store, "empty", 99).await;
        publish(&store, &last, Some(vec![Interval::ETERNITY]), Vec::new()).await.unwrap();
        assert!(store.catalog(&[]).await.unwrap().tables.is_empty());
    }

    async fn a_reopened_store_knows_its_tasks_and_tables(place: &Place, store: Store) {
        let task = add_task(&store, "q", 7).await;
        append(&store, &task, day(0)).await;
        store.close().await;
        let store = Store::open(&place.url).await.unwrap();
        let open = store.open_tasks().await.unwrap();
        assert_eq!((open.len(), open[0].seq, open[0].epoch), (1, 7, 1));
        assert_eq!(store.next_seq().await.unwrap(), 8);
        assert_eq!(store.catalog(&[]).await.unwrap().tables.len(), 1);
    }

    async fn a_new_leader_fences_the_old_one(place: &Place, store: Store) {
        let task = add_task(&store, "q", 1).await;
        let successor = leading(place).await;
        let refused = publish(&store, &task, None, vec![segment(day(0), "v1", 0, &[])]).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
        let end = TaskEnd {
            state: v1::TaskState::Success,
            started_ms: 1,
            duration_ms: 1,
            error: String::new(),
            workers: Vec::new(),
        };
        assert!(store.finish_task(&task, None, &end).await.is_err());
        assert!(store.put_checkpoint(&task, 1, b"late").await.is_err());
        assert!(successor.finish_task(&task, None, &end).await.unwrap());
    }

    async fn users_and_roles_are_kept_and_changed_by_the_leader_alone(place: &Place, store: Store) {
        assert_eq!(store.security().await.unwrap(), v1::SecurityState::default());
        let change = |name: &str| Change::CreateUser(name.to_owned());
        store.change_security(|state| apply(state, change("a"))).await.unwrap();
        let refused = store.change_security(|state| apply(state, change("a"))).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Conflict(words) if words == "User [a] already exists."), "{refused}");
        let successor = leading(place).await;
        assert!(store.change_security(|state| apply(state, change("b"))).await.is_err());
        successor.change_security(|state| apply(state, change("c"))).await.unwrap();
        let state = successor.security().await.unwrap();
        let names: Vec<&str> = state.users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!((names, state.version), (vec!["a", "c"], 2));
        assert_eq!(successor.security_version().await.unwrap(), 2);
    }

    async fn a_store_of_the_first_schema_is_brought_up_to_date(place: &Place, store: Store) {
        let task = add_task(&store, "old", 3).await;
        append(&store, &task, day(0)).await;
        store.close().await;
        place
            .execute(
                "DROP TABLE configs; DROP TABLE config_history; DROP TABLE worker_tasks; DROP INDEX idx_tasks_datasource_state; \
                 DROP TABLE security; DROP TABLE schema_compatibility; DROP TABLE leadership; DROP TABLE replacing; DROP INDEX idx_druid_segments_chunk; \
                 DROP INDEX idx_druid_segments_long; DELETE FROM schema_version WHERE version > 1",
            )
            .await;
        let store = leading(place).await;
        assert_eq!(store.next_seq().await.unwrap(), 4);
        assert_eq!(store.catalog(&[]).await.unwrap().tables.len(), 1);
        add_task(&store, "new", 4).await;
        store.close().await;
        // A later version has added something that this one need not know.
        place.execute("INSERT INTO schema_version VALUES (99)").await;
        leading(place).await.close().await;
        // And a still later one, something that it must know.
        place.execute("UPDATE schema_compatibility SET least = 98").await;
        let error = Store::open(&place.url).await.unwrap_err();
        let words = error.to_string();
        assert!(words.contains("later version") && words.contains("98"), "{words}");
    }
}
