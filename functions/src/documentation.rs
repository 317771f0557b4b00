//! The table of functions in `docs/functions.md`, made from the registry, and the test that it has all that Druid
//! documents.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::registry::{druid_aggregate_functions, druid_names, druid_scalar_functions};
use crate::routines::SYNTAX;

/// The functions of Druid's documentation: name, kind and syntax.
const DOCUMENTED: &str = include_str!("documented.tsv");

/// Functions that Druid lists nowhere.
const OWN: [(&str, &str); 4] = [
    ("CBRT", "CBRT(expr)"),
    ("CEILING", "CEILING(expr)"),
    ("MEAN", "MEAN(expr)"),
    ("MV_HARMONIZE_NULLS", "MV_HARMONIZE_NULLS(arr)"),
];

/// Syntax by name, of Druid's documentation, else of Druid's own list of routines.
fn signatures() -> BTreeMap<String, String> {
    let listed = include_str!("routines.tsv").lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let (name, _, signatures) = (fields.next()?, fields.next()?, fields.next()?);
        Some((
            name.to_uppercase(),
            signatures.replace("\\n", "; ").replace('\'', ""),
        ))
    });
    let documented = DOCUMENTED.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let (name, _, syntax) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name.to_owned(), syntax.replace(" ; ", "; ")))
    });
    let own = OWN.map(|(name, syntax)| (name.to_owned(), syntax.to_owned()));
    listed.chain(documented).chain(own).collect()
}

fn table() -> String {
    let mut text = String::from(
        "# Functions\n\nWhat each means is in Druid's documentation; what differs is in [compatibility](compatibility.md).\n\
         Made from the registry: `SARSEN_UPDATE_DOCS=1 cargo test -p sarsen-functions documentation` writes it anew, and the\n\
         same test fails when a function that Druid documents is missing.\n\
         Beside these there are the operators, `FLOOR(t TO unit)`, `CEIL(t TO unit)` and table functions.\n",
    );
    let signatures = signatures();
    let mut section = |kind: &str, names: &mut dyn Iterator<Item = String>| {
        let _ = write!(text, "\n## {kind}\n\n| function | signature |\n|---|---|\n");
        for name in names {
            let signature = signatures
                .get(&name)
                .map_or("", String::as_str)
                .replace('|', "\\|");
            let _ = writeln!(text, "| {name} | `{signature}` |");
        }
    };
    for (kind, names) in druid_names() {
        section(kind, &mut names.into_iter());
    }
    let words = SYNTAX.iter().filter(|name| {
        name.chars()
            .all(|letter| letter.is_ascii_uppercase() || letter == '_')
    });
    section(
        "With a syntax of their own",
        &mut words.map(|name| (*name).to_owned()),
    );
    text
}

#[test]
fn every_function_is_in_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/functions.md");
    let table = table();
    if std::env::var_os("SARSEN_UPDATE_DOCS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(documented, table, "run with SARSEN_UPDATE_DOCS=1");
}

#[test]
fn every_function_of_druids_documentation_is_here() {
    let table = table();
    let names = DOCUMENTED.lines().filter_map(|line| line.split('\t').next());
    let missing: Vec<&str> = names
        .filter(|name| !table.contains(&format!("\n| {name} | `")))
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
}

#[test]
fn every_function_has_a_signature() {
    let table = table();
    let without: Vec<&str> = table.lines().filter(|line| line.ends_with("| `` |")).collect();
    assert_eq!(without, [] as [&str; 0]);
}

#[test]
fn every_function_is_found_by_name() {
    let registry = crate::registry();
    for function in druid_scalar_functions() {
        assert!(registry.udf(function.name()).is_ok(), "{}", function.name());
    }
    for function in druid_aggregate_functions() {
        assert!(registry.udaf(function.name()).is_ok(), "{}", function.name());
    }
}
