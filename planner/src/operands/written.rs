//! Types that only the text tells: of literals, and of what is made from them.

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator, Value,
};

use crate::operators::is_arithmetic;
use crate::rewrite::calls;

/// The unit that TIMESTAMPADD and TIMESTAMPDIFF begin with, which is no column.
pub fn unit_of(function: &Function) -> Option<&Ident> {
    let name = function.name.to_string().to_uppercase();
    if !matches!(name.as_str(), "TIMESTAMPADD" | "TIMESTAMPDIFF") {
        return None;
    }
    match calls::arguments(function).unwrap_or_default().first() {
        Some(Expr::Identifier(unit)) => Some(unit),
        _ => None,
    }
}

/// The arguments of a function.
pub fn arguments(function: &Function) -> Vec<&Expr> {
    let mut arguments = calls::arguments(function).unwrap_or_default();
    if unit_of(function).is_some() {
        arguments.remove(0);
    }
    arguments
}

/// An UNNEST of FROM as a call.
pub fn unnest(arrays: &[Expr]) -> Expr {
    let arguments = arrays.iter().cloned().map(FunctionArgExpr::Expr);
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("UNNEST")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.map(FunctionArg::Unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The SQL type of an expression, such as `DECIMAL(3, 1)`; `None` where its plan must tell.
pub fn type_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => literal(&value.value),
        Expr::Nested(inner) => type_of(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        } => type_of(expr),
        Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
            arithmetic(op, &type_of(left)?, &type_of(right)?)
        }
        Expr::Array(array) => {
            let elements: Option<Vec<String>> = array.elem.iter().map(type_of).collect();
            let mut elements = elements?.into_iter();
            let first = elements.next()?;
            elements
                .all(|element| element == first)
                .then(|| format!("{first} ARRAY"))
        }
        Expr::Cast { data_type, .. } => named(data_type),
        Expr::Function(function) => named(calls::returning(function)?),
        _ => None,
    }
}

fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Number(digits, _) if digits.contains(['e', 'E']) => Some("DOUBLE".to_owned()),
        Value::Number(digits, _) => Some(match digits.split_once('.') {
            Some((whole, fraction)) => decimal(whole.len() + fraction.len(), fraction.len()),
            None if digits.parse::<i32>().is_ok() => "INTEGER".to_owned(),
            None => "BIGINT".to_owned(),
        }),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => {
            Some(format!("CHAR({})", text.chars().count()))
        }
        Value::Boolean(_) => Some("BOOLEAN".to_owned()),
        Value::Null => Some("NULL".to_owned()),
        _ => None,
    }
}

fn decimal(precision: usize, scale: usize) -> String {
    format!("DECIMAL({precision}, {scale})")
}

/// Precision and scale of a decimal; an INTEGER has ten digits, a BIGINT nineteen.
fn digits(name: &str) -> Option<(usize, usize)> {
    match name {
        "INTEGER" => return Some((10, 0)),
        "BIGINT" => return Some((19, 0)),
        _ => {}
    }
    let (precision, scale) = name
        .strip_prefix("DECIMAL(")?
        .strip_suffix(')')?
        .split_once(", ")?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

/// SQL's rules for sums, differences and products of exact numbers.
fn arithmetic(op: &BinaryOperator, left: &str, right: &str) -> Option<String> {
    let is_whole = |name: &str| matches!(name, "INTEGER" | "BIGINT");
    if is_whole(left) && is_whole(right) {
        return Some(if left == "BIGINT" { left } else { right }.to_owned());
    }
    let ((left, left_scale), (right, right_scale)) = (digits(left)?, digits(right)?);
    match op {
        BinaryOperator::Plus | BinaryOperator::Minus => {
            let scale = left_scale.max(right_scale);
            let whole = left
                .saturating_sub(left_scale)
                .max(right.saturating_sub(right_scale));
            Some(decimal((whole + scale + 1).min(19), scale))
        }
        BinaryOperator::Multiply => Some(decimal((left + right).min(19), left_scale + right_scale)),
        _ => None,
    }
}

/// Calcite's name of a type as it is written.
fn named(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean | DataType::Bool => "BOOLEAN".to_owned(),
        DataType::Int(_) | DataType::Integer(_) => "INTEGER".to_owned(),
        DataType::BigInt(_) => "BIGINT".to_owned(),
        DataType::Float(_) => "FLOAT".to_owned(),
        DataType::Double(_) | DataType::DoublePrecision => "DOUBLE".to_owned(),
        DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_) => decimal(19, 0),
        DataType::Varchar(_) | DataType::CharacterVarying(_) => "VARCHAR".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP(3)".to_owned(),
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => {
            format!("{} ARRAY", named(element)?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::GenericDialect;
    use sqlparser::parser::Parser;

    use super::type_of;

    #[test]
    fn literals_have_the_types_of_their_digits() {
        for (text, name) in [
            ("1", Some("INTEGER")),
            ("-3000000000", Some("BIGINT")),
            ("0.1234", Some("DECIMAL(5, 4)")),
            ("0.1 + 0.1", Some("DECIMAL(3, 1)")),
            ("1 + 1", Some("INTEGER")),
            ("'abc'", Some("CHAR(3)")),
            ("ARRAY[1, 2]", Some("INTEGER ARRAY")),
            ("1e3", Some("DOUBLE")),
            ("a + 1", None),
        ] {
            let expr = Parser::new(&GenericDialect {})
                .try_with_sql(text)
                .unwrap()
                .parse_expr()
                .unwrap();
            assert_eq!(type_of(&expr).as_deref(), name, "{text}");
        }
    }
}
