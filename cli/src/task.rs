//! `sarsen task`: tasks of a cluster.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::{Access, Client};
use crate::table::{Format, lines};
use crate::{Outcome, logging};

/// Flags of `sarsen task`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// Where the gateway is.
    #[arg(
        long,
        env = "SARSEN_URL",
        default_value = "http://127.0.0.1:8888",
        global = true
    )]
    url: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// The newest tasks.
    List {
        /// Only of this state: waiting, running or complete.
        #[arg(long)]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        max: u32,
    },
    /// One task's status as JSON.
    Status { task_id: String },
    /// One task's report as JSON, live while it runs.
    Report { task_id: String },
    /// Ends a task that runs.
    Kill { task_id: String },
}

/// Runs the command.
///
/// # Errors
/// The server's words when it refuses.
pub fn run(options: &Options) -> Outcome {
    let client = Client::new(&options.url, &options.access)?;
    match &options.command {
        Command::List { state, max } => list(&client, state.as_deref(), *max),
        Command::Status { task_id } => print(&client.status(task_id)?),
        Command::Report { task_id } => {
            print(&client.get(&format!("/druid/indexer/v1/task/{task_id}/reports"))?)
        }
        Command::Kill { task_id } => {
            print(&client.post(&format!("/druid/indexer/v1/task/{task_id}/shutdown"))?)
        }
    }
}

fn print(value: &Value) -> Outcome {
    logging::say(&serde_json::to_string_pretty(value)?);
    Ok(())
}

fn list(client: &Client, state: Option<&str>, max: u32) -> Outcome {
    let mut path = format!("/druid/indexer/v1/tasks?max={max}");
    if let Some(state) = state {
        path += &format!("&state={state}");
    }
    let tasks = client.get(&path)?;
    let columns = [
        "id",
        "status",
        "dataSource",
        "createdTime",
        "duration",
        "errorMsg",
    ];
    let rows: Vec<Vec<Value>> = tasks
        .as_array()
        .into_iter()
        .flatten()
        .map(|task| {
            columns
                .iter()
                .map(|column| task.get(*column).cloned().unwrap_or_default())
                .collect()
        })
        .collect();
    for line in lines(&columns.map(str::to_owned), &rows, Format::Table) {
        logging::say(&line);
    }
    Ok(())
}
