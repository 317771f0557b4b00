//! The functions that users may write, with their signatures as Druid shows them (INFORMATION_SCHEMA.ROUTINES).

use std::collections::BTreeSet;

use crate::registry::{druid_aggregate_functions, druid_scalar_functions, druid_window_functions};

/// A function by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routine {
    pub name: &'static str,
    pub is_aggregator: bool,
    /// A signature a line; none for what has a syntax of its own.
    pub signatures: Option<String>,
}

/// Druid's names, kinds and signatures, of functions that are not here too.
const SIGNATURES: &str = include_str!("routines.tsv");

/// What the planner reads by itself, without a function of that name.
const SYNTAX: &[&str] = &[
    "+",
    "-",
    "ARRAY",
    "BETWEEN ASYMMETRIC",
    "BETWEEN SYMMETRIC",
    "CASE",
    "CAST",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "EARLIEST",
    "EXTERN",
    "EXTRACT",
    "IFNULL",
    "LATEST",
    "LIKE",
    "MOD",
    "NOT BETWEEN ASYMMETRIC",
    "NOT BETWEEN SYMMETRIC",
    "NOT LIKE",
    "NVL",
];

/// All functions that there are here, by name.
pub fn routines() -> Vec<Routine> {
    let names = names();
    let exists = |name: &str| SYNTAX.contains(&name) || names.contains(&name.to_lowercase());
    SIGNATURES
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (name, kind, signatures) = (fields.next()?, fields.next()?, fields.next()?);
            exists(name).then(|| Routine {
                name,
                is_aggregator: kind == "aggregate",
                signatures: (!signatures.is_empty()).then(|| signatures.replace("\\n", "\n")),
            })
        })
        .collect()
}

/// Names of all functions of the registry, in small letters.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for function in druid_scalar_functions() {
        names.insert(function.name().to_lowercase());
        names.extend(function.aliases().iter().map(|alias| alias.to_lowercase()));
    }
    for function in druid_aggregate_functions() {
        names.insert(function.name().to_lowercase());
        names.extend(function.aliases().iter().map(|alias| alias.to_lowercase()));
    }
    names.extend(
        druid_window_functions()
            .iter()
            .map(|function| function.name().to_lowercase()),
    );
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routines_are_those_that_exist() {
        let routines = routines();
        let find = |name: &str| routines.iter().find(|routine| routine.name == name);
        let substring = find("TIME_FLOOR").unwrap();
        assert!(!substring.is_aggregator && substring.signatures.as_ref().unwrap().contains("TIME_FLOOR("));
        assert!(find("STRING_AGG").unwrap().is_aggregator);
        assert_eq!(find("CASE").unwrap().signatures, None);
        assert_eq!(find("$SUM0"), None);
        assert!(SYNTAX.iter().all(|name| find(name).is_some()));
    }
}
