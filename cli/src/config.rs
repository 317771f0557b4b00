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
    let named = named_file(&arguments).filter(|_| !reads_the_file_itself(&arguments));
    let file = named.map(Settings::read).transpose()?;
    let matches = matches(command(file.as_ref())?, file.as_ref(), arguments);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// Whether the command is the one that tells what is wrong with a file, and so must not fail by it.
fn reads_the_file_itself(arguments: &[OsString]) -> bool {
    let mut arguments = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        match argument.as_ref() {
            "--config" => drop(arguments.next()),
            flag if flag.starts_with('-') => {}
            command => return command == "doctor",
        }
    }
    false
}

/// A command line that `file` completes; the first that is wrong with either, in words.
///
/// # Errors
/// A file that cannot be read or holds what is no setting, and arguments or values that are none.
pub fn complete(line: Vec<OsString>) -> Result<(Cli, ArgMatches, Option<Settings>), Incomplete> {
    let file = named_file(&line).map(Settings::read).transpose();
    let file = file.map_err(|error| Incomplete::File(error.to_string()))?;
    let command = command(file.as_ref()).map_err(|error| Incomplete::File(error.to_string()))?;
    let matches = try_matches(command, file.as_ref(), line);
    let matches = matches.map_err(|(error, hint)| Incomplete::Arguments(error, hint))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| Incomplete::Arguments(error, None))?;
    Ok((cli, matches, file))
}

/// Why no settings came out.
#[derive(Debug)]
pub enum Incomplete {
    File(String),
    /// With the file that the value is from, if it is from one.
    Arguments(clap::Error, Option<PathBuf>),
}

/// What the arguments mean; a value that is none ends the process, with the place that it comes from.
fn matches(command: Command, file: Option<&Settings>, arguments: Vec<OsString>) -> ArgMatches {
    try_matches(command, file, arguments).unwrap_or_else(|(error, path)| {
        if let (Some(path), Some(setting)) = (path, setting_of(&error)) {
            let path = path.display();
            crate::logging::complain(&format!(
                "sarsen: `{setting}` is set in the configuration file {path}"
            ));
        }
        error.exit()
    })
}

/// What the arguments mean; with an error, the file that its value is from.
fn try_matches(
    command: Command,
    file: Option<&Settings>,
    arguments: Vec<OsString>,
) -> Result<ArgMatches, (clap::Error, Option<PathBuf>)> {
    let role = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    let role = role
        .filter(|argument| ROLES.contains(&argument.as_ref()))
        .map(String::from)
        .next();
    command.try_get_matches_from(arguments).map_err(|error| {
        let of_file = match (file, role, setting_of(&error)) {
            (Some(file), Some(role), Some(setting)) => {
                file.of(&role, &setting).map(|_| file.path().to_owned())
            }
            _ => None,
        };
        (error, of_file)
    })
}

/// The setting that an error is about.
pub fn setting_of(error: &clap::Error) -> Option<String> {
    let shown = error.get(ContextKind::InvalidArg)?.to_string();
    let setting = shown.strip_prefix("--")?;
    Some(setting.split(' ').next().unwrap_or_default().to_owned())
}

/// Says which variables look like settings and are none. They are not refused: where services are announced in the
/// environment, as Kubernetes does, names of others begin like ours.
pub fn warn_of_unknown_variables() {
    for (variable, nearest) in unknown_variables() {
        tracing::warn!(
            variable,
            nearest,
            "no setting is read from this environment variable"
        );
    }
}

/// Variables that look like settings and are none, each with the nearest that is one.
pub fn unknown_variables() -> Vec<(String, String)> {
    let command = Cli::command();
    let roles = ROLES.into_iter().filter_map(|role| command.find_subcommand(role));
    let known = roles
        .flat_map(settings)
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
    let known: Vec<String> = known.collect();
    let unknown = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown =
        unknown.filter(|name| name.starts_with("SARSEN_") && name != FILE_VARIABLE && !known.contains(name));
    unknown
        .filter_map(|variable| {
            let nearest = file::nearest(&variable, known.iter().cloned(), 0.93)?;
            Some((variable, nearest))
        })
        .collect()
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
