//! Comparisons of texts with numbers.
//!
//! Druid compares a text with a literal number as texts when it asks for equality, and as numbers when it asks for an
//! order; a text that is no number is then NULL.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, InList};
use datafusion::logical_expr::utils::{merge_schema, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, Like, LogicalPlan, Operator, cast, lit, not,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::utils::NamePreserver;
use datafusion::scalar::ScalarValue;
use sarsen_functions::operand::{is_text, sql_name};
use sarsen_functions::types::is_json;
use sarsen_functions::{JSON_HAS_VALUE as HAS_VALUE, number_text};

use crate::error::MIXED_TYPES;

#[derive(Debug)]
pub struct DruidComparisons;

impl AnalyzerRule for DruidComparisons {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_node)?.data)
    }

    fn name(&self) -> &str {
        "druid_comparisons"
    }
}

fn in_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    if let LogicalPlan::Join(join) = &plan {
        for (left, _) in &join.on {
            check_join(&left.get_type(&schema)?)?;
        }
        if let Some(filter) = &join.filter {
            filter.apply(|expr| {
                if let Expr::BinaryExpr(binary) = expr
                    && binary.op == Operator::Eq
                {
                    check_join(&binary.left.get_type(&schema)?)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
    }
    if let LogicalPlan::Filter(filter) = &plan
        && let LogicalPlan::Join(join) = filter.input.as_ref()
    {
        for condition in split_conjunction(&filter.predicate) {
            check_sides(condition, join, &schema)?;
        }
    }
    let filters = matches!(plan, LogicalPlan::Filter(_));
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let transformed = expr.transform_up(|expr| match filters {
            true => json_null(expr).transform_data(|expr| in_expr(expr, &schema)),
            false => in_expr(expr, &schema),
        })?;
        Ok(transformed.update_data(|expr| name.restore(expr)))
    })
}

fn in_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) => comparison(binary, schema),
        Expr::InList(list) => in_list(list, schema),
        Expr::Like(like) => self::like(like, schema),
        Expr::Between(between) => {
            let found = between.expr.get_type(schema)?;
            if is_json(&found) {
                let name = if between.negated { "NOT BETWEEN" } else { "BETWEEN" };
                let (low, high) = (between.low.get_type(schema)?, between.high.get_type(schema)?);
                return plan_err!(
                    "Cannot apply '{name} ASYMMETRIC' to arguments of type '<{}> {name} ASYMMETRIC <{}> AND <{}>'",
                    sql_name(&found),
                    sql_name(&low),
                    sql_name(&high)
                );
            }
            Ok(Transformed::no(Expr::Between(between)))
        }
        Expr::InSubquery(subquery) => {
            check_join(&subquery.expr.get_type(schema)?)?;
            Ok(Transformed::no(Expr::InSubquery(subquery)))
        }
        Expr::ScalarFunction(function) if function.func.name() == "coalesce" => {
            let types = function.args.iter().map(|argument| argument.get_type(schema));
            check_arrays(&types.collect::<Result<Vec<_>>>()?)?;
            Ok(Transformed::no(Expr::ScalarFunction(function)))
        }
        Expr::AggregateFunction(function) => {
            check_aggregate(&function, schema)?;
            Ok(Transformed::no(Expr::AggregateFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn comparison(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = binary;
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    if !is_comparison(op) {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    }
    let is_equality = matches!(
        op,
        Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom
    );
    let mixes = |one: &DataType, other: &DataType| is_array_of(one, is_text) && is_array_of(other, is_number);
    let (left, right) = if mixes(&left_type, &right_type) || mixes(&right_type, &left_type) {
        let texts = DataType::new_list(DataType::Utf8View, true);
        let as_texts = |side: Box<Expr>| Box::new(cast(*side, texts.clone()));
        (as_texts(left), as_texts(right))
    } else if is_text(&left_type) && is_number(&right_type) {
        let (left, right) = text_and_number(*left, *right, &right_type, is_equality);
        (Box::new(left), Box::new(right))
    } else if is_number(&left_type) && is_text(&right_type) {
        let (right, left) = text_and_number(*right, *left, &left_type, is_equality);
        (Box::new(left), Box::new(right))
    } else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// `JSON_VALUE(column, path) IS NULL` in a filter asks for what Druid's column has at the path, and that may be an array
/// where JSON_VALUE gives NULL.
fn json_null(expr: Expr) -> Transformed<Expr> {
    let asked = |inner: &Expr| match inner {
        Expr::ScalarFunction(function) if function.func.name() == "json_value" => {
            let is_column = matches!(function.args.first(), Some(Expr::Column(_)));
            let has_value = is_column.then(|| sarsen_functions::call(HAS_VALUE, function.args.clone()));
            has_value.flatten()
        }
        _ => None,
    };
    match &expr {
        Expr::IsNull(inner) => asked(inner).map(not),
        Expr::IsNotNull(inner) => asked(inner),
        _ => None,
    }
    .map_or_else(|| Transformed::no(expr), Transformed::yes)
}

fn is_array_of(found: &DataType, is_element: impl Fn(&DataType) -> bool) -> bool {
    matches!(found, DataType::List(element) if is_element(element.data_type()))
}

fn text_and_number(text: Expr, number: Expr, number_type: &DataType, is_equality: bool) -> (Expr, Expr) {
    if let Some(typed) = typed_value(&text, number_type) {
        return (typed, number);
    }
    match &number {
        Expr::Literal(value, _) if is_equality && !matches!(text, Expr::Literal(..)) => {
            match number_text(value) {
                Some(shown) => (text, lit(shown)),
                None => (text, number),
            }
        }
        _ => (cast(text, number_type.clone()), number),
    }
}

/// JSON_VALUE without RETURNING takes the type of what it is compared with.
fn typed_value(expr: &Expr, number_type: &DataType) -> Option<Expr> {
    let Expr::ScalarFunction(function) = expr else {
        return None;
    };
    if function.func.name() != "json_value" {
        return None;
    }
    let name = if number_type.is_integer() {
        "__json_value_long"
    } else {
        "__json_value_double"
    };
    sarsen_functions::call(name, function.args.clone())
}

fn in_list(mut list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let found = list.expr.get_type(schema)?;
    if !is_text(&found) {
        return Ok(Transformed::no(Expr::InList(list)));
    }
    let mut changed = false;
    for item in &mut list.list {
        if let Expr::Literal(value, _) = item
            && let Some(shown) = number_text(value)
        {
            *item = Expr::Literal(ScalarValue::Utf8View(Some(shown)), None);
            changed = true;
        }
    }
    let list = Expr::InList(list);
    Ok(if changed {
        Transformed::yes(list)
    } else {
        Transformed::no(list)
    })
}

/// LIKE reads numbers and times as the texts that CAST makes of them.
fn like(mut like: Like, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let found = like.expr.get_type(schema)?;
    if is_json(&found) || matches!(found, DataType::List(_)) {
        let name = if like.negated { "NOT LIKE" } else { "LIKE" };
        return plan_err!(
            "Cannot apply '{name}' to arguments of type '{name}(<{}>, <CHAR({})>)'",
            sql_name(&found),
            match like.pattern.as_ref() {
                Expr::Literal(pattern, _) => pattern
                    .try_as_str()
                    .flatten()
                    .map_or(1, |text| text.chars().count()),
                _ => 1,
            }
        );
    }
    if is_text(&found) || found.is_nested() || found.is_null() {
        return Ok(Transformed::no(Expr::Like(like)));
    }
    like.expr = Box::new(cast(*like.expr, DataType::Utf8View));
    Ok(Transformed::yes(Expr::Like(like)))
}

/// Druid joins, and looks into subqueries, by plain values.
fn check_join(key: &DataType) -> Result<()> {
    if is_json(key) || matches!(key, DataType::List(_)) {
        return plan_err!(
            "Cannot join when the join condition has column of type [{}]",
            sql_name(key)
        );
    }
    Ok(())
}

/// `FROM a, b WHERE a.x = b.y` is a join, too.
fn check_sides(condition: &Expr, join: &Join, schema: &DFSchema) -> Result<()> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return Ok(());
    };
    let is_of = |side: &LogicalPlan, expr: &Expr| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| side.schema().has_column(column))
    };
    let joins = |left: &Expr, right: &Expr| is_of(&join.left, left) && is_of(&join.right, right);
    if joins(left, right) || joins(right, left) {
        check_join(&left.get_type(schema)?)?;
    }
    Ok(())
}

/// Arrays of different kinds of elements have no type in common.
fn check_arrays(types: &[DataType]) -> Result<()> {
    let kind = |found: &DataType| match found {
        DataType::List(element) if element.data_type().is_null() => None,
        DataType::List(element) => Some((
            is_text(element.data_type()),
            *element.data_type() == DataType::Boolean,
            element.data_type().is_nested(),
        )),
        _ => None,
    };
    let mut kinds = types.iter().filter_map(kind);
    let first = kinds.next();
    if kinds.any(|kind| Some(kind) != first) {
        return plan_err!("{MIXED_TYPES}");
    }
    Ok(())
}

/// Arrays and JSON have no least and no greatest value, and no sum.
fn check_aggregate(function: &AggregateFunction, schema: &DFSchema) -> Result<()> {
    let name = function.func.name();
    let Some(argument) = function.params.args.first() else {
        return Ok(());
    };
    if !matches!(name, "min" | "max" | "sum" | "avg") {
        return Ok(());
    }
    let found = argument.get_type(schema)?;
    if is_json(&found) || matches!(found, DataType::List(_)) {
        return plan_err!(
            "Aggregation [{}] does not support type [{}]",
            name.to_uppercase(),
            sql_name(&found)
        );
    }
    Ok(())
}
