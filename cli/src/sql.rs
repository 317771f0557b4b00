//! `sarsen sql`: a statement as a task, followed to its end.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};

use crate::client::{Access, Client, Submitted};
use crate::table::{Format, lines};
use crate::{Outcome, logging, progress};

/// Flags of `sarsen sql`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The statement.
    #[arg(short, long, conflicts_with = "file", required_unless_present = "file")]
    execute: Option<String>,
    /// A file with the statement.
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// A context parameter, such as maxNumTasks=3; may be given several times.
    #[arg(short, long = "context", value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// Where the gateway is.
    #[arg(long, env = "SARSEN_URL", default_value = "http://127.0.0.1:8888")]
    url: String,
    #[command(flatten)]
    access: Access,
}

/// Runs the statement.
///
/// # Errors
/// The refusal, or the fault that ended the task.
pub fn run(options: &Options) -> Outcome {
    let statement = match (&options.execute, &options.file) {
        (Some(statement), _) => statement.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        (None, None) => return Err("give a statement with -e or a file with -f".into()),
    };
    let client = Client::new(&options.url, &options.access)?;
    execute(&client, &statement, &context(&options.context)?, options.format)
}

/// Submits, follows, and prints the rows.
///
/// # Errors
/// As [`run`].
pub fn execute(client: &Client, statement: &str, context: &Value, format: Format) -> Outcome {
    let task_id = match client.submit(statement, context)? {
        Submitted::Task(task_id) => task_id,
        Submitted::Rows(rows) => {
            logging::say(&serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
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
    for line in inferred(&report) {
        logging::complain(&line);
    }
    print_results(&report, format);
    Ok(())
}

/// Columns that were inferred, as the clause that would have given them.
fn inferred(report: &Value) -> Vec<String> {
    let sources = report.get("inferredSignatures").and_then(Value::as_array);
    let text = |value: &Value, path: &str| {
        value
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let line = |source: &Value| {
        let columns = source
            .get("signature")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let columns = columns.map(|column| {
            let name = text(column, "/name").replace('"', "\"\"");
            format!("\"{name}\" {}", sql_type(&text(column, "/type")))
        });
        let columns: Vec<String> = columns.collect();
        format!(
            "inferred from {} files of {}: EXTEND ({})",
            text(source, "/inputSource/type"),
            text(source, "/inputFormat/type"),
            columns.join(", ")
        )
    };
    sources.into_iter().flatten().map(line).collect()
}

/// A native type as EXTEND takes it.
fn sql_type(native: &str) -> String {
    match native {
        "STRING" => "VARCHAR".to_owned(),
        "LONG" => "BIGINT".to_owned(),
        "COMPLEX<json>" => "TYPE('COMPLEX<json>')".to_owned(),
        native => match native
            .strip_prefix("ARRAY<")
            .and_then(|rest| rest.strip_suffix('>'))
        {
            Some(element) => format!("{} ARRAY", sql_type(element)),
            None => native.to_owned(),
        },
    }
}

fn print_results(report: &Value, format: Format) {
    let Some(results) = report.get("results") else {
        return;
    };
    let columns = results
        .get("signature")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let columns: Vec<String> = columns
        .filter_map(|column| column.get("name")?.as_str())
        .map(str::to_owned)
        .collect();
    let rows = results
        .get("results")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let rows: Vec<Vec<Value>> = rows.filter_map(|row| row.as_array().cloned()).collect();
    for line in lines(&columns, &rows, format) {
        logging::say(&line);
    }
    if results.get("resultsTruncated") == Some(&Value::Bool(true)) {
        logging::complain("only the first rows are shown; POST /druid/v2/sql answers all of them");
    }
}

fn context(pairs: &[String]) -> Outcome<Value> {
    let mut context = Map::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        context.insert(key.to_owned(), value);
    }
    Ok(Value::Object(context))
}
