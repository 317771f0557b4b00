//! `FROM t, UNNEST(t.a) AS u(c)`: DataFusion plans it as a join with a subquery that looks at the other side. Here the
//! other side moves below the UNNEST.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullHandling, Result, plan_err};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, Unnest};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

#[derive(Debug)]
pub struct FlattenUnnest;

impl AnalyzerRule for FlattenUnnest {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        flattened(plan)
    }

    fn name(&self) -> &str {
        "flatten_unnest"
    }
}

/// The plan without joins with UNNEST.
pub fn flattened(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(flatten)?.data)
}

fn flatten(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &plan else {
        return Ok(Transformed::no(plan));
    };
    let Some(subquery) = lateral(&join.right) else {
        return Ok(Transformed::no(plan));
    };
    if !holds_unnest(&subquery.subquery) {
        return Ok(Transformed::no(plan));
    }
    let nulls = match join.join_type {
        JoinType::Inner => None,
        JoinType::Left if joins_all(join) => Some(NullHandling::PreserveAndExpandEmpty),
        other => {
            return plan_err!(
                "{other} JOIN UNNEST is not supported, only CROSS JOIN and LEFT JOIN … ON TRUE"
            );
        }
    };
    let below = below(&subquery.subquery, &join.left, nulls)?;
    let unnested = renamed(below, join)?;
    let filtered = match (&join.filter, join.on.is_empty()) {
        (None, true) => unnested,
        (Some(filter), true) if nulls.is_none() => LogicalPlanBuilder::from(unnested)
            .filter(filter.clone())?
            .build()?,
        (_, true) => unnested,
        _ => return plan_err!("JOIN UNNEST takes no other condition than ON TRUE"),
    };
    Ok(Transformed::yes(filtered))
}

fn joins_all(join: &Join) -> bool {
    join.on.is_empty()
        && match &join.filter {
            None => true,
            Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)) => true,
            Some(_) => false,
        }
}

/// The subquery that a join's side is, below its alias.
fn lateral(plan: &LogicalPlan) -> Option<&Subquery> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => lateral(&alias.input),
        LogicalPlan::Subquery(subquery) => Some(subquery),
        _ => None,
    }
}

fn holds_unnest(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Unnest(_) => true,
        LogicalPlan::Projection(node) => holds_unnest(&node.input),
        LogicalPlan::SubqueryAlias(node) => holds_unnest(&node.input),
        _ => false,
    }
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// The UNNEST and its projections over `outer`, whose columns they pass through, first.
fn below(plan: &LogicalPlan, outer: &Arc<LogicalPlan>, nulls: Option<NullHandling>) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::EmptyRelation(_) => Ok(outer.as_ref().clone()),
        LogicalPlan::SubqueryAlias(node) => below(&node.input, outer, nulls),
        LogicalPlan::Projection(node) => {
            let input = below(&node.input, outer, nulls)?;
            let mut exprs = columns(outer);
            for expr in &node.expr {
                let expr = local(expr.clone())?;
                let name = expr.schema_name().to_string();
                // The other side's column of that name stays the only one until the join's names are given.
                let is_taken = outer.schema().fields().iter().any(|field| *field.name() == name);
                exprs.push(if is_taken {
                    expr.unalias().alias(format!("__unnested.{name}"))
                } else {
                    expr
                });
            }
            LogicalPlanBuilder::from(input).project(exprs)?.build()
        }
        LogicalPlan::Unnest(Unnest {
            input,
            exec_columns,
            options,
            ..
        }) => {
            let input = below(input, outer, nulls)?;
            let mut options = options.clone();
            if let Some(nulls) = nulls {
                options.null_handling = nulls;
            }
            LogicalPlanBuilder::from(input)
                .unnest_columns_with_options(exec_columns.clone(), options)?
                .build()
        }
        other => plan_err!("UNNEST over {} is not supported", other.display()),
    }
}

/// References to the other side as plain columns.
fn local(expr: Expr) -> Result<Expr> {
    let local = expr.transform_up(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(local.data)
}

/// The columns under the names that the join gave them.
fn renamed(plan: LogicalPlan, join: &Join) -> Result<LogicalPlan> {
    let own = join.left.schema().fields().len();
    let exprs = plan
        .schema()
        .columns()
        .into_iter()
        .enumerate()
        .map(|(position, column)| {
            let expr = Expr::Column(column);
            match position.checked_sub(own) {
                None => expr,
                Some(position) => {
                    let (qualifier, field) = join.right.schema().qualified_field(position);
                    expr.alias_qualified(qualifier.cloned(), field.name())
                }
            }
        });
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}
