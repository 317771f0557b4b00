//! Expressions over multi-value strings.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, internal_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, InSubquery, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlanBuilder, Operator, Subquery, cast, lit, not,
};
use sarsen_functions::multivalue::{explicit, explicit_name, takes_whole};
use sarsen_functions::types::is_multi_value;

use super::map;

/// Bytes of the values of a subquery that a multi-value string is looked for in.
const MOST_BYTES: i64 = 256 << 20;

/// Makes expressions over `schema` explicit.
pub(super) struct Exprs<'a> {
    pub schema: &'a DFSchema,
    pub config: &'a ConfigOptions,
    pub zone: Option<&'a str>,
}

impl Exprs<'_> {
    pub fn is_multi_value(&self, expr: &Expr) -> Result<bool> {
        Ok(is_multi_value(&expr.get_type(self.schema)?))
    }

    /// An expression as a value: over multi-value strings it is one itself.
    pub fn value(&self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Alias(mut alias) => {
                alias.expr = Box::new(self.value(*alias.expr)?);
                Ok(Expr::Alias(alias))
            }
            leaf if is_leaf(&leaf) => self.leaf(leaf),
            operator => {
                let explicit = each_leaf(operator, &mut |leaf| self.leaf(leaf))?;
                map::map_values(explicit, self)
            }
        }
    }

    /// A condition of rows: over multi-value strings it holds where it holds for any value.
    pub fn condition(&self, expr: Expr) -> Result<Expr> {
        let inner =
            |expr: Box<Expr>| Ok::<_, datafusion::common::DataFusionError>(Box::new(self.condition(*expr)?));
        match expr {
            Expr::Alias(alias) => self.condition(*alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::And | Operator::Or) =>
            {
                Ok(Expr::BinaryExpr(BinaryExpr {
                    left: inner(left)?,
                    op,
                    right: inner(right)?,
                }))
            }
            Expr::Not(expr) => Ok(Expr::Not(inner(expr)?)),
            Expr::IsTrue(expr) => Ok(Expr::IsTrue(inner(expr)?)),
            Expr::IsNotTrue(expr) => Ok(Expr::IsNotTrue(inner(expr)?)),
            Expr::IsFalse(expr) => Ok(Expr::IsFalse(inner(expr)?)),
            Expr::IsNotFalse(expr) => Ok(Expr::IsNotFalse(inner(expr)?)),
            other => {
                let value = self.value(other.clone())?;
                if !self.is_multi_value(&value)? {
                    return Ok(value);
                }
                match positive(other) {
                    (positive, Sign::Plain) => any_holds(self.value(positive)?),
                    (positive, Sign::Negated) => Ok(not(any_holds(self.value(positive)?)?)),
                }
            }
        }
    }

    /// The one value of a string, with an error for rows that have several.
    pub fn only_value(&self, expr: Expr, error: &str) -> Result<Expr> {
        function(explicit::ONLY_VALUE, vec![expr, lit(error)])
    }

    /// A subquery that looks at the rows around it sees no multi-value strings there.
    fn check_outer(&self, subquery: &Subquery) -> Result<()> {
        for column in &subquery.outer_ref_columns {
            if let Expr::OuterReferenceColumn(_, column) = column
                && let Ok(field) = self.schema.field_from_column(column)
                && is_multi_value(field.data_type())
            {
                return plan_err!(
                    "Column [{}] is a multi-value string, which a correlated subquery cannot see. Please unnest it with \
                     UNNEST(MV_TO_ARRAY()) to proceed further",
                    column.name
                );
            }
        }
        Ok(())
    }

    fn leaf(&self, leaf: Expr) -> Result<Expr> {
        match leaf {
            Expr::ScalarFunction(ScalarFunction { func, args }) => {
                let args = args
                    .into_iter()
                    .map(|argument| self.value(argument))
                    .collect::<Result<Vec<_>>>()?;
                match explicit_name(func.name()) {
                    Some(name) => function(name, args),
                    None => Ok(Expr::ScalarFunction(ScalarFunction { func, args })),
                }
            }
            // CAST of a multi-value string to an array gives its values.
            Expr::Cast(Cast { expr, field }) => {
                let expr = self.value(*expr)?;
                let expr = if self.is_multi_value(&expr)? {
                    function("mv_to_array", vec![expr])?
                } else {
                    expr
                };
                Ok(Expr::Cast(Cast {
                    expr: Box::new(expr),
                    field,
                }))
            }
            Expr::InSubquery(InSubquery {
                expr,
                subquery,
                negated,
            }) => {
                self.check_outer(&subquery)?;
                let expr = self.value(*expr)?;
                if self.is_multi_value(&expr)? {
                    let found = in_subquery(expr, subquery)?;
                    return Ok(if negated { not(found) } else { found });
                }
                Ok(Expr::InSubquery(InSubquery {
                    expr: Box::new(expr),
                    subquery,
                    negated,
                }))
            }
            Expr::Exists(exists) => {
                self.check_outer(&exists.subquery)?;
                Ok(Expr::Exists(exists))
            }
            Expr::ScalarSubquery(subquery) => {
                self.check_outer(&subquery)?;
                Ok(Expr::ScalarSubquery(subquery))
            }
            Expr::AggregateFunction(call) => self.aggregate(call),
            Expr::WindowFunction(mut call) => {
                let params = &mut call.params;
                for expr in params.args.iter_mut().chain(&mut params.partition_by) {
                    *expr = self.value(std::mem::take(expr))?;
                }
                for sort in &mut params.order_by {
                    sort.expr = self.value(std::mem::take(&mut sort.expr))?;
                }
                if let Some(filter) = params.filter.take() {
                    params.filter = Some(Box::new(self.condition(*filter)?));
                }
                Ok(Expr::WindowFunction(call))
            }
            other => Ok(other),
        }
    }
}

