//! Casts between types whose Arrow casts mean something else than Druid's.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use datafusion::scalar::ScalarValue;
use sarsen_functions::cast::druid_cast;
use sarsen_functions::operand::is_text;

/// Puts Druid's cast functions in place of casts, those that the user wrote and those that type coercion added.
#[derive(Debug)]
pub struct DruidCasts {
    /// The zone in which times and texts are cast; UTC without one.
    pub zone: Option<String>,
}

impl AnalyzerRule for DruidCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan
            .transform_up_with_subqueries(|plan| in_node(plan, self.zone.as_deref()))?
            .data)
    }

    fn name(&self) -> &str {
        "druid_casts"
    }
}

fn in_node(plan: LogicalPlan, zone: Option<&str>) -> Result<Transformed<LogicalPlan>> {
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
        let transformed = expr.transform_up(|expr| in_expr(expr, &schema, zone))?;
        Ok(transformed.update_data(|expr| name.restore(expr)))
    })?;
    if transformed.transformed {
        transformed.map_data(LogicalPlan::recompute_schema)
    } else {
        Ok(transformed)
    }
}

fn in_expr(expr: Expr, schema: &DFSchema, zone: Option<&str>) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    let from = inner.get_type(schema)?;
    let to = field.data_type();
    if let Some(zone) = zone
        && let Some(cast) = in_zone(inner, &from, to, zone)
    {
        return Ok(Transformed::yes(cast));
    }
    match druid_cast(inner, &from, to) {
        Some(cast) => Ok(Transformed::yes(cast)),
        None => Ok(Transformed::no(expr)),
    }
}

/// A cast of a time to a text or the other way round, in a zone.
fn in_zone(inner: &Expr, from: &DataType, to: &DataType, zone: &str) -> Option<Expr> {
    let is_time = |found: &DataType| matches!(found, DataType::Timestamp(..));
    let (name, pattern) = if is_time(from) && is_text(to) {
        ("time_format", lit("yyyy-MM-dd HH:mm:ss"))
    } else if is_text(from) && is_time(to) {
        ("time_parse", lit(ScalarValue::Utf8View(None)))
    } else {
        return None;
    };
    sarsen_functions::call(name, vec![inner.clone(), pattern, lit(zone)])
}
