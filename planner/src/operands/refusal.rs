//! The words in which Calcite refuses a call.

use std::fmt::Display;

use sqlparser::ast::{BinaryOperator, CeilFloorKind, DateTimeField, Expr, TrimWhereField, UnaryOperator};

use super::written::unit_of;
use crate::operators::is_arithmetic;

/// What is said of `call`, whose operands have these types. `forms` is what the function itself says that it takes.
pub fn refusal(call: &Expr, types: &[String], forms: Option<&str>) -> String {
    match call {
        Expr::Position { .. } | Expr::Array(_) => return "Parameters must be of the same type".to_owned(),
        _ => {}
    }
    let types: Vec<String> = types.iter().map(|name| format!("<{name}>")).collect();
    let (name, found) = applied(call, &types);
    let forms = match forms.map(str::to_owned).or_else(|| supported(call, &name)) {
        Some(forms) => format!(". Supported form(s): {forms}"),
        None => String::new(),
    };
    format!("Cannot apply '{name}' to arguments of type '{found}'{forms}")
}

/// The name of what `call` applies.
pub fn name(call: &Expr) -> String {
    applied(call, &[]).0
}

/// The name of what `call` applies, and the call with the types of its operands.
fn applied(call: &Expr, types: &[String]) -> (String, String) {
    let plain = |name: &str| (name.to_owned(), format!("{name}({})", types.join(", ")));
    let infix = |name: &str| (name.to_owned(), types.join(&format!(" {name} ")));
    let postfix = |name: &str| (name.to_owned(), format!("{} {name}", types.join(" ")));
    let not = |negated: &bool, name: &str| {
        if *negated {
            format!("NOT {name}")
        } else {
            name.to_owned()
        }
    };
    match call {
        Expr::Function(function) => match (function_name(&function.name.to_string()), unit_of(function)) {
            // The same as a comparison.
            (name, _) if name == "NULLIF" => infix("="),
            (name, Some(unit)) => {
                let found = format!("{name}({}, {})", interval(unit), types.join(", "));
                (name, found)
            }
            (name, None) => plain(&name),
        },
        Expr::Case { .. } => infix("="),
        Expr::BinaryOp { op, .. } => infix(&operator_name(op)),
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            ..
        } => ("NOT".to_owned(), format!("NOT{}", types.join(""))),
        Expr::UnaryOp { op, .. } => (op.to_string(), format!("{op}{}", types.join(""))),
        Expr::IsTrue(_) => postfix("IS TRUE"),
        Expr::IsNotTrue(_) => postfix("IS NOT TRUE"),
        Expr::IsFalse(_) => postfix("IS FALSE"),
        Expr::IsNotFalse(_) => postfix("IS NOT FALSE"),
        Expr::Like { negated, .. } => plain(&not(negated, "LIKE")),
        Expr::SimilarTo { negated, .. } => plain(&not(negated, "SIMILAR TO")),
        Expr::Between { negated, .. } => {
            let name = not(negated, "BETWEEN ASYMMETRIC");
            let (first, rest) = types
                .split_first()
                .map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
            let found = format!("{first} {name} {}", rest.join(" AND "));
            (name, found)
        }
        Expr::Floor { field, .. } => border("FLOOR", field, types),
        Expr::Ceil { field, .. } => border("CEIL", field, types),
        Expr::Extract { field, .. } => {
            let found = format!("EXTRACT({} FROM {})", interval(field), types.join(", "));
            ("EXTRACT".to_owned(), found)
        }
        Expr::Substring {
            special: true,
            shorthand,
            ..
        } => plain(if *shorthand { "SUBSTR" } else { "SUBSTRING" }),
        Expr::Substring { .. } => {
            let words = ["", " FROM ", " FOR "].iter().zip(types);
            let found: String = words.map(|(word, name)| format!("{word}{name}")).collect();
            ("SUBSTRING".to_owned(), format!("SUBSTRING({found})"))
        }
        Expr::Trim { trim_where, .. } => {
            let end = trim_where.unwrap_or(TrimWhereField::Both);
            ("TRIM".to_owned(), format!("TRIM({end} {})", types.join(" FROM ")))
        }
        _ => plain("CALL"),
    }
}

/// `<INTERVAL DAY>`, as the unit of a call is one operand.
fn interval(unit: impl Display) -> String {
    format!("<INTERVAL {}>", unit.to_string().to_uppercase())
}