/// Whether an expression is evaluated once for each row, whatever multi-value strings are in it.
pub(super) fn is_leaf(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::AggregateFunction(_)
        | Expr::WindowFunction(_)
        | Expr::GroupingSet(_) => true,
        Expr::ScalarFunction(function) => takes_whole(function.func.name()),
        Expr::Cast(cast) => matches!(cast.field.data_type(), DataType::List(_)),
        _ => false,
    }
}

/// The operators of an expression with `change` applied to what they stand on.
pub(super) fn each_leaf(expr: Expr, change: &mut dyn FnMut(Expr) -> Result<Expr>) -> Result<Expr> {
    let changed = expr.transform_down(|expr| {
        if is_leaf(&expr) {
            Ok(Transformed::new(change(expr)?, true, TreeNodeRecursion::Jump))
        } else {
            Ok(Transformed::no(expr))
        }
    })?;
    Ok(changed.data)
}

enum Sign {
    Plain,
    Negated,
}

/// A condition without its negation, which is that of the row: `x <> 'a'` holds where no value is `a`.
fn positive(expr: Expr) -> (Expr, Sign) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, sign) = match op {
                Operator::NotEq => (Operator::Eq, Sign::Negated),
                Operator::IsDistinctFrom => (Operator::IsNotDistinctFrom, Sign::Negated),
                op => (op, Sign::Plain),
            };
            (Expr::BinaryExpr(BinaryExpr { left, op, right }), sign)
        }
        Expr::IsNotNull(inner) => (Expr::IsNull(inner), Sign::Negated),
        Expr::Like(mut like) if like.negated => {
            like.negated = false;
            (Expr::Like(like), Sign::Negated)
        }
        Expr::SimilarTo(mut like) if like.negated => {
            like.negated = false;
            (Expr::SimilarTo(like), Sign::Negated)
        }
        Expr::Between(mut between) if between.negated => {
            between.negated = false;
            (Expr::Between(between), Sign::Negated)
        }
        Expr::InList(mut list) if list.negated => {
            list.negated = false;
            (Expr::InList(list), Sign::Negated)
        }
        other => (other, Sign::Plain),
    }
}

/// `x IN (SELECT y …)` holds where any value of `x` is among all of `y`.
fn in_subquery(string: Expr, mut subquery: Subquery) -> Result<Expr> {
    let columns = subquery.subquery.schema().columns();
    let [column] = <[Column; 1]>::try_from(columns)
        .map_err(|_| plan_datafusion_err!("IN takes a subquery of one column"))?;
    let plan =
        LogicalPlanBuilder::from(subquery.subquery).filter(Expr::Column(column.clone()).is_not_null())?;
    let Some(collect) = sarsen_functions::registry().udaf("array_agg").ok() else {
        return internal_err!("there is no ARRAY_AGG");
    };
    let text = cast(Expr::Column(column), DataType::Utf8View);
    let all = AggregateFunction::new_udf(collect, vec![text, lit(MOST_BYTES)], true, None, Vec::new(), None);
    let all = Expr::AggregateFunction(all).alias("values");
    subquery.subquery = Arc::new(plan.aggregate(Vec::<Expr>::new(), vec![all])?.build()?);
    function("mv_overlap", vec![string, Expr::ScalarSubquery(subquery)])
}

fn any_holds(values: Expr) -> Result<Expr> {
    function(explicit::ANY_HOLDS, vec![values])
}

/// A call of one of the functions that are always there.
pub(super) fn function(name: &str, arguments: Vec<Expr>) -> Result<Expr> {
    match sarsen_functions::call(name, arguments) {
        Some(call) => Ok(call),
        None => internal_err!("there is no function {name}"),
    }
}
