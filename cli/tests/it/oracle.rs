//! Right answers: what a controller and three workers answer, with little memory and at least seven partitions, is what
//! DuckDB and plain DataFusion answer on the same tables.

mod compare;
mod data;
mod datafusion;
#[path = "../../../planner/tests/it/queries.rs"]
mod planner_queries;
mod queries;
mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use self::data::{batch, events, local, users, write_json, write_parquet};
use self::datafusion::Plain;
use self::queries::Question;
use crate::cluster::{Api, Standalone};

const WORKERS: u64 = 3;
const PARTITIONS: u64 = 7;

/// So little that the outputs of a worker task do not fit where rows are long.
const TASK_MEMORY_BYTES: u64 = 2 << 20;

/// Twelve segments of all events, or more.
const ROWS_PER_SEGMENT: usize = data::EVENTS / 12;

/// Queries whose shuffles, groups or sorts do not fit into that.
const SPILLING: [&str; 7] = [
    "expression",
    SPILLING_INGESTION,
    "many-distinct",
    "many-groups",
    "window-over-groups",
    "long-rows-joined",
    "long-rows-together",
];

/// An ingestion that does not fit either, with half of that memory.
const SPILLING_INGESTION: &str = "insert-day";

/// A window holds rows while the sorts below it hold theirs.
const WINDOW: &str = "window-over-groups";

#[derive(Debug, Deserialize)]
struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

type Answers = BTreeMap<String, Answer>;

