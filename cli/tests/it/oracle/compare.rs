//! Whether two answers are the same.

use std::cmp::Ordering;

use serde_json::Value;

/// How far doubles may be from each other: sums depend on the order of their parts.
const TOLERANCE: f64 = 1e-9;

/// How an estimate may be from the true count.
const ESTIMATE_TOLERANCE: f64 = 0.02;

/// What a query promises about its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// The same rows in any order.
    Rows,
    /// Also these columns in this order.
    Ordered(&'static [usize]),
    /// So many of the oracle's rows, which ones is open.
    AnyOf(usize),
    /// Numbers are estimates.
    Estimates,
}

pub fn check(found: &[Vec<Value>], expected: &[Vec<Value>], check: Check) -> Result<(), String> {
    let tolerance = if check == Check::Estimates {
        ESTIMATE_TOLERANCE
    } else {
        TOLERANCE
    };
    if let Check::AnyOf(count) = check {
        return any_of(found, expected, count);
    }
    if found.len() != expected.len() {
        return Err(format!("{} rows instead of {}", found.len(), expected.len()));
    }
    if let Check::Ordered(columns) = check {
        for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
            if let Some(column) = columns
                .iter()
                .find(|column| !same(&found[**column], &expected[**column], tolerance))
            {
                return Err(format!(
                    "row {row}, column {column}, in order: {found:?} instead of {expected:?}"
                ));
            }
        }
    }
    let (found, expected) = (sorted(found), sorted(expected));
    match found
        .iter()
        .zip(&expected)
        .position(|(found, expected)| !same_row(found, expected, tolerance))
    {
        None => Ok(()),
        Some(row) => Err(format!(
            "row {row}, sorted: {:?} instead of {:?}",
            found[row], expected[row]
        )),
    }
}

fn any_of(found: &[Vec<Value>], expected: &[Vec<Value>], count: usize) -> Result<(), String> {
    if found.len() != count {
        return Err(format!("{} rows instead of {count}", found.len()));
    }
    let mut left: Vec<&Vec<Value>> = expected.iter().collect();
    for row in found {
        let place = left
            .iter()
            .position(|expected| same_row(row, expected, TOLERANCE));
        match place {
            Some(place) => drop(left.swap_remove(place)),
            None => return Err(format!("{row:?} is not among the rows, or not so often")),
        }
    }
    Ok(())
}

fn same_row(found: &[Value], expected: &[Value], tolerance: f64) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| same(found, expected, tolerance))
}

fn same(found: &Value, expected: &Value, tolerance: f64) -> bool {
    match (
        found.as_i64(),
        expected.as_i64(),
        found.as_f64(),
        expected.as_f64(),
    ) {
        (Some(found), Some(expected), ..) if tolerance == TOLERANCE => found == expected,
        (.., Some(found), Some(expected)) => {
            (found - expected).abs() <= tolerance * found.abs().max(expected.abs()).max(1.0)
        }
        _ => found == expected,
    }
}

fn sorted(rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut rows = rows.to_vec();
    rows.sort_by(|left, right| {
        let cells = left.iter().zip(right).map(|(left, right)| order(left, right));
        cells.fold(Ordering::Equal, Ordering::then)
    });
    rows
}

/// NULL first, then numbers, then texts by their bytes. Doubles that are nearly the same are the same.
pub fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => {
                let rounded = |number: &serde_json::Number| (number.as_f64().unwrap() * 1e6).round();
                rounded(left).total_cmp(&rounded(right))
            }
        },
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        _ => 4,
    }
}
