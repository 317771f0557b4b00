//! What clients list and mark: segments, intervals, datasources, configurations, many tasks.

use std::time::Instant;

use sarsen_overlord::ids::TaskId;
use sarsen_overlord::metadata::{AllocationMode, EndedFilter, MarkScope, Store, StoreError, TaskEnd};
use sarsen_proto::v1;

use crate::place::Place;
use crate::store::{add_task, allocate, append, day, leading, on_every_store, publish, segment};

async fn ids(store: &Store, unused: bool) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let request = v1::PageSegmentsRequest {
            datasource: "wiki".to_owned(),
            unused,
            after,
            limit: 3,
        };
        let page = store.page_segments(&request).await.unwrap();
        let Some(last) = page.last() else { return found };
        after = Some(last.clone());
        found.extend(page.into_iter().map(|segment| segment.id));
    }
}

async fn replace(store: &Store, name: &str, seq: u64, of: i64) -> TaskId {
    let task = add_task(store, name, seq).await;
    let mode = AllocationMode::Replace {
        locked_ms: i64::try_from(seq).unwrap() * 1000,
    };
    let given = allocate(store, &task, mode, day(of), 1).await;
    let one = segment(day(of), &given.version, 0, &[("__time", "LONG")]);
    publish(store, &task, Some(vec![day(of)]), vec![one])
        .await
        .unwrap();
    task
}

async fn rows(store: &Store) -> u64 {
    let catalog = store.catalog(&[]).await.unwrap();
    catalog.tables.iter().map(|table| table.rows).sum()
}

