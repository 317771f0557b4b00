//! `sarsen config print`.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory};

use super::{Settings, command, matches, named_file, raw_values, settings};
use crate::{Cli, Outcome, logging};

/// Prints each setting with its value and source; passwords in URLs are not shown.
///
/// # Errors
/// When the role's flags or file are wrong.
pub fn run(file: Option<&Path>, role: &str, flags: &[String]) -> Outcome {
    let mut line: Vec<OsString> = vec!["sarsen".into()];
    line.extend(file.into_iter().flat_map(|file| ["--config".into(), file.into()]));
    line.push(role.into());
    line.extend(flags.iter().map(Into::into));
    let file = named_file(&line).map(Settings::read).transpose()?;
    let matches = matches(command(file.as_ref())?, file.as_ref(), line);
    let command = Cli::command();
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(());
    };
    logging::say(&format!("# sarsen {name}\n[{name}]"));
    for argument in command.find_subcommand(name).into_iter().flat_map(settings) {
        logging::say(&line_of(name, argument, matches, file.as_ref()));
    }
    Ok(())
}

fn line_of(role: &str, argument: &Arg, matches: &ArgMatches, file: Option<&Settings>) -> String {
    let name = argument.get_long().unwrap_or_default();
    let values: Vec<String> = raw_values(matches, argument)
        .iter()
        .map(|value| shown(argument, value))
        .collect();
    let source = match matches.value_source(argument.get_id().as_str()) {
        Some(ValueSource::CommandLine) => "flag".to_owned(),
        Some(ValueSource::EnvVariable) => {
            let variable = argument.get_env().unwrap_or_default();
            format!("environment {}", variable.to_string_lossy())
        }
        _ => match file.filter(|file| file.of(role, name).is_some()) {
            Some(file) => format!("file {}", file.path().display()),
            None => "default".to_owned(),
        },
    };
    let value = match values.as_slice() {
        [] => return format!("# {name} is not set"),
        [value] if !is_list(argument) => literal(value),
        values => format!(
            "[{}]",
            values
                .iter()
                .map(|value| quoted(value))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    format!("{:<60} # {source}", format!("{name} = {value}"))
}

fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::Append)
}

/// Numbers and booleans as they are, everything else as a string.
fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value == "true" || value == "false" {
        return value.to_owned();
    }
    quoted(value)
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// A setting's value without what is secret of it: a password, unless it is the name of a file that holds it.
fn shown(argument: &Arg, value: &str) -> String {
    if argument.get_id() == "initial_admin_password" && !value.starts_with('@') {
        return "******".to_owned();
    }
    masked(value)
}

/// A URL without its password.
fn masked(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    match place
        .rsplit_once('@')
        .and_then(|(login, host)| Some((login.split_once(':')?.0, host)))
    {
        Some((user, host)) => format!("{scheme}://{user}:******@{host}{path}"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(masked("postgres://u:p@h/d"), "postgres://u:******@h/d");
        assert_eq!(masked("etcd://u:p@q@h:1/d"), "etcd://u:******@h:1/d");
        assert_eq!(masked("http://h:80/x@y"), "http://h:80/x@y");
        assert_eq!(masked("/a:b@c"), "/a:b@c");
    }
}
