//! SQL type names of a query's columns, which Arrow's types do not tell: `1` is an INTEGER, `'a'` a CHAR.
//!
//! Reads the plan as the user wrote it, before types are coerced.

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator};

use crate::types::sql_type;

/// Functions whose results are INTEGER, where Druid's others of that kind are BIGINT.
const INTEGER_FUNCTIONS: [&str; 7] = [
    "array_length",
    "char_length",
    "character_length",
    "length",
    "mv_length",
    "strlen",
    "strpos",
];

/// SQL type name of each output column of `plan`.
pub fn output_types(plan: &LogicalPlan) -> Vec<String> {
    let types = match plan {
        LogicalPlan::Projection(node) => {
            let input = output_types(&node.input);
            let schema = node.input.schema();
            node.expr
                .iter()
                .map(|expr| expr_type(expr, schema, &input))
                .collect()
        }
        LogicalPlan::SubqueryAlias(node) => output_types(&node.input),
        LogicalPlan::Filter(node) => output_types(&node.input),
        LogicalPlan::Sort(node) => output_types(&node.input),
        LogicalPlan::Limit(node) => output_types(&node.input),
        LogicalPlan::Distinct(Distinct::All(input)) => output_types(input),
        LogicalPlan::Aggregate(node) => {
            let input = output_types(&node.input);
            let schema = node.input.schema();
            let exprs = node.group_expr.iter().chain(&node.aggr_expr);
            exprs.map(|expr| expr_type(expr, schema, &input)).collect()
        }
        LogicalPlan::Join(node) => {
            let mut types = output_types(&node.left);
            types.extend(output_types(&node.right));
            types
        }
        LogicalPlan::Union(node) => node
            .inputs
            .iter()
            .map(|input| output_types(input))
            .reduce(|left, right| left.into_iter().zip(right).map(|(a, b)| wider(a, b)).collect())
            .unwrap_or_default(),
        LogicalPlan::Values(node) => {
            let empty = DFSchema::empty();
            let rows = node
                .values
                .iter()
                .map(|row| row.iter().map(|expr| value_type(expr, &empty)));
            rows.fold(Vec::new(), |types: Vec<Option<String>>, row| {
                if types.is_empty() {
                    return row.collect();
                }
                types.into_iter().zip(row).map(|(a, b)| either(a, b)).collect()
            })
            .into_iter()
            .map(|found| found.unwrap_or_else(|| "VARCHAR".to_owned()))
            .collect()
        }
        _ => Vec::new(),
    };
    let fields = plan.schema().fields();
    if types.len() == fields.len() {
        return types;
    }
    // GROUPING SETS and the like add columns of their own.
    fields.iter().map(|field| sql_type(field).to_owned()).collect()
}

/// `None` for NULL, which takes any type.
fn value_type(expr: &Expr, schema: &DFSchema) -> Option<String> {
    match expr {
        Expr::Literal(value, _) if value.is_null() => None,
        other => Some(expr_type(other, schema, &[])),
    }
}

fn either(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(wider(a, b)),
        (a, b) => a.or(b),
    }
}

/// The type that holds values of both.
fn wider(a: String, b: String) -> String {
    const NUMBERS: [&str; 5] = ["INTEGER", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE"];
    let rank = |name: &str| NUMBERS.iter().position(|number| *number == name);
    match (rank(&a), rank(&b)) {
        (Some(left), Some(right)) => {
            if left >= right {
                a
            } else {
                b
            }
        }
        _ if a == "CHAR" => b,
        _ => a,
    }
}

fn expr_type(expr: &Expr, schema: &DFSchema, types: &[String]) -> String {
    let given = || {
        datafusion::logical_expr::ExprSchemable::to_field(expr, schema)
            .map_or_else(|_| "OTHER".to_owned(), |(_, field)| sql_type(&field).to_owned())
    };
    match expr {
        Expr::Alias(alias) => expr_type(&alias.expr, schema, types),
        Expr::Column(column) => schema
            .index_of_column(column)
            .ok()
            .and_then(|index| types.get(index).cloned())
            .unwrap_or_else(given),
        Expr::Literal(value, _) => literal_type(value).map_or_else(given, str::to_owned),
        Expr::Negative(inner) => expr_type(inner, schema, types),
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => {
            let (left, right) = (
                expr_type(&binary.left, schema, types),
                expr_type(&binary.right, schema, types),
            );
            let both_numbers = ![&left, &right]
                .iter()
                .any(|side| ["TIMESTAMP", "VARCHAR", "CHAR", "OTHER"].contains(&side.as_str()));
            if both_numbers { wider(left, right) } else { given() }
        }
        Expr::Case(case) => {
            let branches = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            let branches = branches.chain(case.else_expr.as_deref());
            branches
                .map(|branch| match branch {
                    Expr::Literal(value, _) if value.is_null() => None,
                    other => Some(expr_type(other, schema, types)),
                })
                .reduce(either)
                .flatten()
                .unwrap_or_else(given)
        }
        Expr::AggregateFunction(function) => {
            let argument = function.params.args.first();
            match (function.func.name(), argument) {
                ("count", _) => "BIGINT".to_owned(),
                ("sum", Some(argument)) => match expr_type(argument, schema, types).as_str() {
                    "INTEGER" | "BIGINT" => "BIGINT".to_owned(),
                    _ => given(),
                },
                ("min" | "max", Some(argument)) => expr_type(argument, schema, types),
                _ => given(),
            }
        }
        Expr::ScalarFunction(function) if INTEGER_FUNCTIONS.contains(&function.func.name()) => {
            "INTEGER".to_owned()
        }
        _ => given(),
    }
}

fn is_arithmetic(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
    )
}

fn literal_type(value: &ScalarValue) -> Option<&'static str> {
    Some(match value {
        ScalarValue::Int64(Some(number)) if i32::try_from(*number).is_ok() => "INTEGER",
        ScalarValue::Int64(Some(_)) | ScalarValue::UInt64(Some(_)) => "BIGINT",
        ScalarValue::Float64(Some(_)) => "DECIMAL",
        ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)) => "CHAR",
        _ => return None,
    })
}
