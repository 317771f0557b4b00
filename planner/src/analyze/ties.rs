//! Windows over rows that are equal for their ORDER BY: over a grouping they come in the order of its keys, as they do in
//! Druid, and so the same rows always give the same answer.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;

#[derive(Debug)]
pub struct OrderTies;

impl AnalyzerRule for OrderTies {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_node)?.data)
    }

    fn name(&self) -> &str {
        "order_ties"
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = &plan else {
        return Ok(Transformed::no(plan));
    };
    let keys = keys(&window.input);
    if keys.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let ordered = expr.transform_up(|expr| Ok(ordered(expr, &keys)))?;
        Ok(ordered.update_data(|expr| name.restore(expr)))
    })
}

fn ordered(expr: Expr, keys: &[Column]) -> Transformed<Expr> {
    let Expr::WindowFunction(mut function) = expr else {
        return Transformed::no(expr);
    };
    if !looks_at_order(&function) {
        return Transformed::no(Expr::WindowFunction(function));
    }
    for key in keys {
        let key = Expr::Column(key.clone());
        let known = function.params.order_by.iter().any(|sort| sort.expr == key)
            || function.params.partition_by.contains(&key);
        if !known {
            function.params.order_by.push(Sort::new(key, true, true));
        }
    }
    Transformed::yes(Expr::WindowFunction(function))
}

/// Whether the order of equal rows changes the result and may be chosen: it may not for peers of a RANGE.
fn looks_at_order(function: &WindowFunction) -> bool {
    let by_position = match &function.fun {
        WindowFunctionDefinition::WindowUDF(function) => {
            matches!(function.name(), "row_number" | "lag" | "lead" | "ntile")
        }
        WindowFunctionDefinition::AggregateUDF(_) => false,
    };
    let ranks = matches!(
        &function.fun,
        WindowFunctionDefinition::WindowUDF(function)
            if matches!(function.name(), "rank" | "dense_rank" | "percent_rank" | "cume_dist")
    );
    by_position || (!ranks && function.params.window_frame.units == WindowFrameUnits::Rows)
}

/// Columns by which the rows of a grouping are told apart; none for other plans.
fn keys(plan: &LogicalPlan) -> Vec<Column> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let grouped = aggregate.group_expr.len();
            if aggregate
                .group_expr
                .iter()
                .any(|expr| matches!(expr, Expr::GroupingSet(_)))
            {
                return Vec::new();
            }
            aggregate.schema.columns().into_iter().take(grouped).collect()
        }
        LogicalPlan::Filter(filter) => keys(&filter.input),
        LogicalPlan::Window(window) => keys(&window.input),
        LogicalPlan::SubqueryAlias(alias) => {
            let (inner, outer) = (alias.input.schema(), &alias.schema);
            let renamed = keys(&alias.input).into_iter().filter_map(|key| {
                let position = inner.index_of_column(&key).ok()?;
                outer.columns().get(position).cloned()
            });
            renamed.collect()
        }
        LogicalPlan::Projection(projection) => {
            let outer = projection.schema.columns();
            let shown = |key: Column| {
                let position = projection
                    .expr
                    .iter()
                    .position(|expr| expr.clone().unalias() == Expr::Column(key.clone()))?;
                outer.get(position).cloned()
            };
            keys(&projection.input).into_iter().filter_map(shown).collect()
        }
        _ => Vec::new(),
    }
}
