//! Conditions as native filters (Druid: querying/filters.md).

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator};
use serde_json::Value;

use super::columns::Columns;
use super::expression::{json_literal, text, type_of};
use super::{MatchValue, NativeFilter};

/// All of `conditions` as one filter.
pub fn all(conditions: &[Expr], columns: &mut Columns<'_>) -> Option<Option<NativeFilter>> {
    let filters = conditions
        .iter()
        .map(|condition| filter(condition, columns))
        .collect::<Option<Vec<_>>>()?;
    let mut filters = merged(filters);
    Some(match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(NativeFilter::And(filters)),
    })
}

/// The conditions of a conjunction.
pub fn conjuncts(expr: &Expr) -> Vec<Expr> {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == Operator::And => {
            let mut all = conjuncts(&binary.left);
            all.extend(conjuncts(&binary.right));
            all
        }
        other => vec![other.clone()],
    }
}

/// One condition as a filter.
pub fn filter(expr: &Expr, columns: &mut Columns<'_>) -> Option<NativeFilter> {
    let not = |filter: NativeFilter| NativeFilter::Not(Box::new(filter));
    match expr {
        Expr::BinaryExpr(binary) if binary.op == Operator::And => {
            return all(&conjuncts(expr), columns)?;
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Or => {
            let sides = [filter(&binary.left, columns)?, filter(&binary.right, columns)?];
            let flat = sides.into_iter().flat_map(|side| match side {
                NativeFilter::Or(inner) => inner,
                other => vec![other],
            });
            return Some(NativeFilter::Or(flat.collect()));
        }
        Expr::Not(inner) => return Some(not(filter(inner, columns)?)),
        Expr::IsNull(inner) => {
            let (column, _) = columns.column(inner)?;
            return Some(NativeFilter::Null { column });
        }
        Expr::IsNotNull(inner) => {
            let (column, _) = columns.column(inner)?;
            return Some(not(NativeFilter::Null { column }));
        }
        Expr::BinaryExpr(binary) => {
            let compared = match (literal(&binary.left), literal(&binary.right)) {
                (None, Some(value)) => Some((binary.op, binary.left.as_ref(), value)),
                (Some(value), None) => binary
                    .op
                    .swap()
                    .map(|operator| (operator, binary.right.as_ref(), value)),
                _ => None,
            };
            if let Some((operator, operand, value)) = compared
                && let Some(found) = comparison(operator, operand, value, columns)
            {
                return Some(found);
            }
        }
        Expr::Like(like) if !like.case_insensitive => {
            if let Some(Value::String(pattern)) = literal(&like.pattern).and_then(json_literal) {
                let (column, _) = columns.column(&like.expr)?;
                let found = NativeFilter::Like {
                    column,
                    pattern,
                    escape: like.escape_char,
                };
                return Some(if like.negated { not(found) } else { found });
            }
        }
        _ => {}
    }
    Some(NativeFilter::Expression(text(expr, columns.schema)?))
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

fn comparison(
    operator: Operator,
    operand: &Expr,
    value: &ScalarValue,
    columns: &mut Columns<'_>,
) -> Option<NativeFilter> {
    let value = json_literal(value)?;
    let operand_type = type_of(operand, columns.schema)?;
    // Numbers compare as numbers and texts as texts; what mixes them is an expression.
    let native_type = match (&value, operand_type.as_str()) {
        (Value::String(_), "STRING") => "STRING",
        (Value::Number(number), "LONG") if number.is_i64() => "LONG",
        (Value::Number(_), "LONG" | "DOUBLE") => "DOUBLE",
        (Value::Number(_), "FLOAT") => "FLOAT",
        _ => return None,
    }
    .to_owned();
    let range = |column: String, lower: Option<(Value, bool)>, upper: Option<(Value, bool)>| {
        Some(NativeFilter::Range {
            column,
            native_type: native_type.clone(),
            lower,
            upper,
        })
    };
    let equals = |column: String, value: Value| NativeFilter::Equals {
        column,
        value: MatchValue {
            native_type: native_type.clone(),
            value,
        },
    };
    let known = matches!(
        operator,
        Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    );
    if !known {
        return None;
    }
    let (column, _) = columns.column(operand)?;
    match operator {
        Operator::Eq => Some(equals(column, value)),
        Operator::NotEq => Some(NativeFilter::Not(Box::new(equals(column, value)))),
        Operator::Lt => range(column, None, Some((value, true))),
        Operator::LtEq => range(column, None, Some((value, false))),
        Operator::Gt => range(column, Some((value, true)), None),
        _ => range(column, Some((value, false)), None),
    }
}

/// A lower and an upper bound of the same column become one range.
fn merged(filters: Vec<NativeFilter>) -> Vec<NativeFilter> {
    let mut out: Vec<NativeFilter> = Vec::new();
    for next in filters {
        let joined = out.iter_mut().find_map(|known| match (known, &next) {
            (
                NativeFilter::Range {
                    column,
                    native_type,
                    lower,
                    upper,
                },
                NativeFilter::Range {
                    column: other,
                    native_type: other_type,
                    lower: other_lower,
                    upper: other_upper,
                },
            ) if column == other && native_type == other_type => {
                if lower.is_none() && other_upper.is_none() {
                    lower.clone_from(other_lower);
                    Some(())
                } else if upper.is_none() && other_lower.is_none() {
                    upper.clone_from(other_upper);
                    Some(())
                } else {
                    None
                }
            }
            _ => None,
        });
        if joined.is_none() {
            out.push(next);
        }
    }
    out
}
