//! GROUP BY and DISTINCT: each value of a multi-value string is a row of its own, and a string without a value is NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullHandling, Result, UnnestOptions};
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet};
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder};

use super::exprs::Exprs;
use super::{Grouping, has_multi_value};

/// An aggregation over rows in which the grouped strings are unnested: two of them give every combination of their
/// values. Aggregations still see the whole strings.
pub(super) fn aggregate(aggregate: Aggregate, exprs: &Exprs<'_>, grouping: Grouping) -> Result<LogicalPlan> {
    let Aggregate {
        input,
        group_expr,
        aggr_expr,
        schema,
        ..
    } = aggregate;
    let mut keys = Keys {
        exprs,
        grouping,
        unnested: Vec::new(),
    };
    let group_expr = group_expr
        .into_iter()
        .map(|expr| keys.grouped(expr))
        .collect::<Result<Vec<_>>>()?;
    let aggr_expr = aggr_expr
        .into_iter()
        .map(|expr| keys.aggregated(expr))
        .collect::<Result<Vec<_>>>()?;
    let input = unnest(input, keys.unnested)?;
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?);
    renamed(plan, &schema)
}

/// DISTINCT groups by all columns.
pub(super) fn distinct(distinct: Distinct, exprs: &Exprs<'_>, grouping: Grouping) -> Result<LogicalPlan> {
    let input = match distinct {
        Distinct::All(input) if has_multi_value(input.schema()) => input,
        other => return LogicalPlan::Distinct(other).recompute_schema(),
    };
    let schema = Arc::clone(input.schema());
    let mut keys = Keys {
        exprs,
        grouping,
        unnested: Vec::new(),
    };
    let columns = schema
        .columns()
        .into_iter()
        .map(|column| keys.grouped(Expr::Column(column)))
        .collect::<Result<Vec<_>>>()?;
    let unnested = unnest(input, keys.unnested)?;
    let rows = LogicalPlanBuilder::from(unnested).project(columns)?.build()?;
    let rows = renamed(rows, &schema)?;
    Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(rows))))
}

/// The keys of a grouping, and the strings that have to be unnested for them.
struct Keys<'a> {
    exprs: &'a Exprs<'a>,
    grouping: Grouping,
    unnested: Vec<Expr>,
}

impl Keys<'_> {
    fn grouped(&mut self, expr: Expr) -> Result<Expr> {
        match expr {
            Expr::Alias(mut alias) => {
                alias.expr = Box::new(self.grouped(*alias.expr)?);
                Ok(Expr::Alias(alias))
            }
            Expr::GroupingSet(GroupingSet::Rollup(exprs)) => {
                Ok(Expr::GroupingSet(GroupingSet::Rollup(self.all(exprs)?)))
            }
            Expr::GroupingSet(GroupingSet::Cube(exprs)) => {
                Ok(Expr::GroupingSet(GroupingSet::Cube(self.all(exprs)?)))
            }
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                let sets = sets.into_iter().map(|exprs| self.all(exprs));
                let sets = sets.collect::<Result<Vec<_>>>()?;
                Ok(Expr::GroupingSet(GroupingSet::GroupingSets(sets)))
            }
            expr => {
                let name = match &expr {
                    Expr::Column(column) => column.name.clone(),
                    other => other.schema_name().to_string(),
                };
                let value = self.exprs.value(expr)?;
                if !self.exprs.is_multi_value(&value)? {
                    return Ok(value);
                }
                if self.grouping == Grouping::Refuses {
                    let error = format!(
                        "Column [{name}] is a multi-value string. Please wrap the column using MV_TO_ARRAY() to proceed \
                         further."
                    );
                    return self.exprs.only_value(value, &error);
                }
                let known = self.unnested.iter().position(|known| *known == value);
                let position = known.unwrap_or_else(|| {
                    self.unnested.push(value);
                    self.unnested.len() - 1
                });
                Ok(Expr::Column(Column::from_name(key_name(position))))
            }
        }
    }

    fn all(&mut self, exprs: Vec<Expr>) -> Result<Vec<Expr>> {
        exprs.into_iter().map(|expr| self.grouped(expr)).collect()
    }

    /// An aggregation; GROUPING names keys, and all others take what is grouped as it was.
    fn aggregated(&mut self, expr: Expr) -> Result<Expr> {
        let mut names_keys = false;
        expr.apply(|expr| {
            names_keys |= matches!(expr, Expr::AggregateFunction(call) if call.func.name() == "grouping");
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !names_keys {
            return self.exprs.value(expr);
        }
        let named = expr.transform_down(|expr| match expr {
            Expr::AggregateFunction(AggregateFunction { func, mut params }) if func.name() == "grouping" => {
                params.args = self.all(params.args)?;
                let call = Expr::AggregateFunction(AggregateFunction { func, params });
                Ok(Transformed::new(call, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(named.data)
    }
}

fn key_name(position: usize) -> String {
    format!("__value{position}")
}

/// The rows of `input` with one for each combination of the values of `strings`, which follow its columns.
fn unnest(input: Arc<LogicalPlan>, strings: Vec<Expr>) -> Result<LogicalPlan> {
    let input = Arc::unwrap_or_clone(input);
    if strings.is_empty() {
        return Ok(input);
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let count = strings.len();
    let strings = strings
        .into_iter()
        .enumerate()
        .map(|(position, string)| string.alias(key_name(position)));
    let all: Vec<Expr> = columns.chain(strings).collect();
    let mut plan = LogicalPlanBuilder::from(input).project(all)?;
    let options = UnnestOptions {
        null_handling: NullHandling::PreserveAndExpandEmpty,
        ..UnnestOptions::default()
    };
    for position in 0..count {
        let column = Column::from_name(key_name(position));
        plan = plan.unnest_columns_with_options(vec![column], options.clone())?;
    }
    plan.build()
}

/// The columns of `plan` under the names of `schema`.
fn renamed(plan: LogicalPlan, schema: &datafusion::common::DFSchema) -> Result<LogicalPlan> {
    let same = plan.schema().columns() == schema.columns();
    if same {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter();
    let names = schema.iter();
    // What GROUPING reads is not for others to see.
    let shown = columns
        .zip(names)
        .filter(|(column, _)| column.name != Aggregate::INTERNAL_GROUPING_ID);
    let exprs: Vec<Expr> = shown
        .map(|(column, (qualifier, field))| {
            if column.relation.as_ref() == qualifier && column.name == *field.name() {
                Expr::Column(column)
            } else {
                Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}