/// The repository's Python with the packages of the tests.
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make setup`",
        python.display()
    );
    python
}

fn duckdb(tables: &[(&str, &Path)], questions: &[Question]) -> Answers {
    let tables: BTreeMap<_, _> = tables.iter().copied().collect();
    let queries: BTreeMap<_, _> = questions
        .iter()
        .map(|asked| (&asked.name, &asked.duckdb))
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/oracle/answers.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "tables": tables, "queries": queries });
    child
        .stdin
        .take()
        .unwrap()
        .write_all(asked.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The context of a query: its id, its width, its memory.
fn context(question: &Question) -> Value {
    let mut context = json!({
        "sqlQueryId": question.name, "maxNumTasks": WORKERS + 1, "shufflePartitions": PARTITIONS,
        "taskMemoryBytes": TASK_MEMORY_BYTES, "rowsPerSegment": ROWS_PER_SEGMENT,
    });
    for (key, value) in &question.context {
        context[key] = json!(value);
    }
    if question.builds {
        context["taskMemoryBytes"] = json!(3 * TASK_MEMORY_BYTES);
    }
    if question.name == WINDOW {
        context["taskMemoryBytes"] = json!(5 * TASK_MEMORY_BYTES);
    }
    if question.name == SPILLING_INGESTION {
        context["taskMemoryBytes"] = json!(TASK_MEMORY_BYTES / 2);
    }
    context
}

/// Writes the tables through INSERT and REPLACE.
fn ingest(api: &Api, folder: &Path, users: &Path) {
    let context = json!({ "maxNumTasks": WORKERS + 1, "rowsPerSegment": ROWS_PER_SEGMENT });
    let rows = datafusion::rows(&batch(&events()));
    let files = write_json(folder, "events", &["t", "country", "city", "n", "x"], &rows);
    let extern_events = local(&files, "json");
    api.run(
        &format!(
            "REPLACE INTO events OVERWRITE ALL SELECT TIME_PARSE(t) AS __time, country, city, n, x FROM {extern_events} \
             EXTEND (t VARCHAR, country VARCHAR, city VARCHAR, n BIGINT, x DOUBLE) PARTITIONED BY MONTH CLUSTERED BY country"
        ),
        &context,
    );
    let extern_users = local(&[users.to_owned()], "parquet");
    api.run(
        &format!(
            "INSERT INTO users SELECT MILLIS_TO_TIMESTAMP(\"__time\") AS __time, id, country, name FROM {extern_users} \
             EXTEND (\"__time\" BIGINT, id BIGINT, country VARCHAR, name VARCHAR) PARTITIONED BY MONTH"
        ),
        &context,
    );
}

/// Runs a query, or an ingestion and a query of what it wrote.
fn ask(api: &Api, question: &Question, columns: &[String]) -> Result<Vec<Vec<Value>>, String> {
    let rows = |sql: &str, context: Value| -> Result<Vec<Vec<Value>>, String> {
        let body = json!({ "query": sql, "context": context, "resultFormat": "array" });
        let (status, rows) = api.send("POST", "/druid/v2/sql", Some(&body));
        match status {
            200 => Ok(serde_json::from_value(rows).unwrap()),
            _ => Err(rows["errorMessage"].to_string()),
        }
    };
    if question.layout().is_none() {
        return rows(&question.sql, context(question));
    }
    let task_id = api.submit(&question.sql, &context(question));
    let status = api.wait(&task_id);
    if status["status"] != "SUCCESS" {
        return Err(status["errorMsg"].to_string());
    }
    let columns: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    rows(
        &format!("SELECT {} FROM \"{}\"", columns.join(", "), question.table()),
        json!({}),
    )
}

/// What the reports say about how the queries ran.
#[derive(Debug, Default)]
struct Ways {
    shuffles: BTreeSet<String>,
    spilled: BTreeMap<String, u64>,
    /// Stages that all workers worked on.
    full_width: usize,
}

impl Ways {
    /// Notes a report; fails when a stage that could have been cut in seven was not.
    fn add(&mut self, name: &str, report: &Value) -> Result<(), String> {
        for stage in report["stages"].as_array().unwrap() {
            let number = stage["stageNumber"].to_string();
            let counters = report["counters"][&number].as_object().into_iter().flatten();
            let spilled: u64 = counters
                .clone()
                .filter_map(|(_, of)| of["spill"]["bytes"].as_u64())
                .sum();
            *self.spilled.entry(name.to_owned()).or_default() += spilled;
            self.full_width += usize::from(stage["workerCount"] == WORKERS);
            let Some(shuffle) = stage["shuffle"].as_str() else {
                continue;
            };
            self.shuffles.insert(shuffle.to_owned());
            let rows: u64 = counters
                .flat_map(|(_, of)| of["output"]["rows"].as_array().into_iter().flatten())
                .filter_map(Value::as_u64)
                .sum();
            let spec = &stage["definition"]["shuffleSpec"];
            let least = match shuffle {
                "hash" | "hashLocalSort" => PARTITIONS,
                // A result with that many rows has more than that many keys.
                "globalSort" if spec["partitions"] != 1 && rows > 1_000 => PARTITIONS,
                "bucket" => rows / ROWS_PER_SEGMENT as u64,
                _ => 1,
            };
            if stage["partitionCount"].as_u64() < Some(least) {
                return Err(format!(
                    "stage {number} ({shuffle}, {rows} rows) has {} partitions",
                    stage["partitionCount"]
                ));
            }
        }
        Ok(())
    }
}

#[test]
fn three_workers_answer_what_duckdb_and_datafusion_answer() {
    let folder = tempfile::tempdir().unwrap();
    let tables = [("events", events()), ("users", users())];
    let files = tables
        .each_ref()
        .map(|(name, table)| write_parquet(folder.path(), name, table));
    let plain = Plain::new(&tables.each_ref().map(|(name, table)| (*name, table)));
    let mut questions = queries::all();
    let extended = write_json(
        folder.path(),
        "extended",
        &["t", "a", "k"],
        &plain.answer("SELECT __time, n, CASE WHEN n < 0 OR n >= 1000000 THEN n END FROM events"),
    );
    for question in &mut questions {
        let files = serde_json::to_string(&extended).unwrap();
        question.sql = question.sql.replace("[\"/f.json\"]", &files);
    }
    let expected = duckdb(&[("events", &files[0]), ("users", &files[1])], &questions);

    let mut server = Standalone::with(&["--workers", &WORKERS.to_string()]);
    let api = server.api.clone();
    let mut failures = Vec::new();
    let mut ways = Ways::default();
    ingest(&api, folder.path(), &files[1]);
    for question in &questions {
        let by_duckdb = &expected[&question.name];
        let by_datafusion = plain.answer(&question.datafusion);
        let outcome = (|| {
            let rows = ask(&api, question, &by_duckdb.columns)?;
            compare::check(&rows, &by_duckdb.rows, question.check)
                .map_err(|error| format!("DuckDB: {error}"))?;
            compare::check(&rows, &by_datafusion, question.check)
                .map_err(|error| format!("DataFusion: {error}"))?;
            if let Some(layout) = question.layout() {
                segments::check(
                    &server.path().join("data/deep-storage").join(question.table()),
                    &layout,
                    rows.len(),
                )?;
            }
            ways.add(&question.name, &api.report(&format!("query-{}", question.name)))
        })();
        if let Err(error) = outcome {
            failures.push(format!("{}: {}\n  {error}", question.name, question.sql));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} differ:\n{}",
        failures.len(),
        questions.len(),
        failures.join("\n")
    );
    let shuffles: Vec<&str> = ways.shuffles.iter().map(String::as_str).collect();
    assert_eq!(shuffles, ["broadcast", "bucket", "globalSort", "hash", "mix"]);
    assert!(
        ways.full_width > questions.len(),
        "{} stages ran on all workers",
        ways.full_width
    );
    for name in SPILLING {
        assert!(ways.spilled[name] > 0, "{name} did not spill: {:?}", ways.spilled);
    }
    let spilled = ways.spilled.values().filter(|bytes| **bytes > 0).count();
    eprintln!("{} queries, {spilled} of them spilled", questions.len());
    assert_eq!(server.process.terminate(), Some(0));
    let sent: Vec<u64> = server.process.numbers_logged("flight_bytes_sent=");
    assert_eq!(sent.len() as u64, WORKERS);
    assert!(
        sent.iter().all(|bytes| *bytes > 100_000),
        "rows did not cross workers: {sent:?}"
    );
}
