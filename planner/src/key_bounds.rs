//! What a filter allows a text column to be: with it, segments of other key ranges need not be read.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Bounds of a text column, both inclusive; NULL is not within them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBounds {
    pub column: String,
    pub lower: Option<String>,
    pub upper: Option<String>,
}

/// Bounds that every row which passes all of `filters` obeys; conditions of other kinds are passed over.
pub fn of_filters(filters: &[Expr]) -> Vec<KeyBounds> {
    filters
        .iter()
        .flat_map(|filter| split_conjunction(filter))
        .filter_map(of_condition)
        .collect()
}

fn of_condition(condition: &Expr) -> Option<KeyBounds> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => either(of_condition(left)?, of_condition(right)?),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (column(left), text(right)) {
            (Some(column), Some(text)) => compared(column, *op, text),
            _ => compared(column(right)?, op.swap()?, text(left)?),
        },
        Expr::InList(list) if !list.negated => {
            let texts: Vec<&str> = list.list.iter().map(text).collect::<Option<_>>()?;
            bounds(
                column(&list.expr)?,
                texts.iter().min().copied(),
                texts.iter().max().copied(),
            )
        }
        Expr::Between(between) if !between.negated => {
            bounds(column(&between.expr)?, text(&between.low), text(&between.high))
        }
        _ => None,
    }
}

fn compared(column: &str, operator: Operator, text: &str) -> Option<KeyBounds> {
    match operator {
        Operator::Eq => bounds(column, Some(text), Some(text)),
        Operator::Gt | Operator::GtEq => bounds(column, Some(text), None),
        Operator::Lt | Operator::LtEq => bounds(column, None, Some(text)),
        _ => None,
    }
}

fn bounds(column: &str, lower: Option<&str>, upper: Option<&str>) -> Option<KeyBounds> {
    (lower.is_some() || upper.is_some()).then(|| KeyBounds {
        column: column.to_owned(),
        lower: lower.map(str::to_owned),
        upper: upper.map(str::to_owned),
    })
}

/// What holds for rows of either kind.
fn either(left: KeyBounds, right: KeyBounds) -> Option<KeyBounds> {
    if left.column != right.column {
        return None;
    }
    let lower = left.lower.zip(right.lower).map(|(left, right)| left.min(right));
    let upper = left.upper.zip(right.upper).map(|(left, right)| left.max(right));
    bounds(&left.column, lower.as_deref(), upper.as_deref())
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn conditions_bound_a_column_where_they_can() {
        let found = |filter: Expr| {
            of_filters(&[filter])
                .into_iter()
                .map(|bounds| (bounds.column, bounds.lower, bounds.upper))
                .collect::<Vec<_>>()
        };
        let expected = |lower: Option<&str>, upper: Option<&str>| {
            vec![("k".to_owned(), lower.map(str::to_owned), upper.map(str::to_owned))]
        };
        assert_eq!(found(col("k").eq(lit("b"))), expected(Some("b"), Some("b")));
        assert_eq!(found(lit("b").lt(col("k"))), expected(Some("b"), None));
        assert_eq!(
            found(col("k").in_list(vec![lit("c"), lit("a")], false)),
            expected(Some("a"), Some("c"))
        );
        assert_eq!(
            found(col("k").eq(lit("x")).or(col("k").eq(lit("b")))),
            expected(Some("b"), Some("x"))
        );
        assert_eq!(
            found(col("k").gt(lit("b")).and(col("n").eq(lit(1)))),
            expected(Some("b"), None)
        );
        for unbounded in [
            col("k").not_eq(lit("b")),
            col("k").in_list(vec![lit("c")], true),
            col("k").eq(lit("x")).or(col("j").eq(lit("b"))),
            col("k").lt(lit("x")).or(col("k").gt(lit("b"))),
            col("n").eq(lit(1)),
        ] {
            assert_eq!(found(unbounded), []);
        }
    }
}
