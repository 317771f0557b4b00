//! Multi-value strings made explicit.
//!
//! A statement is planned with multi-value strings as the VARCHARs that Druid's SQL takes them for. This rule gives
//! every column its real type, from the tables upwards, and puts in the place of what stood there what Druid does with
//! several values: expressions are evaluated for each ([`exprs`]), conditions hold where they hold for any, GROUP BY and
//! DISTINCT unnest ([`groups`]). Nothing after it knows of multi-value strings.
//!
//! Druid: querying/multi-value-dimensions.md

mod aggregates;
mod exprs;
mod groups;
mod map;
mod sets;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::default_table_source::{provider_as_source, source_as_provider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::logical_plan::{Filter, TableScanBuilder};
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator, TableScan, Unnest,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use sarsen_functions::multivalue::{explicit, explicit_name, whole_arguments};
use sarsen_functions::types::is_multi_value;

use self::exprs::Exprs;
use super::{Meaning, unnest};
use crate::tables::{DatasourceTable, ExternTable};

/// What GROUP BY makes of several values, the context's `groupByEnableMultiValueUnnesting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Each value is a row.
    #[default]
    Unnests,
    /// A row with several values is an error.
    Refuses,
}

#[derive(Debug, Default)]
pub struct MultiValueStrings {
    pub meaning: Meaning,
}

impl AnalyzerRule for MultiValueStrings {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = unnest::flattened(plan)?;
        let several = taken_whole(&plan)?;
        Ok(plan
            .transform_up_with_subqueries(|plan| match plan {
                LogicalPlan::TableScan(scan) => typed(scan, &several),
                other => self.in_node(other, config),
            })?
            .data)
    }

    fn name(&self) -> &str {
        "multi_value_strings"
    }
}

impl MultiValueStrings {
    fn in_node(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<Transformed<LogicalPlan>> {
        if !is_touched(&plan)? {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let exprs = Exprs {
            schema: &schema,
            config,
            zone: self.meaning.zone.as_deref(),
        };
        let plan = match plan {
            LogicalPlan::Filter(filter) => {
                let predicate = exprs.condition(filter.predicate)?;
                LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)
            }
            LogicalPlan::Join(join) => joined(join, &exprs)?,
            LogicalPlan::Aggregate(aggregate) => groups::aggregate(aggregate, &exprs, self.meaning.grouping)?,
            LogicalPlan::Distinct(distinct) => groups::distinct(distinct, &exprs, self.meaning.grouping)?,
            LogicalPlan::Union(union) => sets::union(union)?,
            LogicalPlan::Unnest(node) => unnested(node)?,
            other => {
                let names = NamePreserver::new(&other);
                let explicit = other.map_expressions(|expr| {
                    let name = names.save(&expr);
                    Ok(Transformed::yes(name.restore(exprs.value(expr)?)))
                })?;
                explicit.data.recompute_schema()?
            }
        };
        Ok(Transformed::yes(plan))
    }
}

/// Whether multi-value strings come into a node or are made in it.
fn is_touched(plan: &LogicalPlan) -> Result<bool> {
    let comes_in = |plan: &&LogicalPlan| has_multi_value(plan.schema());
    if plan.inputs().iter().any(comes_in) {
        return Ok(true);
    }
    let mut is_made = false;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::ScalarFunction(function) = expr
                && explicit_name(function.func.name()).is_some()
            {
                is_made = true;
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(is_made)
}

fn has_multi_value(schema: &DFSchema) -> bool {
    schema
        .fields()
        .iter()
        .any(|field| is_multi_value(field.data_type()))
}

/// Names of columns that some function takes for several values.
fn taken_whole(plan: &LogicalPlan) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(function) = expr {
                    let positions = whole_arguments(function.func.name()).iter();
                    let columns = positions.filter_map(|position| function.args.get(*position)?.try_as_col());
                    names.extend(columns.map(|column| column.name.clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names)
}

/// A table's columns with their real types: a datasource's are known, a file's are what the statement takes them for.
fn typed(scan: TableScan, several: &HashSet<String>) -> Result<Transformed<LogicalPlan>> {
    let provider = source_as_provider(&scan.source).ok();
    let source = provider.and_then(|provider| {
        if let Some(table) = provider.downcast_ref::<DatasourceTable>() {
            return Some(provider_as_source(Arc::new(table.explicit()?)));
        }
        let table = provider.downcast_ref::<ExternTable>()?;
        Some(provider_as_source(Arc::new(table.explicit(several)?)))
    });
    let Some(source) = source else {
        return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
    };
    let mut scan = scan;
    scan.source = source;
    let scan = TableScanBuilder::from(scan).build()?;
    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
}

/// Druid joins by single values, and only finds out from the rows.
fn joined(mut join: Join, exprs: &Exprs<'_>) -> Result<LogicalPlan> {
    let key = |expr: Expr| {
        let expr = exprs.value(expr)?;
        if is_multi_value(&expr.get_type(exprs.schema)?) {
            exprs.only_value(expr, "Joining against a multi-value dimension is not supported.")
        } else {
            Ok(expr)
        }
    };
    join.on = join
        .on
        .into_iter()
        .map(|(left, right)| Ok((key(left)?, key(right)?)))
        .collect::<Result<_>>()?;
    if let Some(filter) = join.filter.take() {
        let conditions = split_conjunction_owned(filter)
            .into_iter()
            .map(|condition| match condition {
                // What the optimiser may make a key of.
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if op == Operator::Eq => {
                    Ok(Expr::BinaryExpr(BinaryExpr {
                        left: Box::new(key(*left)?),
                        op,
                        right: Box::new(key(*right)?),
                    }))
                }
                other => exprs.condition(other),
            });
        join.filter = conjunction(conditions.collect::<Result<Vec<_>>>()?);
    }
    LogicalPlan::Join(join).recompute_schema()
}

/// `UNNEST(MV_TO_ARRAY(x))` gives a row for a string without a value; other arrays that are NULL give none.
fn unnested(mut node: Unnest) -> Result<LogicalPlan> {
    if let LogicalPlan::Projection(projection) = node.input.as_ref() {
        let input = LogicalPlan::Projection(projection.clone());
        let names = NamePreserver::new(&input);
        let input = input.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(match expr.clone().unalias() {
                Expr::ScalarFunction(function) if function.func.name() == "mv_to_array" => {
                    match sarsen_functions::call(explicit::UNNESTED_VALUES, function.args) {
                        Some(values) => Transformed::yes(name.restore(values)),
                        None => Transformed::no(expr),
                    }
                }
                _ => Transformed::no(expr),
            })
        })?;
        node.input = Arc::new(input.data.recompute_schema()?);
    }
    LogicalPlan::Unnest(node).recompute_schema()
}

/// The type of the values of a multi-value string.
fn value_type(found: &DataType) -> DataType {
    match found {
        DataType::LargeList(value) => value.data_type().clone(),
        other => other.clone(),
    }
}