on_every_store! {
    async fn pages_come_in_the_order_of_chunks_and_partitions(place: &Place, store: Store) {
        let _ = place;
        let task = add_task(&store, "fill", 1).await;
        let version = "2024-01-01T00:00:00.000Z";
        let all: Vec<_> = (0..2)
            .flat_map(|number| (0..12).map(move |partition| (number, partition)))
            .map(|(number, partition)| segment(day(number), version, partition, &[("__time", "LONG")]))
            .collect();
        let expected: Vec<String> = all.iter().map(|segment| segment.id.clone()).collect();
        publish(&store, &task, None, all).await.unwrap();
        assert_eq!(ids(&store, false).await, expected);
        assert_eq!(ids(&store, true).await, Vec::<String>::new());
        let mut request = v1::PageIntervalsRequest { datasource: "wiki".to_owned(), after: None, limit: 1 };
        let mut sums = Vec::new();
        loop {
            let page = store.page_intervals(&request).await.unwrap();
            let Some(last) = page.last() else { break };
            request.after = last.interval;
            sums.extend(page);
        }
        let found: Vec<_> = sums.iter().map(|sums| (sums.interval, sums.segments, sums.rows, sums.bytes)).collect();
        assert_eq!(found, [(Some(day(1).into()), 12, 120, 1200), (Some(day(0).into()), 12, 120, 1200)]);
        let all = store.datasources(&v1::DatasourcesRequest::default()).await.unwrap();
        let hull = v1::Interval { start_ms: 0, end_ms: day(1).end_ms };
        assert_eq!((all.len(), all[0].segments, all[0].interval), (1, 24, Some(hull)));
        let (found, used) = store.find_segment("wiki", &expected[13]).await.unwrap().unwrap();
        assert!(used && found.id == expected[13]);
        assert!(store.find_segment("other", &expected[13]).await.unwrap().is_none());
    }

    async fn marked_segments_are_gone_and_back_for_the_next_plan(place: &Place, store: Store) {
        let _ = place;
        for (seq, number) in [(1, 0), (2, 1), (3, 2)] {
            append(&store, &add_task(&store, &format!("t{seq}"), seq).await, day(number)).await;
        }
        assert_eq!(rows(&store).await, 30);
        let within = |interval, versions| MarkScope::Within { interval, versions };
        // Only what lies wholly inside, and of the versions that are named.
        let mut odd = day(1);
        odd.end_ms += 1;
        assert_eq!(store.mark_unused("wiki", &within(odd, Some(vec!["other".to_owned()]))).await.unwrap(), 0);
        assert_eq!(store.mark_unused("wiki", &within(odd, None)).await.unwrap(), 1);
        assert_eq!((rows(&store).await, ids(&store, true).await.len()), (20, 1));
        assert_eq!(store.mark_unused("wiki", &MarkScope::All).await.unwrap(), 2);
        assert_eq!(rows(&store).await, 0);
        assert_eq!(store.mark_unused("wiki", &MarkScope::All).await.unwrap(), 0);
        let unused = ids(&store, true).await;
        assert_eq!(store.mark_used("wiki", &MarkScope::Ids(unused[..2].to_vec())).await.unwrap(), 2);
        assert_eq!(store.mark_used("wiki", &MarkScope::All).await.unwrap(), 1);
        assert_eq!(rows(&store).await, 30);
        let unknown = MarkScope::Ids(vec!["wiki_nope".to_owned()]);
        assert!(matches!(store.mark_used("wiki", &unknown).await, Err(StoreError::Conflict(_))));
        assert_eq!(store.mark_unused("wiki", &unknown).await.unwrap(), 0);
        assert_eq!(store.mark_unused("other", &MarkScope::All).await.unwrap(), 0);
    }

    async fn what_a_replace_has_hidden_stays_hidden(place: &Place, store: Store) {
        let _ = place;
        replace(&store, "first", 1, 0).await;
        replace(&store, "second", 2, 0).await;
        let (used, hidden) = (ids(&store, false).await, ids(&store, true).await);
        assert_eq!((used.len(), hidden.len()), (1, 1));
        assert_eq!(store.mark_used("wiki", &MarkScope::All).await.unwrap(), 0);
        // Without the newer one the older one is back; with it, it is hidden again.
        store.mark_unused("wiki", &MarkScope::Ids(used.clone())).await.unwrap();
        assert_eq!(store.mark_used("wiki", &MarkScope::Ids(hidden.clone())).await.unwrap(), 1);
        assert_eq!(ids(&store, false).await, hidden);
        assert_eq!(store.mark_used("wiki", &MarkScope::Ids(used.clone())).await.unwrap(), 1);
        assert_eq!((ids(&store, false).await, rows(&store).await), (used, 10));
    }

    async fn whoever_was_superseded_marks_and_stores_nothing(place: &Place, store: Store) {
        append(&store, &add_task(&store, "t", 1).await, day(0)).await;
        let _other = leading(place).await;
        let marked = store.mark_unused("wiki", &MarkScope::All).await;
        assert!(matches!(marked, Err(StoreError::Fenced { .. })));
        let put = store.put_configs(&v1::PutConfigsRequest::default()).await;
        assert!(matches!(put, Err(StoreError::Fenced { .. })));
    }

    async fn configurations_have_a_history(place: &Place, store: Store) {
        let _ = place;
        let put = async |key: &str, payload: Option<&str>| {
            let request = v1::PutConfigsRequest {
                kind: "rules".to_owned(),
                changes: vec![v1::ConfigChange { key: key.to_owned(), payload_json: payload.map(str::to_owned) }],
                author: "ann".to_owned(),
                ..Default::default()
            };
            store.put_configs(&request).await.unwrap();
        };
        put("wiki", Some("[1]")).await;
        put("wiki", Some("[2]")).await;
        put("other", Some("[]")).await;
        put("other", None).await;
        let configs = store.configs("rules").await.unwrap();
        assert_eq!((configs.len(), configs[0].payload_json.as_str()), (1, "[2]"));
        assert!(store.configs("worker").await.unwrap().is_empty());
        let history = async |key: Option<&str>, count: u32| {
            let request = v1::ConfigHistoryRequest {
                kind: "rules".to_owned(),
                key: key.map(str::to_owned),
                interval: None,
                count,
            };
            let entries = store.config_history(&request).await.unwrap();
            entries.into_iter().map(|entry| entry.payload_json).collect::<Vec<_>>()
        };
        assert_eq!(history(None, 0).await, ["null", "[]", "[2]", "[1]"]);
        assert_eq!(history(Some("wiki"), 1).await, ["[2]"]);
    }

    async fn ended_tasks_are_listed_page_by_page_with_their_worker_tasks(place: &Place, store: Store) {
        let _ = place;
        for seq in 1..=5 {
            let task = add_task(&store, &format!("t{seq}"), seq).await;
            let state = if seq % 2 == 0 { v1::TaskState::Failed } else { v1::TaskState::Success };
            let worker = v1::WorkerTask { worker: 0, location: "w".to_owned(), ..Default::default() };
            let end = TaskEnd { state, started_ms: 2, duration_ms: 1, error: String::new(), workers: vec![worker] };
            assert!(store.finish_task(&task, None, &end).await.unwrap());
        }
        let list = async |before: u64, max: u32, states: Vec<v1::TaskState>| {
            let filter = EndedFilter { states, before, max, ..Default::default() };
            let rows = store.ended_tasks(&filter).await.unwrap();
            assert!(rows.iter().all(|row| row.task.workers.len() == 1));
            rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        assert_eq!(list(0, 2, vec![]).await, [5, 4]);
        assert_eq!(list(4, 2, vec![]).await, [3, 2]);
        assert_eq!(list(2, 2, vec![]).await, [1]);
        assert_eq!(list(0, 0, vec![v1::TaskState::Failed]).await, [4, 2]);
    }
}

/// The store's part of `/tasks?max=100` among 100,000 finished tasks: well below 200 ms even in a debug build.
#[tokio::test]
async fn the_newest_of_a_hundred_thousand_tasks_are_found_at_once() {
    let place = Place::sqlite();
    let store = leading(&place).await;
    place
        .execute(
            "INSERT INTO tasks WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < 100000) \
             SELECT seq, 'query-' || seq, 'wiki' || (seq % 10), 3 + seq % 2, 1, 'c', seq, seq, 5, '', zeroblob(4000) FROM n; \
             INSERT INTO worker_tasks SELECT task_id, x'0a00' FROM tasks",
        )
        .await;
    for filter in [
        EndedFilter {
            max: 100,
            ..Default::default()
        },
        EndedFilter {
            max: 100,
            before: 50_000,
            ..Default::default()
        },
        EndedFilter {
            max: 100,
            datasource: Some("wiki7".to_owned()),
            ..Default::default()
        },
    ] {
        let began = Instant::now();
        let found = store.ended_tasks(&filter).await.unwrap();
        let took = began.elapsed();
        eprintln!("100 of 100,000 tasks in {:.1} ms", took.as_secs_f64() * 1000.0);
        assert_eq!(found.len(), 100);
        assert!(took.as_millis() < 200, "{took:?}");
    }
}
