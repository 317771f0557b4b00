//! The table of functions in `docs/functions.md`, made from the registry.

#![cfg(test)]

use std::fmt::Write;

use crate::registry::{druid_aggregate_functions, druid_names, druid_scalar_functions};

fn table() -> String {
    let mut text = String::from(
        "# Functions\n\nWhat each means is in Druid's documentation; what differs is in [compatibility](compatibility.md).\n\
         Made from the registry: `SARSEN_UPDATE_DOCS=1 cargo test -p sarsen-functions documentation` writes it anew.\n\
         Beside these there are the operators, CASE, CAST, EXTRACT, `FLOOR(t TO unit)`, `CEIL(t TO unit)`, ARRAY[…], MOD, NVL,\n\
         EARLIEST, LATEST and CURRENT_TIMESTAMP, which have a syntax of their own or stand for others.\n",
    );
    for (kind, names) in druid_names() {
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(text, "\n## {kind}\n\n{}\n", names.join(", "));
    }
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
fn every_function_is_found_by_name() {
    let registry = crate::registry();
    for function in druid_scalar_functions() {
        assert!(registry.udf(function.name()).is_ok(), "{}", function.name());
    }
    for function in druid_aggregate_functions() {
        assert!(registry.udaf(function.name()).is_ok(), "{}", function.name());
    }
}