fn border(name: &str, field: &CeilFloorKind, types: &[String]) -> (String, String) {
    let mut operands = types.to_vec();
    if let CeilFloorKind::DateTimeField(unit) = field
        && *unit != DateTimeField::NoDateTime
    {
        operands.push(interval(unit));
    }
    (name.to_owned(), format!("{name}({})", operands.join(", ")))
}

/// Functions are named in capitals, but for one.
fn function_name(written: &str) -> String {
    if written.eq_ignore_ascii_case("textcat") {
        return "textcat".to_owned();
    }
    written.to_uppercase()
}

fn operator_name(op: &BinaryOperator) -> String {
    match op {
        BinaryOperator::NotEq => "<>".to_owned(),
        other => other.to_string(),
    }
}

/// What an operator takes.
fn supported(call: &Expr, name: &str) -> Option<String> {
    let forms = |forms: &[(&str, &str)]| {
        let forms: Vec<String> = forms
            .iter()
            .map(|(left, right)| format!("'<{left}> {name} <{right}>'"))
            .collect();
        forms.join("\n")
    };
    Some(match call {
        Expr::BinaryOp {
            op: BinaryOperator::Plus,
            ..
        } => forms(&[
            ("NUMERIC", "NUMERIC"),
            ("DATETIME_INTERVAL", "DATETIME_INTERVAL"),
            ("DATETIME", "DATETIME_INTERVAL"),
            ("DATETIME_INTERVAL", "DATETIME"),
        ]),
        Expr::BinaryOp {
            op: BinaryOperator::Minus,
            ..
        } => forms(&[
            ("NUMERIC", "NUMERIC"),
            ("DATETIME_INTERVAL", "DATETIME_INTERVAL"),
            ("DATETIME", "DATETIME_INTERVAL"),
        ]),
        Expr::BinaryOp {
            op: BinaryOperator::Multiply,
            ..
        } => forms(&[
            ("NUMERIC", "NUMERIC"),
            ("DATETIME_INTERVAL", "NUMERIC"),
            ("NUMERIC", "DATETIME_INTERVAL"),
        ]),
        Expr::BinaryOp {
            op: BinaryOperator::Divide,
            ..
        } => forms(&[("NUMERIC", "NUMERIC"), ("DATETIME_INTERVAL", "NUMERIC")]),
        Expr::BinaryOp { op, .. } if is_arithmetic(op) => forms(&[("NUMERIC", "NUMERIC")]),
        Expr::BinaryOp {
            op: BinaryOperator::Eq | BinaryOperator::NotEq,
            ..
        } => forms(&[("EQUIVALENT_TYPE", "EQUIVALENT_TYPE")]),
        Expr::BinaryOp {
            op: BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq,
            ..
        } => forms(&[("COMPARABLE_TYPE", "COMPARABLE_TYPE")]),
        Expr::BinaryOp {
            op: BinaryOperator::And | BinaryOperator::Or,
            ..
        } => forms(&[("BOOLEAN", "BOOLEAN")]),
        Expr::BinaryOp {
            op: BinaryOperator::StringConcat,
            ..
        } => forms(&[("STRING", "STRING"), ("EQUIVALENT_TYPE", "EQUIVALENT_TYPE")]),
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            ..
        } => "'NOT<BOOLEAN>'".to_owned(),
        Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) | Expr::IsNotFalse(_) => {
            format!("'<BOOLEAN> {name}'")
        }
        Expr::Like { .. } => format!("'{name}(<STRING>, <STRING>, <STRING>)'"),
        Expr::Between { .. } => {
            format!("'<COMPARABLE_TYPE> {name} <COMPARABLE_TYPE> AND <COMPARABLE_TYPE>'")
        }
        Expr::Function(_) if name == "SUM" || name == "AVG" => format!("'{name}(<NUMERIC>)'"),
        _ => return None,
    })
}

/// What is said of a function that does not exist, whose arguments have these types.
pub fn unknown(written: &str, types: &[String]) -> String {
    let families: Vec<String> = types.iter().map(|name| format!("<{}>", family(name))).collect();
    format!(
        "No match found for function signature {written}({})",
        families.join(", ")
    )
}

/// Calcite's family of a type.
fn family(name: &str) -> &str {
    let plain = name.split('(').next().unwrap_or(name);
    match plain {
        _ if name.ends_with(" ARRAY") => name,
        "INTEGER" | "BIGINT" | "FLOAT" | "DOUBLE" | "DECIMAL" => "NUMERIC",
        "CHAR" | "VARCHAR" => "CHARACTER",
        other => other,
    }
}
