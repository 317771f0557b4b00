//! Planning from text to encoded fragments. Joining twenty tables must stay below 50 ms.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use sarsen_planner::{PlanRequest, TableSchema, plan};
use serde_json::Map;

fn request(sql: String, tables: usize) -> PlanRequest {
    let table = |number: usize| TableSchema {
        name: format!("t{number}"),
        columns: [
            ("__time", "LONG"),
            ("id", "LONG"),
            ("next", "LONG"),
            ("name", "STRING"),
            ("x", "DOUBLE"),
        ]
        .map(|(name, native)| (name.to_owned(), native.to_owned()))
        .to_vec(),
        rows: 1_000_000,
        bytes: 100_000_000,
    };
    PlanRequest {
        query_id: "q".to_owned(),
        sql,
        context: Map::from_iter([("maxNumTasks".to_owned(), 4.into())]),
        parameters: Vec::new(),
        lookups: Default::default(),
        statement_time_ms: 1_700_000_000_000,
        tables: (0..tables).map(table).collect(),
        extern_allow: Vec::new(),
        inferred: Vec::new(),
        synchronous: false,
    }
}

fn chain_of_joins(tables: usize) -> String {
    let joins: String = (1..tables)
        .map(|number| format!(" JOIN t{number} ON t{}.next = t{number}.id", number - 1))
        .collect();
    format!(
        "SELECT t0.name, SUM(t{0}.x) AS total FROM t0{joins} WHERE t{0}.x > 1 GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
        tables - 1
    )
}

fn planning(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut group = criterion.benchmark_group("planning");
    group.sample_size(20);
    for (name, sql, tables) in [
        ("select_one", "SELECT 1 AS x".to_owned(), 0),
        ("join_of_20_tables", chain_of_joins(20), 20),
    ] {
        let request = request(sql, tables);
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(plan(&request)).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, planning);
criterion_main!(benches);
