//! Which times a condition on `__time` lets through.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

/// Druid's eternity in ms.
pub const ETERNITY: (i64, i64) = (-4_611_686_018_427_387_904, 4_611_686_018_427_387_903);

/// A condition on `__time` that is no set of intervals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotIntervals {
    #[error("Unsupported operation [{0}] in OVERWRITE WHERE clause.")]
    Operation(String),
    #[error("Unsupported column [{0}] in OVERWRITE WHERE clause; only __time may be compared.")]
    Column(String),
    #[error("Unsupported expression [{0}] in OVERWRITE WHERE clause.")]
    Expression(String),
}

/// Intervals `[start, end)` that `condition` lets through, ascending and disjoint.
///
/// # Errors
/// For anything but comparisons of `__time` with literals under AND, OR, NOT and BETWEEN.
pub fn of_condition(condition: &Expr) -> Result<Vec<(i64, i64)>, NotIntervals> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => Ok(intersect(&of_condition(left)?, &of_condition(right)?)),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => Ok(union(of_condition(left)?, of_condition(right)?)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(left, *op, right),
        Expr::Between(between) => {
            time_column(&between.expr)?;
            let inside = intersect(
                &[(literal(&between.low)?, ETERNITY.1)],
                &[(ETERNITY.0, literal(&between.high)?.saturating_add(1))],
            );
            Ok(if between.negated {
                complement(&inside)
            } else {
                inside
            })
        }
        Expr::Not(inner) => Ok(complement(&of_condition(inner)?)),
        other => Err(NotIntervals::Expression(other.human_display().to_string())),
    }
}

/// Intervals that all of `filters` let through; a filter that says nothing about time excludes nothing.
pub fn of_filters(filters: &[Expr]) -> Vec<(i64, i64)> {
    filters
        .iter()
        .filter_map(|filter| of_condition(filter).ok())
        .fold(vec![ETERNITY], |all, next| intersect(&all, &next))
}

fn comparison(left: &Expr, op: Operator, right: &Expr) -> Result<Vec<(i64, i64)>, NotIntervals> {
    let (op, value) = match (time_column(left), time_column(right)) {
        (Ok(()), _) => (op, literal(right)?),
        (_, Ok(())) => (
            op.swap().ok_or_else(|| NotIntervals::Operation(op.to_string()))?,
            literal(left)?,
        ),
        (Err(error), _) => {
            return Err(match op {
                Operator::Eq | Operator::NotEq => NotIntervals::Operation(op.to_string()),
                _ => error,
            });
        }
    };
    let next = value.saturating_add(1);
    Ok(match op {
        Operator::Lt => vec![(ETERNITY.0, value)],
        Operator::LtEq => vec![(ETERNITY.0, next)],
        Operator::Gt => vec![(next, ETERNITY.1)],
        Operator::GtEq => vec![(value, ETERNITY.1)],
        Operator::Eq => vec![(value, next)],
        other => return Err(NotIntervals::Operation(other.to_string())),
    })
}

fn time_column(expr: &Expr) -> Result<(), NotIntervals> {
    match expr {
        Expr::Column(column) if column.name == "__time" => Ok(()),
        Expr::Column(column) => Err(NotIntervals::Column(column.name.clone())),
        Expr::Cast(cast) => time_column(&cast.expr),
        other => Err(NotIntervals::Expression(other.human_display().to_string())),
    }
}

fn literal(expr: &Expr) -> Result<i64, NotIntervals> {
    let refuse = || NotIntervals::Expression(expr.human_display().to_string());
    match expr {
        Expr::Literal(value, _) => match value {
            ScalarValue::TimestampMillisecond(Some(millis), _) | ScalarValue::Int64(Some(millis)) => {
                Ok(*millis)
            }
            ScalarValue::TimestampNanosecond(Some(nanos), _) => Ok(nanos.div_euclid(1_000_000)),
            _ => Err(refuse()),
        },
        _ => Err(refuse()),
    }
}

/// Common part of two ascending lists of disjoint intervals.
pub fn intersect(left: &[(i64, i64)], right: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut common = Vec::new();
    for (left_start, left_end) in left {
        for (right_start, right_end) in right {
            let (start, end) = (*left_start.max(right_start), *left_end.min(right_end));
            if start < end {
                common.push((start, end));
            }
        }
    }
    common.sort_unstable();
    common
}

fn union(mut left: Vec<(i64, i64)>, right: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    left.extend(right);
    left.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (start, end) in left {
        match merged.last_mut() {
            Some((_, last_end)) if start <= *last_end => *last_end = end.max(*last_end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn complement(intervals: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut gaps = Vec::new();
    let mut from = ETERNITY.0;
    for (start, end) in intervals {
        if from < *start {
            gaps.push((from, *start));
        }
        from = *end;
    }
    if from < ETERNITY.1 {
        gaps.push((from, ETERNITY.1));
    }
    gaps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn time() -> Expr {
        col("__time")
    }

    #[test]
    fn and_intersects_or_joins_not_complements() {
        let day = time().gt_eq(lit(10_i64)).and(time().lt(lit(20_i64)));
        assert_eq!(of_condition(&day).unwrap(), [(10, 20)]);
        let two = day.clone().or(time().between(lit(20_i64), lit(29_i64)));
        assert_eq!(of_condition(&two).unwrap(), [(10, 30)]);
        assert_eq!(
            of_condition(&Expr::Not(Box::new(day))).unwrap(),
            [(ETERNITY.0, 10), (20, ETERNITY.1)]
        );
    }

    #[test]
    fn the_literal_may_stand_on_the_left() {
        assert_eq!(
            of_condition(&lit(10_i64).lt_eq(time())).unwrap(),
            [(10, ETERNITY.1)]
        );
    }

    #[test]
    fn other_columns_and_operators_are_refused() {
        assert!(of_condition(&col("k").eq(lit("a"))).is_err());
        assert!(of_condition(&time().not_eq(lit(1_i64))).is_err());
    }
}
