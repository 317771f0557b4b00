//! The `sarsen` binary.

mod ca;
mod client;
mod config;
mod demo;
mod doctor;
mod hide;
mod logging;
mod metadata;
mod probe;
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
    /// File of settings (TOML); flags and the environment come before it.
    #[arg(long, global = true, env = "SARSEN_CONFIG", value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every role in one process; the HTTP API listens at 127.0.0.1:8888.
    Standalone(Role<standalone::Options>),
    /// The task queue, locks, slots and metadata of a cluster.
    Overlord(Role<sarsen_overlord::Options>),
    /// Runs controller tasks: one per query.
    Controller(Role<sarsen_controller::Options>),
    /// Runs worker tasks: the work itself.
    Worker(Role<sarsen_worker::Options>),
    /// Druid's HTTP API.
    Gateway(Role<sarsen_gateway::Options>),
    /// Runs a statement and prints its rows, or waits for what it ingests.
    Sql(sql::Options),
    /// Lists tasks and shows or ends one.
    Task(task::Options),
    /// Backs the metadata store up, and restores it.
    Metadata(metadata::Options),
    /// Makes a certificate authority for development, and certificates of nodes.
    Ca(ca::Options),
    /// Starts a standalone, ingests TPC-H data (or a file of yours) and queries it.
    Demo(demo::Options),
    /// Checks whether a role could run here with its settings, and says what to do where it could not.
    Doctor(doctor::Options),
    /// Succeeds when a URL answers with success: for probes.
    Probe(probe::Options),
    /// Shows settings and where they come from.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// A role's own settings, and those that every process has.
#[derive(Debug, clap::Args)]
struct Role<O: clap::Args> {
    #[command(flatten)]
    own: O,
    #[command(flatten)]
    observe: sarsen_observe::Options,
}

fn main() -> ExitCode {
    hide::secrets();
    match config::parse(std::env::args_os().collect()).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            logging::complain(&format!("sarsen: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Outcome<ExitCode> {
    let done = match cli.command {
        Command::Standalone(role) => roles::serve("sarsen-standalone", role, standalone::run),
        Command::Overlord(role) => roles::serve("sarsen-overlord", role, |options, shutdown| async {
            let network = roles::network(&options.tls)?;
            Ok(sarsen_overlord::run(options, network, shutdown).await?)
        }),
        Command::Controller(role) => roles::serve("sarsen-controller", role, |options, shutdown| async {
            let network = roles::network(&options.tls)?;
            Ok(sarsen_controller::run(options, network, shutdown).await?)
        }),
        Command::Worker(role) => roles::serve("sarsen-worker", role, |options, shutdown| async {
            let network = roles::network(&options.tls)?;
            Ok(sarsen_worker::run(options, network, shutdown).await?)
        }),
        Command::Gateway(role) => roles::serve("sarsen-gateway", role, |options, shutdown| async {
            let network = roles::network(&options.tls)?;
            Ok(sarsen_gateway::run(options, network, shutdown).await?)
        }),
        Command::Sql(options) => sql::run(&options),
        Command::Task(options) => task::run(&options),
        Command::Metadata(options) => metadata::run(&options),
        Command::Ca(options) => ca::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Doctor(options) => return doctor::run(cli.config.as_deref(), &options),
        Command::Probe(options) => probe::run(&options),
        Command::Config(command) => config::run(cli.config.as_deref(), &command),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What ends a command with exit code 1.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
