//! Windows that DataFusion turned around, so that rows sorted the other way need not be sorted again, in a form that survives
//! the wire.
//!
//! datafusion-proto sends a function's name and arguments, but not that it looks the other way. LAG that does is LEAD, and
//! the n-th value is the n-th from the end.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::WindowFunctionDefinition;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Literal, lit};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, WindowAggExec, WindowUDFExpr, create_window_expr,
};
use datafusion::scalar::ScalarValue;

use super::function::aggregate_of;

/// The plan with windows that mean the same when they arrive.
///
/// # Errors
/// For a function that has no such form.
pub fn travelling(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let (exprs, input) = if let Some(window) = node.downcast_ref::<WindowAggExec>() {
            (window.window_expr(), window.input())
        } else if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
            (window.window_expr(), window.input())
        } else {
            return Ok(Transformed::no(node));
        };
        let schema = input.schema();
        let turned: Vec<_> = exprs
            .iter()
            .map(|expr| turned(expr, &schema))
            .collect::<Result<_>>()?;
        if turned.iter().all(Option::is_none) {
            return Ok(Transformed::no(node));
        }
        let turned = turned.into_iter().zip(exprs);
        let exprs = turned
            .map(|(turned, expr)| turned.unwrap_or_else(|| Arc::clone(expr)))
            .collect();
        let window: Arc<dyn ExecutionPlan> = match node.downcast_ref::<BoundedWindowAggExec>() {
            Some(bounded) => Arc::new(BoundedWindowAggExec::try_new(
                exprs,
                Arc::clone(input),
                bounded.input_order_mode.clone(),
                !bounded.partition_keys().is_empty(),
            )?),
            None => Arc::new(WindowAggExec::try_new(exprs, Arc::clone(input), true)?),
        };
        Ok(Transformed::yes(window))
    })?;
    Ok(plan.data)
}

/// The expression for one that looks the other way; `None` for one that need not be changed.
fn turned(
    expr: &Arc<dyn WindowExpr>,
    schema: &arrow::datatypes::SchemaRef,
) -> Result<Option<Arc<dyn WindowExpr>>> {
    let any = expr.as_any();
    if let Some(aggregate) = aggregate_of(expr.as_ref()) {
        return if aggregate.is_reversed() {
            not_impl_err!(
                "{} over rows in the order opposite to that of another window is not supported",
                aggregate.fun().name().to_uppercase()
            )
        } else {
            Ok(None)
        };
    }
    let Some(call) = any.downcast_ref::<StandardWindowExpr>().and_then(|standard| {
        standard
            .get_standard_func_expr()
            .as_any()
            .downcast_ref::<WindowUDFExpr>()
    }) else {
        return Ok(None);
    };
    if !looks_back(call) {
        return Ok(None);
    }
    let (name, args) = match call.fun().name() {
        "lag" => ("lead", call.args().to_vec()),
        "lead" => ("lag", call.args().to_vec()),
        "nth_value" => ("nth_value", from_the_end(call.args())),
        // FIRST_VALUE has become LAST_VALUE, and the others are the same either way.
        _ => return Ok(None),
    };
    let turned = create_window_expr(
        &WindowFunctionDefinition::WindowUDF(sarsen_functions::registry().udwf(name)?),
        expr.name().to_owned(),
        &args,
        expr.partition_by(),
        expr.order_by(),
        Arc::clone(expr.get_window_frame()),
        Arc::clone(schema),
        false,
        false,
        None,
    )?;
    Ok(Some(turned))
}

/// Only the debugging text tells; its end does not depend on the arguments.
fn looks_back(call: &WindowUDFExpr) -> bool {
    let text = format!("{call:?}");
    let flag = |nulls: bool| format!("is_reversed: true, ignore_nulls: {nulls} }}");
    text.ends_with(&flag(false)) || text.ends_with(&flag(true))
}

fn from_the_end(args: &[Arc<dyn PhysicalExpr>]) -> Vec<Arc<dyn PhysicalExpr>> {
    let mut args = args.to_vec();
    if let [_, nth] = args.as_mut_slice()
        && let Some(literal) = nth.downcast_ref::<Literal>()
        && let Ok(ScalarValue::Int64(Some(number))) =
            literal.value().cast_to(&arrow::datatypes::DataType::Int64)
    {
        *nth = lit(number.wrapping_neg());
    }
    args
}
