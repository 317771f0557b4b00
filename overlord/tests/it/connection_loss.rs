//! A database that ends connections in the middle of what they do.

use std::time::Duration;

use sarsen_overlord::metadata::AllocationMode;

use crate::place::Place;
use crate::store::{add_task, allocate, day, leading, publish, segment};

/// Ends all of this database's other connections.
const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_cost_time_and_no_transaction_is_half_done() {
    const TASKS: u64 = 40;
    const SEGMENTS: u32 = 20;
    let place = Place::postgres("connection_loss").await;
    let store = leading(&place).await;
    let killer = async {
        loop {
            place.execute(KILL).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let work = async {
        for number in 0..TASKS {
            let task = add_task(&store, &format!("q{number}"), number + 1).await;
            let given = allocate(&store, &task, AllocationMode::Append, day(0), SEGMENTS).await;
            let last = given.first_partition + SEGMENTS;
            let segments = (given.first_partition..last)
                .map(|partition| segment(day(0), &given.version, partition, &[("__time", "LONG")]));
            publish(&store, &task, None, segments.collect()).await.unwrap();
            let seen = store.segment_payloads("wiki", &[]).await.unwrap().len() as u64;
            assert_eq!(seen, (number + 1) * u64::from(SEGMENTS));
        }
    };
    tokio::select! {
        () = killer => {}
        () = work => {}
    }
    let catalog = store.catalog(&[]).await.unwrap();
    assert_eq!(catalog.version, TASKS, "each has published once");
    assert_eq!(catalog.tables[0].segments, TASKS * u64::from(SEGMENTS));
    assert_eq!(store.open_tasks().await.unwrap().len() as u64, TASKS);
}
