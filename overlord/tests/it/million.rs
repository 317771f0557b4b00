//! A store with a million segments. Filling takes a while, so these run when they are asked for:
//! `cargo test -p sarsen-overlord --test it million -- --ignored --nocapture`; `SARSEN_SEGMENTS` says how many.

use std::time::Instant;

use sarsen_overlord::metadata::AllocationMode;
use sarsen_overlord::time::Interval;

use crate::place::Place;
use crate::store::{DAY, add_task, day, leading, publish, segment};

/// Segments of one day.
const DENSITY: u32 = 100;

async fn test(place: &Place) {
    let segments: i64 = std::env::var("SARSEN_SEGMENTS").map_or(1_000_000, |count| count.parse().unwrap());
    let days = segments / i64::from(DENSITY);
    let store = leading(place).await;
    let columns = [("__time", "LONG"), ("k", "STRING"), ("n", "LONG")];
    let (mut seq, began) = (0, Instant::now());
    let step = 100;
    for first in (0..days).step_by(step) {
        seq += 1;
        let task = add_task(&store, &format!("fill{seq}"), seq).await;
        let last = days.min(first + i64::try_from(step).unwrap());
        let version = "2024-01-01T00:00:00.000Z";
        let filled = (first..last).flat_map(|number| {
            (0..DENSITY).map(move |partition| segment(day(number), version, partition, &columns))
        });
        publish(&store, &task, None, filled.collect()).await.unwrap();
    }
    eprintln!(
        "{segments} segments filled in {:.1} s",
        began.elapsed().as_secs_f64()
    );

    // An INSERT of 10,000 segments into 100 days in the middle.
    let task = add_task(&store, "insert", seq + 1).await;
    let middle = days / 2;
    let chunks: Vec<(Interval, u32)> = (middle..middle + 100).map(|number| (day(number), 100)).collect();
    let began = Instant::now();
    let given = store
        .allocate(&task, "wiki", AllocationMode::Append, &chunks)
        .await
        .unwrap();
    let allocated = began.elapsed();
    let mut records = Vec::new();
    for ((chunk, count), given) in chunks.iter().zip(&given) {
        assert_eq!(given.first_partition, DENSITY);
        let numbers = given.first_partition..given.first_partition + count;
        records.extend(numbers.map(|number| segment(*chunk, &given.version, number, &columns)));
    }
    let began = Instant::now();
    publish(&store, &task, None, records).await.unwrap();
    let published = began.elapsed();
    eprintln!(
        "10,000 segments: allocated in {:.3} s, published in {:.3} s",
        allocated.as_secs_f64(),
        published.as_secs_f64()
    );

    // A REPLACE of as many.
    let task = add_task(&store, "replace", seq + 2).await;
    let mode = AllocationMode::Replace { locked_ms: 0 };
    let given = store.allocate(&task, "wiki", mode, &chunks).await.unwrap();
    let mut records = Vec::new();
    for ((chunk, count), given) in chunks.iter().zip(&given) {
        records.extend((0..*count).map(|number| segment(*chunk, &given.version, number, &columns)));
    }
    let over = Interval {
        start_ms: middle * DAY,
        end_ms: (middle + 100) * DAY,
    };
    let began = Instant::now();
    publish(&store, &task, Some(vec![over]), records).await.unwrap();
    eprintln!(
        "10,000 segments replaced 20,000 in {:.3} s",
        began.elapsed().as_secs_f64()
    );

    // A query over 100,000 of them.
    let over = Interval {
        start_ms: 0,
        end_ms: (100_000 / i64::from(DENSITY)).min(days) * DAY,
    };
    let began = Instant::now();
    let found = store.segment_payloads("wiki", &[over]).await.unwrap().len();
    eprintln!(
        "{found} segments listed in {:.3} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let found = store
        .segment_payloads("wiki", &[day(middle)])
        .await
        .unwrap()
        .len();
    eprintln!(
        "{found} segments of one day listed in {:.4} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    store.catalog(&[]).await.unwrap();
    eprintln!("the catalogue read in {:.3} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    store.catalog(&[]).await.unwrap();
    eprintln!("and again in {:.6} s", began.elapsed().as_secs_f64());
}

#[tokio::test]
#[ignore = "fills a large store"]
async fn a_million_segments_in_sqlite() {
    test(&Place::sqlite()).await;
}

#[tokio::test]
#[ignore = "fills a large store"]
async fn a_million_segments_in_postgres() {
    test(&Place::postgres("million").await).await;
}
