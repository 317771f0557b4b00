//! The `sarsen` binary.

mod client;
mod demo;
mod logging;
mod metadata;
mod progress;
mod roles;
mod sql;
mod standalone;
mod table;
mod task;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SQL-based batch ingestion and queries that speak Apache Druid's API.
#[derive(Debug, Parser)]
#[command(name = "sarsen", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every role in one process; the HTTP API listens at 127.0.0.1:8888.
    Standalone(standalone::Options),
    /// The task queue, locks, slots and metadata of a cluster.
    Overlord(sarsen_overlord::Options),
    /// Runs controller tasks: one per query.
    Controller(sarsen_controller::Options),
    /// Runs worker tasks: the work itself.
    Worker(sarsen_worker::Options),
    /// Druid's HTTP API.
    Gateway(sarsen_gateway::Options),
    /// Runs a statement and prints its rows, or waits for what it ingests.
    Sql(sql::Options),
    /// Lists tasks and shows or ends one.
    Task(task::Options),
    /// Backs the metadata store up, and restores it.
    Metadata(metadata::Options),
    /// Starts a standalone, ingests TPC-H data (or a file of yours) and queries it.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Standalone(options) => roles::serve(|shutdown| standalone::run(options, shutdown)),
        Command::Overlord(options) => roles::serve(|shutdown| async {
            Ok(sarsen_overlord::run(options, roles::network(), shutdown).await?)
        }),
        Command::Controller(options) => roles::serve(|shutdown| async {
            Ok(sarsen_controller::run(options, roles::network(), shutdown).await?)
        }),
        Command::Worker(options) => roles::serve(|shutdown| async {
            Ok(sarsen_worker::run(options, roles::network(), shutdown).await?)
        }),
        Command::Gateway(options) => roles::serve(|shutdown| async {
            Ok(sarsen_gateway::run(options, roles::network(), shutdown).await?)
        }),
        Command::Sql(options) => sql::run(&options),
        Command::Task(options) => task::run(&options),
        Command::Metadata(options) => metadata::run(&options),
        Command::Demo(options) => demo::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::complain(&format!("sarsen: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What ends a command with exit code 1.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
