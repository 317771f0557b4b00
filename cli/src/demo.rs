//! `sarsen demo`: files become tables, tables are queried, and where everything lies is shown.

mod data;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::client::{Access, Client, Submitted};
use crate::table::Format;
use crate::{Outcome, logging, progress, sql, standalone};

/// Flags of `sarsen demo`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// A file of yours (newline-delimited JSON, csv, tsv or parquet, compressed or not) instead of TPC-H data.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Column of that file that holds the time [default: the first whose name says so].
    #[arg(long, requires = "input")]
    time_column: Option<String>,
    /// Size of the TPC-H data: 1 is 6 million line items.
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// Folder for data and segments; it is kept.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data/demo")]
    data_dir: PathBuf,
    /// Where the HTTP API listens meanwhile; port 0 takes any free one.
    #[arg(long, env = "SARSEN_HTTP_ADDR", default_value = "127.0.0.1:0")]
    http_addr: String,
}

/// Runs it.
///
/// # Errors
/// When a step fails, with its reason.
pub fn run(options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let filter = std::env::var("SARSEN_LOG").ok();
    let _logs = filter
        .map(|filter| sarsen_observe::start(&sarsen_observe::Options::logs(filter), "sarsen-demo"))
        .transpose()?;
    let shutdown = CancellationToken::new();
    let server = standalone::Options {
        data_dir: options.data_dir.clone(),
        http_addr: options.http_addr.clone(),
        workers: 1,
        slots: 4,
        extern_allow: Vec::new(),
        memory_limit: None,
        deep_storage: None,
        spill_dir: None,
        metadata: None,
        metadata_connections: sarsen_overlord::METADATA_CONNECTIONS,
        quotas: sarsen_overlord::Quotas::default(),
        retention: Default::default(),
        http: Default::default(),
        security: Default::default(),
        export_allow: Vec::new(),
        objects: Default::default(),
    };
    let started = runtime.block_on(standalone::start(server, shutdown.clone()))?;
    let url = started.url.clone();
    let shown = show(options, &url);
    shutdown.cancel();
    let ended = runtime.block_on(started.wait());
    shown.and(ended)
}

fn show(options: &Options, url: &str) -> Outcome {
    let client = Client::new(url, &Access::default())?;
    client.wait_for_health(Duration::from_secs(10))?;
    logging::say(&format!("Sarsen standalone is up at {url}"));
    match &options.input {
        Some(input) => own_file(options, &client, input),
        None => tpch(options, &client),
    }
}

/// Two tables of TPC-H, and a join of them.
fn tpch(options: &Options, client: &Client) -> Outcome {
    let folder = std::path::absolute(options.data_dir.join("input"))?;
    std::fs::create_dir_all(&folder)?;
    let began = Instant::now();
    let lineitem = data::lineitem_json_gz(&folder, options.scale)?;
    let orders = data::orders_csv(&folder, options.scale)?;
    logging::say(&format!(
        "made {} line items ({}) and {} orders ({}) in {:.1} s",
        lineitem.rows,
        lineitem.path.display(),
        orders.rows,
        orders.path.display(),
        began.elapsed().as_secs_f64()
    ));
    let context = json!({ "maxNumTasks": 3 });
    ingest(
        client,
        "lineitem",
        &data::lineitem_statement(&lineitem.path),
        &context,
        &options.data_dir,
    )?;
    ingest(
        client,
        "orders",
        &data::orders_statement(&orders.path),
        &context,
        &options.data_dir,
    )?;
    logging::say(&format!("\n{}\n", data::JOIN));
    sql::execute(client, data::JOIN, &context, Format::Table)
}

/// Columns whose names say that they hold a time.
const TIME_NAMES: [&str; 8] = [
    "__time",
    "time",
    "timestamp",
    "ts",
    "date",
    "datetime",
    "created_at",
    "event_time",
];

/// Days of a file of the user's, and the largest of them.
fn own_file(options: &Options, client: &Client, input: &Path) -> Outcome {
    let path = std::path::absolute(input)?;
    let columns = data::columns_of(&path)?;
    let named = |wanted: &str| {
        columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(wanted))
    };
    let time = match &options.time_column {
        Some(name) => Some(named(name).ok_or_else(|| format!("{} has no column `{name}`", path.display()))?),
        None => TIME_NAMES.iter().find_map(|name| named(name)),
    };
    let statement = data::own_statement(&path, &columns, time);
    let context = json!({ "maxNumTasks": 3, "maxParseExceptions": 1000 });
    ingest(client, "demo_input", &statement, &context, &options.data_dir)?;
    let query = "SELECT TIME_FLOOR(__time, 'P1D') AS \"day\", COUNT(*) AS \"rows\" FROM demo_input GROUP BY 1 ORDER BY 2 DESC LIMIT 10";
    logging::say(&format!("\n{query}\n"));
    sql::execute(client, query, &context, Format::Table)
}

/// Runs one ingestion over the HTTP API, and tells what came of it.
fn ingest(client: &Client, table: &str, statement: &str, context: &Value, data_dir: &Path) -> Outcome {
    logging::say(&format!("\n{statement}\n"));
    let Submitted::Task(task_id) = client.submit(statement, context)? else {
        return Err("an ingestion was answered with rows".into());
    };
    let status = progress::follow(client, &task_id)?;
    if status.get("status").and_then(Value::as_str) != Some("SUCCESS") {
        let message = status
            .get("errorMsg")
            .and_then(Value::as_str)
            .unwrap_or("the task failed");
        return Err(format!("{task_id}: {message}").into());
    }
    let report = client.report(&task_id)?;
    summarise(&task_id, &report);
    let segments = data_dir.join("deep-storage").join(table);
    let (files, bytes) = data::count_files(&segments);
    logging::say(&format!(
        "  {files} segments, {:.1} MB: {}",
        bytes as f64 / 1e6,
        segments.display()
    ));
    Ok(())
}

fn summarise(task_id: &str, report: &Value) {
    let number = |place: &str| report.pointer(place).and_then(Value::as_i64).unwrap_or(0);
    logging::say(&format!(
        "{task_id}: SUCCESS in {} ms",
        number("/status/durationMs")
    ));
    for stage in report
        .get("stages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let stage_number = stage.get("stageNumber").and_then(Value::as_u64).unwrap_or(0);
        let text = |place: &str| stage.pointer(place).and_then(Value::as_str).unwrap_or("-");
        let count = |place: &str| stage.pointer(place).and_then(Value::as_i64).unwrap_or(0);
        logging::say(&format!(
            "  stage {stage_number} {:<20} {:<10} {} workers, {:>4} partitions, {:>9} rows read, {:>6} ms",
            text("/definition/processor/type"),
            text("/shuffle"),
            count("/workerCount"),
            count("/partitionCount"),
            progress::rows_read(report, stage_number),
            count("/duration"),
        ));
    }
}
