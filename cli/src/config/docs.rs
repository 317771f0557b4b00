//! The table of settings in `docs/configuration.md`.

use std::fmt::Write;

use clap::{Arg, Command};

use super::{ROLES, settings};

const HEAD: &str = "\
# Configuration

Every setting of a role is a flag, an environment variable and a key of a file; the first of these that is given counts,
then the default. This page is printed by `sarsen config docs`.

The file is TOML, named by `--config FILE` or `SARSEN_CONFIG`. Keys at its top count for every role that has them, keys in
the table of a role for that one alone, and before those at the top. Keys that no role has are refused.

    deep-storage = \"/shared\"
    overlord = \"http://10.0.0.1:8081\"
    extern-allow = [\"/data\", \"https://example.org/\"]

    [worker]
    slots = 8

`sarsen config print ROLE [FLAGS…]` prints what that role would run with and where each value comes from, as such a file.
";

/// The page: a table per role.
pub fn markdown(command: &Command) -> String {
    let mut page = HEAD.to_owned();
    for role in ROLES {
        let Some(role) = command.find_subcommand(role) else {
            continue;
        };
        let _ = writeln!(page, "\n## sarsen {}\n", role.get_name());
        page.push_str("| flag and key | environment | default | meaning |\n|---|---|---|---|\n");
        for argument in settings(role) {
            let _ = writeln!(page, "{}", row(argument));
        }
    }
    page
}

fn row(argument: &Arg) -> String {
    let variable = argument
        .get_env()
        .map(|name| format!("`{}`", name.to_string_lossy()));
    let values: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    // Defaults that depend on other settings stand in the help.
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, told) = match help.split_once(" [default: ") {
        Some((help, rest)) => match rest.split_once(']') {
            Some((default, rest)) => (format!("{help}{rest}"), Some(format!("`{default}`"))),
            None => (help.to_owned(), None),
        },
        None => (help, None),
    };
    let default = if values.is_empty() {
        told.unwrap_or_default()
    } else {
        values.join(", ")
    };
    let long = argument.get_long().unwrap_or_default();
    let help = help.replace('|', "\\|").replace('\n', " ");
    format!(
        "| `--{long}` | {} | {default} | {help} |",
        variable.unwrap_or_default()
    )
}
