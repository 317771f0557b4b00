//! Settings of a role: from its flags, its environment, a file, or by default, in this order.
//!
//! The clap definitions are the one list of settings: a file's keys are the names of flags, what it says becomes the
//! flags' defaults, and `sarsen config` prints what came out.

mod docs;
mod file;
mod print;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ContextKind;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Subcommand};

use crate::{Cli, Outcome};
pub use file::Settings;

/// Commands that take their settings from a file too.
pub const ROLES: [&str; 5] = ["standalone", "overlord", "controller", "worker", "gateway"];

/// Environment variable that names the file.
const FILE_VARIABLE: &str = "SARSEN_CONFIG";

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the settings that a role would run with, and where each comes from; the output is a valid file.
    Print {
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(ROLES), default_value = "standalone")]
        role: String,
        /// Flags of that role.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Prints the table of all settings as Markdown.
    Docs,
}

/// Reads the command line, with the settings of the file that it or the environment names.
///
/// # Errors
/// When the file cannot be read or holds a setting that no role has. Other mistakes end the process as clap does.
pub fn parse(arguments: Vec<OsString>) -> Outcome<Cli> {
    let file = named_file(&arguments).map(Settings::read).transpose()?;
    let matches = matches(command(file.as_ref())?, file.as_ref(), arguments);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// What the arguments mean; a value that is none ends the process, with the place that it comes from.
fn matches(command: Command, file: Option<&Settings>, arguments: Vec<OsString>) -> ArgMatches {
    let role = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    let role = role
        .filter(|argument| ROLES.contains(&argument.as_ref()))
        .map(String::from)
        .next();
    command.try_get_matches_from(arguments).unwrap_or_else(|error| {
        let setting = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        let setting = setting.as_deref().and_then(|shown| shown.strip_prefix("--"));
        let setting = setting.map(|shown| shown.split(' ').next().unwrap_or_default());
        if let (Some(file), Some(role), Some(setting)) = (file, role, setting)
            && file.of(&role, setting).is_some()
        {
            let path = file.path().display();
            crate::logging::complain(&format!(
                "sarsen: `{setting}` is set in the configuration file {path}"
            ));
        }
        error.exit()
    })
}

/// Says which variables look like settings and are none. They are not refused: where services are announced in the
/// environment, as Kubernetes does, names of others begin like ours.
pub fn warn_of_unknown_variables() {
    let command = Cli::command();
    let roles = ROLES.into_iter().filter_map(|role| command.find_subcommand(role));
    let known = roles
        .flat_map(settings)
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    let known: Vec<String> = known.collect();
    let unknown = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown =
        unknown.filter(|name| name.starts_with("SARSEN_") && name != FILE_VARIABLE && !known.contains(name));
    for variable in unknown {
        if let Some(nearest) = file::nearest(&variable, known.iter().cloned(), 0.93) {
            tracing::warn!(
                variable,
                nearest,
                "no setting is read from this environment variable"
            );
        }
    }
}

/// # Errors
/// When the role's flags or file are wrong.
pub fn run(file: Option<&Path>, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Print { role, flags } => print::run(file, role, flags),
        ConfigCommand::Docs => {
            crate::logging::say(docs::markdown(&Cli::command()).trim_end());
            Ok(())
        }
    }
}

/// The command line with a file's settings as defaults.
fn command(file: Option<&Settings>) -> Outcome<Command> {
    let mut command = Cli::command();
    let Some(file) = file else {
        return Ok(command);
    };
    file.check(&command)?;
    for role in ROLES {
        command = command.mut_subcommand(role, |role| file.apply(role));
    }
    Ok(command)
}

/// The value of `--config`, which clap cannot be asked for before it knows the file.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().skip(1);
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(FILE_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The settings of a role among its arguments: those with a long flag, without `--help` and the file itself.
fn settings(role: &Command) -> impl Iterator<Item = &clap::Arg> {
    let flags = role
        .get_arguments()
        .filter(|argument| argument.get_long().is_some());
    flags.filter(|argument| !matches!(argument.get_long(), Some("help" | "version" | "config")))
}

/// Values of a setting, as written.
fn raw_values(matches: &ArgMatches, argument: &clap::Arg) -> Vec<String> {
    let raw = matches.get_raw(argument.get_id().as_str());
    raw.into_iter()
        .flatten()
        .map(|value| value.to_string_lossy().into_owned())
        .collect()
}
