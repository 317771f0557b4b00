//! Plain DataFusion in process: the measure that `make bench` holds Sarsen's TPC-H times against.
//!
//! `plain_datafusion THREADS RUNS QUERIES.sql TABLE=FOLDER…` registers each folder of Parquet files as a table, runs
//! every query of the file (they end with a semicolon) `RUNS` times and prints one JSON array with an object per query:
//! `wall` in seconds per run and `rows` of the last one. Only the case of names, the number of threads and that folders
//! are read with those below them differ from DataFusion's defaults.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
    let threads: usize = next("THREADS")?.parse()?;
    let runs: usize = next("RUNS")?.parse()?;
    let queries = std::fs::read_to_string(next("QUERIES.sql")?)?;
    let tables: Vec<String> = arguments.collect();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?
        .block_on(run(threads, runs, &queries, &tables))
}

async fn run(threads: usize, runs: usize, queries: &str, tables: &[String]) -> Outcome<()> {
    let config = SessionConfig::new()
        .with_target_partitions(threads)
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        .set_bool("datafusion.execution.listing_table_ignore_subdirectory", false);
    let context = SessionContext::new_with_config(config);
    for table in tables {
        let (name, folder) = table.split_once('=').ok_or("expected TABLE=FOLDER")?;
        context
            .register_parquet(name, folder, ParquetReadOptions::default())
            .await?;
    }
    let mut answers = Vec::new();
    for query in statements(queries) {
        let mut wall = Vec::new();
        let mut rows = Vec::new();
        for _ in 0..runs {
            let began = Instant::now();
            rows = context.sql(&query).await?.collect().await?;
            wall.push(began.elapsed().as_secs_f64());
        }
        answers.push(json!({ "wall": wall, "rows": values(&rows)? }));
    }
    println!("{}", Value::Array(answers));
    Ok(())
}

/// The statements of a file, without its comment lines, in which a semicolon ends nothing.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    let statements = lines.join("\n");
    let statements = statements.split(';').map(str::trim);
    statements
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Rows as arrays of JSON values in the order of the columns.
fn values(batches: &[RecordBatch]) -> Outcome<Vec<Value>> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    let text = writer.into_inner();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Ok(Vec::new());
    };
    let objects: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&text)?;
    let row = |mut object: serde_json::Map<String, Value>| {
        let columns = schema.fields().iter();
        Value::Array(
            columns
                .map(|field| object.remove(field.name()).unwrap_or_default())
                .collect(),
        )
    };
    Ok(objects.into_iter().map(row).collect())
}
