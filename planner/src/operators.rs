//! Operators whose operands DataFusion would refuse or take for something else.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use sarsen_functions::operand::{is_text, sql_name};
use sarsen_functions::types::is_json;
use sqlparser::ast::BinaryOperator;

/// Plans `||` as CONCAT, and arithmetic of texts as that of the numbers that they mean.
#[derive(Debug)]
pub struct DruidOperators;

impl ExprPlanner for DruidOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let types = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        check(&expr.op, &types.0, &types.1)?;
        if expr.op == BinaryOperator::StringConcat {
            let RawBinaryExpr { op, left, right } = expr;
            return Ok(
                match sarsen_functions::call("concat", vec![left.clone(), right.clone()]) {
                    Some(concat) => PlannerResult::Planned(concat),
                    None => PlannerResult::Original(RawBinaryExpr { op, left, right }),
                },
            );
        }
        if !is_arithmetic(&expr.op) {
            return Ok(PlannerResult::Original(expr));
        }
        // Times take intervals as texts do not.
        let has_time = [&types.0, &types.1].iter().any(|found| found.is_temporal());
        let number = |side: Expr, found: &DataType| {
            if is_text(found) && !has_time {
                cast(side, DataType::Float64)
            } else {
                side
            }
        };
        Ok(PlannerResult::Original(RawBinaryExpr {
            op: expr.op,
            left: number(expr.left, &types.0),
            right: number(expr.right, &types.1),
        }))
    }
}

/// Whether an operator is arithmetic, whose operands need not be alike.
pub fn is_arithmetic(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    )
}

fn orders(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq
    )
}

fn compares(op: &BinaryOperator) -> bool {
    orders(op) || matches!(op, BinaryOperator::Eq | BinaryOperator::NotEq)
}

/// Arrays and JSON have no arithmetic; JSON has no order and compares with nothing else.
fn check(op: &BinaryOperator, left: &DataType, right: &DataType) -> Result<()> {
    let is_array = |found: &DataType| matches!(found, DataType::List(_));
    let has_array = is_array(left) || is_array(right);
    let has_json = is_json(left) || is_json(right);
    let has_null = left.is_null() || right.is_null();
    let makes = is_arithmetic(op) || *op == BinaryOperator::StringConcat;
    let refused = (makes && (has_array || has_json))
        || (orders(op) && has_json && !has_null)
        || (compares(op)
            && !has_null
            && (is_json(left) != is_json(right) || is_array(left) != is_array(right)));
    if refused {
        return plan_err!(
            "Cannot apply '{op}' to arguments of type '<{}> {op} <{}>'",
            sql_name(left),
            sql_name(right)
        );
    }
    Ok(())
}
