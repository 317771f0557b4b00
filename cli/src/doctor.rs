//! `sarsen doctor`: whether a role could run here with its settings, and what to do where it could not.
//!
//! Checks run all at once, each with a time limit, and change nothing that lasts.

mod certificates;
mod check;
mod clock;
mod configuration;
mod etcd;
mod folders;
mod limits;
mod metadata;
mod overlord;
mod ports;
mod storage;
mod subject;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::config::ROLES;
use crate::{Outcome, logging};
use check::{Checks, Finding, Status};
use subject::Subject;

/// Flags of `sarsen doctor`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Print an array of objects {check, status, found, advice}.
    #[arg(long)]
    json: bool,
    /// Role that is to be checked.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(ROLES), default_value = "standalone")]
    role: String,
    /// Flags of that role.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// Checks a role and prints what was found; fails when a check does.
///
/// # Errors
/// When no runtime can be had.
pub fn run(file: Option<&Path>, options: &Options) -> Outcome<ExitCode> {
    // What follows the role is the role's, but for this.
    let (own, flags): (Vec<String>, Vec<String>) =
        options.flags.iter().cloned().partition(|flag| flag == "--json");
    let as_json = options.json || !own.is_empty();
    let mut findings = Vec::new();
    let file: Option<PathBuf> = file.map(Path::to_owned);
    match configuration::read(file.as_deref(), &options.role, &flags) {
        Err(finding) => findings.push(finding),
        Ok(configured) => {
            findings.extend(configured.findings);
            findings.extend(examined(Subject::of(configured.command))?);
        }
    }
    match as_json {
        true => logging::say(&serde_json::to_string_pretty(&Value::Array(
            findings.iter().map(object).collect(),
        ))?),
        false => tell(&findings),
    }
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs the checks that concern a role.
fn examined(subject: Option<Subject>) -> Outcome<Vec<Finding>> {
    let Some(subject) = subject else {
        return Ok(Vec::new());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()?;
    let findings = runtime.block_on(async {
        let mut checks = Checks::default();
        folders::add(&subject, &mut checks);
        storage::add(&subject, &mut checks);
        certificates::add(&subject, &mut checks);
        ports::add(&subject, &mut checks);
        metadata::add(&subject, &mut checks);
        etcd::add(&subject, &mut checks);
        overlord::add(&subject, &mut checks);
        limits::add(&subject, &mut checks);
        checks.run().await
    });
    // A folder whose server is gone may hold a thread for ever.
    runtime.shutdown_background();
    Ok(findings)
}

fn object(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "status": finding.status.word(),
        "found": finding.found,
        "advice": finding.advice,
    })
}

fn tell(findings: &[Finding]) {
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or(0);
    for finding in findings {
        let found = finding.found.replace('\n', " ");
        logging::say(&format!(
            "{:<4}  {:<width$}  {found}",
            finding.status.word(),
            finding.check
        ));
        if let Some(advice) = &finding.advice {
            logging::say(&format!("      {advice}"));
        }
    }
    let count = |status: Status| findings.iter().filter(|finding| finding.status == status).count();
    logging::say(&format!(
        "{} ok, {} to look at, {} failed",
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Fail)
    ));
}
