//! Values for the `?`s of a statement.

use std::ops::ControlFlow;

use sqlparser::ast::TimezoneInfo;
use sqlparser::ast::{CastKind, DataType, Expr, Query, Value, VisitMut, VisitorMut};

use crate::error::PlanError;
use crate::extend::place;
use crate::request::Parameter;

/// Puts `parameters` in place of the `?`s, in order.
///
/// # Errors
/// When there are fewer values than `?`s, or a value is not of its type.
pub fn bind(query: &mut Query, parameters: &[Parameter]) -> Result<(), PlanError> {
    let mut binder = Binder {
        parameters: parameters.iter(),
        error: None,
    };
    let _ = VisitMut::visit(query, &mut binder);
    match binder.error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

struct Binder<'a> {
    parameters: std::slice::Iter<'a, Parameter>,
    error: Option<PlanError>,
}

impl VisitorMut for Binder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        if !matches!(&value.value, Value::Placeholder(text) if text == "?") {
            return ControlFlow::Continue(());
        }
        let bound = match self.parameters.next() {
            Some(parameter) => literal(parameter),
            None => Err(PlanError::invalid("Illegal use of dynamic parameter").at(place(value.span))),
        };
        match bound {
            Ok(literal) => {
                *expr = literal;
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn literal(parameter: &Parameter) -> Result<Expr, PlanError> {
    let text = match &parameter.value {
        serde_json::Value::Null => return Ok(Expr::Value(Value::Null.into())),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let sql_type = parameter.sql_type.to_uppercase();
    let refuse = || PlanError::invalid(format!("Parameter value [{text}] is not a {sql_type}"));
    let quoted = Expr::Value(Value::SingleQuotedString(text.clone()).into());
    let cast = |data_type| Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(quoted.clone()),
        data_type,
        array: false,
        format: None,
    };
    Ok(match sql_type.as_str() {
        "VARCHAR" | "CHAR" => quoted,
        "BIGINT" | "INTEGER" | "SMALLINT" | "TINYINT" => {
            text.parse::<i64>().map_err(|_| refuse())?;
            cast(DataType::BigInt(None))
        }
        "DOUBLE" | "FLOAT" | "REAL" | "DECIMAL" | "NUMERIC" => {
            text.parse::<f64>().map_err(|_| refuse())?;
            cast(DataType::DoublePrecision)
        }
        "BOOLEAN" => Expr::Value(Value::Boolean(text.parse().map_err(|_| refuse())?).into()),
        "TIMESTAMP" | "DATE" => match text.parse::<i64>() {
            Ok(_) => crate::rewrite::call("millis_to_timestamp", vec![cast(DataType::BigInt(None))]),
            Err(_) => cast(DataType::Timestamp(None, TimezoneInfo::None)),
        },
        _ => {
            return Err(PlanError::invalid(format!(
                "Parameters of type {sql_type} are not supported"
            )));
        }
    })
}
