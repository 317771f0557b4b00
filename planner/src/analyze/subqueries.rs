//! `x IN (SELECT y …)` looks among the different values of `y`, as Druid groups them: a join would go through all that are
//! equal for each row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, SubqueryAlias};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub struct DistinctSubqueries;

impl AnalyzerRule for DistinctSubqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan
            .transform_up_with_subqueries(|plan| plan.map_expressions(|expr| expr.transform_up(distinct)))?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "distinct_subqueries"
    }
}

/// Name of the rows that are looked into. Under it their column is never taken for one of the rows that look.
const ALIAS: &str = "__in";

fn distinct(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::InSubquery(InSubquery {
        expr,
        mut subquery,
        negated,
    }) = expr
    else {
        return Ok(Transformed::no(expr));
    };
    let is_named = matches!(subquery.subquery.as_ref(), LogicalPlan::SubqueryAlias(_));
    let changes = subquery.outer_ref_columns.is_empty() && !is_named;
    if changes {
        let plan = if is_distinct(&subquery.subquery) {
            subquery.subquery
        } else {
            Arc::new(LogicalPlan::Distinct(Distinct::All(subquery.subquery)))
        };
        subquery.subquery = Arc::new(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(plan, ALIAS)?));
    }
    let expr = Expr::InSubquery(InSubquery {
        expr,
        subquery,
        negated,
    });
    Ok(match changes {
        true => Transformed::yes(expr),
        false => Transformed::no(expr),
    })
}

/// Whether the one column of a plan has no value twice.
fn is_distinct(plan: &LogicalPlan) -> bool {
    plan.schema().fields().len() == 1 && unique_column(plan) == Some(0)
}

/// Position of a column that has no value twice, if one is known.
fn unique_column(plan: &LogicalPlan) -> Option<usize> {
    match plan {
        LogicalPlan::Distinct(_) if plan.schema().fields().len() == 1 => Some(0),
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [] if plan.schema().fields().len() == 1 => Some(0),
            [Expr::GroupingSet(_)] => None,
            [_] => Some(0),
            _ => None,
        },
        LogicalPlan::SubqueryAlias(node) => unique_column(&node.input),
        LogicalPlan::Filter(node) => unique_column(&node.input),
        LogicalPlan::Sort(node) => unique_column(&node.input),
        LogicalPlan::Limit(node) => unique_column(&node.input),
        LogicalPlan::Projection(node) => {
            let unique = unique_column(&node.input)?;
            let is_unique = |expr: &Expr| match expr.clone().unalias() {
                Expr::Column(column) => node.input.schema().index_of_column(&column).ok() == Some(unique),
                _ => false,
            };
            node.expr.iter().position(is_unique)
        }
        _ => None,
    }
}
