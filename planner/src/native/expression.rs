//! Expressions in Druid's native language (Druid: querying/math-expr.md).

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use serde_json::{Value, json};

use crate::types::native_type;

/// Characters beside letters and digits that a native string literal holds as they are.
const SAFE: &str = " ,._-;:(){}[]<>!@#$%^&*`~?/";

/// Native type of an expression over `schema`.
pub fn type_of(expr: &Expr, schema: &DFSchema) -> Option<String> {
    expr.to_field(schema).ok().map(|(_, field)| native_type(&field))
}

/// The text of an expression; `None` when it has none here.
pub fn text(expr: &Expr, schema: &DFSchema) -> Option<String> {
    let nested = |expr: &Expr| text(expr, schema);
    Some(match expr {
        Expr::Alias(alias) => nested(&alias.expr)?,
        Expr::Column(column) => format!("\"{}\"", escaped(&column.name)),
        Expr::Literal(value, _) => literal(value)?,
        Expr::BinaryExpr(binary) => {
            let (left, right) = (nested(&binary.left)?, nested(&binary.right)?);
            if binary.op == Operator::StringConcat {
                format!("concat({left},{right})")
            } else {
                format!("({left} {} {right})", operator(binary.op)?)
            }
        }
        Expr::Not(inner) => format!("(! {})", nested(inner)?),
        Expr::Negative(inner) => format!("(- {})", nested(inner)?),
        Expr::IsNull(inner) => format!("isnull({})", nested(inner)?),
        Expr::IsNotNull(inner) => format!("notnull({})", nested(inner)?),
        Expr::IsTrue(inner) => format!("istrue({})", nested(inner)?),
        Expr::IsFalse(inner) => format!("isfalse({})", nested(inner)?),
        Expr::Like(like) if !like.negated && !like.case_insensitive => {
            format!("like({},{})", nested(&like.expr)?, nested(&like.pattern)?)
        }
        Expr::Between(between) if !between.negated => {
            let (value, low, high) = (
                nested(&between.expr)?,
                nested(&between.low)?,
                nested(&between.high)?,
            );
            format!("(({value} >= {low}) && ({value} <= {high}))")
        }
        Expr::Case(case) => {
            let mut parts = Vec::new();
            for (when, then) in &case.when_then_expr {
                let condition = nested(when)?;
                parts.push(match &case.expr {
                    Some(operand) => format!("({} == {condition})", nested(operand)?),
                    None => condition,
                });
                parts.push(nested(then)?);
            }
            let otherwise = case.else_expr.as_deref().map(nested);
            parts.push(otherwise.unwrap_or_else(|| Some("null".to_owned()))?);
            format!("case_searched({})", parts.join(","))
        }
        Expr::Cast(cast) => {
            let from = type_of(&cast.expr, schema)?;
            let to = native_type(&cast.field);
            let inner = nested(&cast.expr)?;
            let to_time = matches!(cast.field.data_type(), arrow::datatypes::DataType::Timestamp(..));
            match (from.as_str(), to_time) {
                ("STRING", true) => format!("timestamp_parse({inner},null,'UTC')"),
                _ if from == to => inner,
                _ => format!("CAST({inner}, '{to}')"),
            }
        }
        Expr::ScalarFunction(function) => call(function, schema)?,
        _ => return None,
    })
}

fn call(function: &ScalarFunction, schema: &DFSchema) -> Option<String> {
    let arguments: Vec<String> = function
        .args
        .iter()
        .map(|argument| text(argument, schema))
        .collect::<Option<_>>()?;
    let argument = |position: usize| arguments.get(position).map_or("null", String::as_str);
    let zone = |position: usize| arguments.get(position).map_or("'UTC'", String::as_str);
    Some(match function.func.name() {
        "millis_to_timestamp" | "timestamp_to_millis" => argument(0).to_owned(),
        "time_parse" => format!("timestamp_parse({},{},{})", argument(0), argument(1), zone(2)),
        "time_format" => format!("timestamp_format({},{},{})", argument(0), argument(1), zone(2)),
        "time_floor" | "time_ceil" => format!(
            "{}({},{},{},{})",
            function.func.name().replacen("time", "timestamp", 1),
            argument(0),
            argument(1),
            argument(2),
            zone(3)
        ),
        "time_shift" => format!(
            "timestamp_shift({},{},{},{})",
            argument(0),
            argument(1),
            argument(2),
            zone(3)
        ),
        "make_array" => format!("array({})", arguments.join(",")),
        "character_length" | "char_length" | "length" => format!("strlen({})", argument(0)),
        "btrim" if arguments.len() == 1 => format!("trim({},' ')", argument(0)),
        "ltrim" | "rtrim" if arguments.len() == 1 => {
            format!("{}({},' ')", function.func.name(), argument(0))
        }
        name => format!("{name}({})", arguments.join(",")),
    })
}

fn operator(operator: Operator) -> Option<&'static str> {
    Some(match operator {
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::Eq => "==",
        Operator::NotEq => "!=",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::And => "&&",
        Operator::Or => "||",
        _ => return None,
    })
}

fn literal(value: &ScalarValue) -> Option<String> {
    Some(match json_literal(value)? {
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("'{}'", escaped(&text)),
        Value::Number(number) => number.to_string(),
        _ => return None,
    })
}

/// A literal as JSON: times as ms, booleans as 0 and 1.
pub fn json_literal(value: &ScalarValue) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    Some(match value {
        ScalarValue::Int64(Some(number)) | ScalarValue::TimestampMillisecond(Some(number), _) => {
            json!(number)
        }
        ScalarValue::Int32(Some(number)) => json!(number),
        ScalarValue::UInt64(Some(number)) => json!(number),
        ScalarValue::TimestampNanosecond(Some(nanos), _) => json!(nanos.div_euclid(1_000_000)),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => json!(micros.div_euclid(1000)),
        ScalarValue::TimestampSecond(Some(seconds), _) => json!(seconds.saturating_mul(1000)),
        ScalarValue::Float64(Some(number)) => json!(number),
        ScalarValue::Float32(Some(number)) => json!(number),
        ScalarValue::Boolean(Some(flag)) => json!(i64::from(*flag)),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => json!(text),
        _ => return None,
    })
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_alphanumeric() || SAFE.contains(character) {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04X}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_is_neither_letter_nor_digit_nor_safe_is_escaped() {
        assert_eq!(escaped("00042|x"), "00042\\u007Cx");
        assert_eq!(escaped("#en.wikipedia é本"), "#en.wikipedia é本");
        assert_eq!(escaped("it's"), "it\\u0027s");
    }
}
