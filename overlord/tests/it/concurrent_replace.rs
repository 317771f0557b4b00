//! Appending while a REPLACE runs, in every order of what they commit: no row is lost, and none is there twice.

use sarsen_overlord::ids::TaskId;
use sarsen_overlord::metadata::{AllocationMode, OpenTask, Store, StoreError, TaskEnd};
use sarsen_overlord::time::Interval;
use sarsen_proto::v1;

use crate::place::Place;
use crate::store::{DAY, add_task, allocate, append, day, leading, on_every_store, publish, segment};

const REPLACE: AllocationMode = AllocationMode::Replace { locked_ms: 0 };

/// A REPLACE that begins to run now.
async fn begin_replace(store: &Store, name: &str, seq: u64) -> TaskId {
    let id = TaskId::of_query(name);
    let spec = v1::TaskSpec {
        query_id: name.into(),
        datasource: "wiki".into(),
        kind: v1::StatementKind::Replace.into(),
        lock_type: v1::TaskLockType::Replace.into(),
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

/// Publishes one segment for a day, above what is there.
async fn publish_replace(
    store: &Store,
    task: &TaskId,
    over: Interval,
    chunks: &[Interval],
) -> Result<String, StoreError> {
    let mut version = String::new();
    let mut segments = Vec::new();
    for chunk in chunks {
        let given = allocate(store, task, REPLACE, *chunk, 1).await;
        segments.push(segment(*chunk, &given.version, 0, &[("__time", "LONG")]));
        version = given.version;
    }
    publish(store, task, Some(vec![over]), segments).await?;
    Ok(version)
}

/// What is used: interval, version and partition number, by payload.
async fn used(store: &Store) -> Vec<(String, u64)> {
    let payloads = store.segment_payloads("wiki", &[]).await.unwrap();
    let of = |payload: &String| {
        let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
        let version = payload["version"].as_str().unwrap().to_owned();
        (version, payload["shardSpec"]["partitionNum"].as_u64().unwrap())
    };
    payloads.iter().map(of).collect()
}

on_every_store! {
    async fn what_was_appended_before_the_replace_began_is_replaced(_place: &Place, store: Store) {
        let insert = add_task(&store, "i", 1).await;
        append(&store, &insert, day(0)).await;
        let replace = begin_replace(&store, "r", 2).await;
        let seen = store.segment_payloads_for("wiki", &[], Some((&replace, &[day(0)]))).await.unwrap();
        assert_eq!(seen.len(), 1);
        let version = publish_replace(&store, &replace, day(0), &[day(0)]).await.unwrap();
        assert_eq!(used(&store).await, [(version, 0)]);
    }

    async fn what_is_appended_while_it_runs_is_carried_over(place: &Place, store: Store) {
        let before = add_task(&store, "before", 1).await;
        append(&store, &before, day(0)).await;
        let replace = begin_replace(&store, "r", 2).await;
        for (seq, name) in [(3, "during"), (4, "later")] {
            let during = add_task(&store, name, seq).await;
            append(&store, &during, day(0)).await;
        }
        // It would read twice what is carried over.
        let seen = store.segment_payloads_for("wiki", &[], Some((&replace, &[day(0)]))).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(store.segment_payloads("wiki", &[]).await.unwrap().len(), 3);
        let version = publish_replace(&store, &replace, day(0), &[day(0)]).await.unwrap();
        let expected = [0, 1, 2].map(|number| (version.clone(), number));
        assert_eq!(used(&store).await, expected);
        let table = store.catalog(&[]).await.unwrap().tables.remove(0);
        assert_eq!((table.rows, table.segments), (30, 3));
        // Another REPLACE finds nothing to carry over, and drops all of it.
        let next = begin_replace(&store, "next", 5).await;
        let version = publish_replace(&store, &next, day(0), &[day(0)]).await.unwrap();
        assert_eq!(used(&store).await, [(version, 0)]);
        drop(store);
        place.execute("DELETE FROM replacing").await;
    }

    async fn one_that_was_promised_numbers_before_the_replace_published_asks_again(_place: &Place, store: Store) {
        let before = add_task(&store, "before", 1).await;
        append(&store, &before, day(0)).await;
        let replace = begin_replace(&store, "r", 2).await;
        let insert = add_task(&store, "i", 3).await;
        let stale = allocate(&store, &insert, AllocationMode::Append, day(0), 1).await;
        let version = publish_replace(&store, &replace, day(0), &[day(0)]).await.unwrap();
        let late = vec![segment(day(0), &stale.version, stale.first_partition, &[])];
        let refused = publish(&store, &insert, None, late).await;
        assert!(matches!(refused, Err(StoreError::Superseded(_))), "{refused:?}");
        append(&store, &insert, day(0)).await;
        assert_eq!(used(&store).await, [(version.clone(), 0), (version, 1)]);
    }

    async fn promises_of_a_running_replace_are_nothing_to_append_to(_place: &Place, store: Store) {
        let before = add_task(&store, "before", 1).await;
        let old = append(&store, &before, day(0)).await;
        let replace = begin_replace(&store, "r", 2).await;
        let promised = allocate(&store, &replace, REPLACE, day(0), 1).await;
        let insert = add_task(&store, "i", 3).await;
        assert_eq!(append(&store, &insert, day(0)).await.version, old.version);
        let own = vec![segment(day(0), &promised.version, 0, &[("__time", "LONG")])];
        publish(&store, &replace, Some(vec![day(0)]), own).await.unwrap();
        assert_eq!(used(&store).await, [(promised.version.clone(), 0), (promised.version, 1)]);
    }

    async fn appended_rows_of_a_chunk_that_the_replace_leaves_empty_stay(_place: &Place, store: Store) {
        let before = add_task(&store, "before", 1).await;
        let old = append(&store, &before, day(1)).await;
        let replace = begin_replace(&store, "r", 2).await;
        let during = add_task(&store, "during", 3).await;
        append(&store, &during, day(1)).await;
        let pending = add_task(&store, "pending", 4).await;
        allocate(&store, &pending, AllocationMode::Append, day(1), 1).await;
        let over = Interval { start_ms: 0, end_ms: 3 * DAY };
        publish_replace(&store, &replace, over, &[day(0)]).await.unwrap();
        let left = store.segment_payloads("wiki", &[day(1)]).await.unwrap();
        assert_eq!(left.len(), 1);
        assert!(!left[0].contains(&old.version), "{}", left[0]);
        append(&store, &pending, day(1)).await;
        assert_eq!(store.segment_payloads("wiki", &[day(1)]).await.unwrap().len(), 2);
    }

    async fn finer_chunks_move_into_the_coarser_ones_of_the_replace(_place: &Place, store: Store) {
        let month = Interval { start_ms: 0, end_ms: 31 * DAY };
        let replace = begin_replace(&store, "r", 1).await;
        let during = add_task(&store, "during", 2).await;
        append(&store, &during, day(3)).await;
        append(&store, &add_task(&store, "more", 3).await, day(4)).await;
        let version = publish_replace(&store, &replace, month, &[month]).await.unwrap();
        assert_eq!(used(&store).await, [0, 1, 2].map(|number| (version.clone(), number)));
        let payloads = store.segment_payloads("wiki", &[]).await.unwrap();
        assert!(payloads[1].contains(&format!(r#""interval":"{month}""#)), "{}", payloads[1]);
    }

    async fn coarser_chunks_than_those_of_the_replace_are_refused(_place: &Place, store: Store) {
        let month = Interval { start_ms: 0, end_ms: 31 * DAY };
        let replace = begin_replace(&store, "r", 1).await;
        let during = add_task(&store, "during", 2).await;
        append(&store, &during, month).await;
        for over in [month, day(3)] {
            let refused = publish_replace(&store, &replace, over, &[day(3)]).await;
            let Err(StoreError::Conflict(message)) = refused else { panic!("{refused:?}") };
            assert!(message.contains("same or a finer PARTITIONED BY"), "{message}");
        }
        assert_eq!(used(&store).await.len(), 1);
    }

    async fn a_replace_that_fails_changes_nothing(_place: &Place, store: Store) {
        let replace = begin_replace(&store, "r", 1).await;
        let during = add_task(&store, "during", 2).await;
        let given = append(&store, &during, day(0)).await;
        let end = TaskEnd {
            state: v1::TaskState::Failed,
            started_ms: 2,
            duration_ms: 3,
            error: "no".into(),
            workers: Vec::new(),
        };
        assert!(store.finish_task(&replace, Some(1), &end).await.unwrap());
        assert_eq!(used(&store).await, [(given.version, 0)]);
    }

    async fn a_replace_that_runs_again_still_carries_over_from_its_first_begin(_place: &Place, store: Store) {
        let replace = begin_replace(&store, "r", 1).await;
        let during = add_task(&store, "during", 2).await;
        append(&store, &during, day(0)).await;
        let spec = v1::TaskSpec {
            kind: v1::StatementKind::Replace.into(),
            lock_type: v1::TaskLockType::Replace.into(),
            ..Default::default()
        };
        // Another controller has it, with the same epoch for the sake of the helper.
        assert!(store.record_dispatch(&replace, 1, "c2", 3, &spec).await.unwrap());
        let version = publish_replace(&store, &replace, day(0), &[day(0)]).await.unwrap();
        assert_eq!(used(&store).await, [(version.clone(), 0), (version, 1)]);
    }
}
