//! Casts between types whose Arrow casts mean something else than Druid's.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use sarsen_functions::cast::druid_cast;

/// Puts Druid's cast functions in place of casts, those that the user wrote and those that type coercion added.
#[derive(Debug)]
pub struct DruidCasts;

impl AnalyzerRule for DruidCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_node)?.data)
    }

    fn name(&self) -> &str {
        "druid_casts"
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            &scan.source.schema(),
        )?);
    }
    let names = NamePreserver::new(&plan);
    let transformed = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let transformed = expr.transform_up(|expr| in_expr(expr, &schema))?;
        Ok(transformed.update_data(|expr| name.restore(expr)))
    })?;
    if transformed.transformed {
        transformed.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(transformed)
    }
}

fn in_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let from = inner.get_type(schema)?;
    match druid_cast(inner, &from, field.data_type()) {
        Some(cast) => Ok(Transformed::yes(cast)),
        None => Ok(Transformed::no(expr)),
    }
}
