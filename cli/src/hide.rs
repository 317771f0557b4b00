//! Keeps secrets out of `ps`: one that stands among the arguments goes into the environment, and the process starts
//! itself anew without it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::logging;

/// Flags that may hold a secret, and the variables that hold it as well.
const FLAGS: [(&str, &str); 4] = [
    ("--metadata", "SARSEN_METADATA"),
    ("--etcd", "SARSEN_ETCD"),
    ("--overlord", "SARSEN_OVERLORD"),
    ("--initial-admin-password", "SARSEN_INITIAL_ADMIN_PASSWORD"),
];

/// Starts this program anew where an argument holds a secret; else does nothing.
pub fn secrets() {
    let given: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (kept, hidden) = split(given);
    if hidden.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut again = Command::new(program);
    again
        .args(kept)
        .envs(hidden.iter().map(|(name, value)| (*name, value)));
    let error = again.exec();
    logging::complain(&format!(
        "sarsen: secrets among the arguments cannot be hidden from ps: {error}"
    ));
}

/// Arguments that may be seen, and variables for those that may not.
fn split(given: Vec<OsString>) -> (Vec<OsString>, Vec<(&'static str, OsString)>) {
    let (mut kept, mut hidden) = (Vec::new(), Vec::new());
    let mut given = given.into_iter();
    while let Some(argument) = given.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, own) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text.as_str(), None),
        };
        let Some((flag, variable)) = FLAGS.iter().find(|(flag, _)| *flag == name) else {
            kept.push(argument);
            continue;
        };
        let in_next = own.is_none();
        let Some(value) = own.or_else(|| given.next()) else {
            kept.push(argument);
            continue;
        };
        if is_secret(flag, &value.to_string_lossy()) {
            hidden.push((*variable, value));
            continue;
        }
        kept.push(argument);
        if in_next {
            kept.push(value);
        }
    }
    (kept, hidden)
}

/// A password within a URL, or one by itself; the name of a file that holds it is none.
fn is_secret(flag: &str, value: &str) -> bool {
    if flag == "--initial-admin-password" {
        return !value.starts_with('@');
    }
    let place = value.split_once("://").map_or("", |(_, rest)| rest);
    let place = place.split(['/', '?']).next().unwrap_or_default();
    place.contains('@') || value.contains("password=")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn hidden(line: &str) -> (String, Vec<(&'static str, String)>) {
        let (kept, hidden) = split(line.split(' ').map(OsString::from).collect());
        let kept: Vec<String> = kept.into_iter().map(|text| text.into_string().unwrap()).collect();
        let hidden = hidden
            .into_iter()
            .map(|(name, value)| (name, value.into_string().unwrap()));
        (kept.join(" "), hidden.collect())
    }

    #[test]
    fn passwords_leave_the_arguments_and_nothing_else_does() {
        let url = "postgres://u:geheim@h/d";
        for line in [
            format!("overlord --metadata {url} --data-dir d"),
            format!("overlord --metadata={url} --data-dir d"),
        ] {
            let (kept, secrets) = hidden(&line);
            assert_eq!(kept, "overlord --data-dir d");
            assert_eq!(secrets, [("SARSEN_METADATA", url.to_owned())]);
        }
        for line in [
            "overlord --metadata postgres://h/d --etcd etcd://h:1/x",
            "overlord --metadata @/run/secret",
            "worker --overlord http://127.0.0.1:8081",
            "sql -e a@b --metadata",
        ] {
            assert_eq!(hidden(line), (line.to_owned(), vec![]));
        }
        assert_eq!(hidden("worker --overlord etcd://u:geheim@h/x").1.len(), 1);
        assert_eq!(hidden("overlord --initial-admin-password geheim").1.len(), 1);
        assert_eq!(hidden("overlord --initial-admin-password @/f").1.len(), 0);
    }
}
