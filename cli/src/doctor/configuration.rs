//! The settings themselves.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;

use super::check::{Finding, Found};
use crate::Command;
use crate::config::{Incomplete, complete, setting_of, unknown_variables};

const NAME: &str = "configuration";

/// Settings that are none of a mistake.
pub struct Configured {
    /// The role's command.
    pub command: Command,
    pub findings: Vec<Finding>,
}

/// Reads a role's settings as the role itself does.
pub fn read(file: Option<&Path>, role: &str, flags: &[String]) -> Result<Configured, Finding> {
    let mut line: Vec<OsString> = vec!["sarsen".into()];
    line.extend(file.into_iter().flat_map(|file| ["--config".into(), file.into()]));
    line.push(role.into());
    line.extend(flags.iter().map(Into::into));
    let (cli, matches, file) = match complete(line) {
        Ok(complete) => complete,
        Err(Incomplete::File(error)) => {
            let advice = "correct the file; docs/configuration.md lists every setting, and `sarsen config print` what came out";
            return Err(Found::fail(error, advice).of(NAME));
        }
        Err(Incomplete::Arguments(error, _)) if !error.use_stderr() => error.exit(),
        Err(Incomplete::Arguments(error, path)) => return Err(wrong(role, &error, path.as_deref())),
    };
    let given = matches.subcommand().map_or(0, |(_, matches)| {
        let sources = matches.ids().filter_map(|id| matches.value_source(id.as_str()));
        sources
            .filter(|source| *source != ValueSource::DefaultValue)
            .count()
    });
    let found = match &file {
        Some(file) => format!(
            "{given} settings by flags and environment, {} and defaults",
            file.path().display()
        ),
        None => format!("{given} settings by flags and environment, no file, defaults"),
    };
    let mut findings = vec![Found::ok(found).of(NAME)];
    for (variable, nearest) in unknown_variables() {
        let advice = format!("unset {variable}; if it was meant, the name is {nearest}");
        let found = format!("no setting is read from the environment variable {variable}");
        findings.push(Found::warn(found, advice).of("environment"));
    }
    Ok(Configured {
        command: cli.command,
        findings,
    })
}

/// A value or flag that clap refuses.
fn wrong(role: &str, error: &clap::Error, path: Option<&Path>) -> Finding {
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    let words = words.join("; ");
    let found = words.trim_start_matches("error: ").to_owned();
    let setting = setting_of(error);
    let advice = match (path, &setting) {
        (Some(path), Some(setting)) => format!("correct `{setting}` in {}", path.display()),
        (None, Some(setting)) => format!(
            "correct --{setting} or its environment variable; `sarsen {role} --help` says what it takes"
        ),
        _ => format!("`sarsen {role} --help` lists what there is"),
    };
    Found::fail(found, advice).of(NAME)
}
