//! The functions that users may write, with their signatures as Druid shows them (INFORMATION_SCHEMA.ROUTINES).

use std::collections::BTreeSet;

use crate::registry::druid_names;

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
pub(crate) const SYNTAX: &[&str] = &[
    "+",
    "-",
    "APPEND",
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
    "LOCALTIMESTAMP",
    "MOD",
    "NOT BETWEEN ASYMMETRIC",
    "NOT BETWEEN SYMMETRIC",
    "NOT LIKE",
    "NVL",
];

/// All functions that there are here, by name.
pub fn routines() -> Vec<Routine> {
    let names: BTreeSet<String> = druid_names().into_iter().flat_map(|(_, names)| names).collect();
    let exists = |name: &str| SYNTAX.contains(&name) || names.contains(&name.to_uppercase());
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
