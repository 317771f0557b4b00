//! Calls with a syntax of their own as plain calls of Druid's functions.

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, Interval, TimezoneInfo,
    TrimWhereField, Value,
};

use super::{Clock, call, number, text};

/// The plain call that `expr` stands for; `None` for everything else.
pub(super) fn plain(expr: &Expr, clock: &Clock) -> Option<Expr> {
    match expr {
        Expr::Floor {
            expr,
            field: CeilFloorKind::DateTimeField(unit),
        } => border("time_floor", "floor", expr, unit, clock),
        Expr::Ceil {
            expr,
            field: CeilFloorKind::DateTimeField(unit),
        } => border("time_ceil", "ceil", expr, unit, clock),
        Expr::Extract { field, expr, .. } => Some(in_zone(
            "time_extract",
            vec![expr.as_ref().clone(), text(&field.to_string())],
            2,
            clock,
        )),
        Expr::Position { expr, r#in } => Some(call(
            "position",
            vec![expr.as_ref().clone(), r#in.as_ref().clone()],
        )),
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let from = substring_from.as_deref().cloned().unwrap_or_else(|| number(1));
            let mut arguments = vec![expr.as_ref().clone(), from];
            arguments.extend(substring_for.as_deref().cloned());
            Some(call("substring", arguments))
        }
        Expr::Trim {
            expr,
            trim_where,
            trim_what,
            trim_characters,
        } => {
            let name = match trim_where {
                None | Some(TrimWhereField::Both) => "btrim",
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
            };
            let mut arguments = vec![expr.as_ref().clone()];
            arguments.extend(trim_what.as_deref().cloned());
            arguments.extend(trim_characters.iter().flatten().cloned());
            Some(call(name, arguments))
        }
        Expr::Cast {
            kind: CastKind::Cast,
            expr,
            data_type: DataType::Date,
            array: false,
            format: None,
        } => Some(in_zone("time_floor", vec![as_time(expr), text("P1D")], 3, clock)),
        Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("PI") => {
            Some(call("pi", Vec::new()))
        }
        Expr::Function(function) => function_call(function, clock),
        Expr::TypedString(literal) if is_time(&literal.data_type) => {
            let zone = text(clock.zone.as_deref()?);
            let time = Expr::Value(literal.value.clone());
            Some(call(
                "time_parse",
                vec![time, Expr::Value(Value::Null.into()), zone],
            ))
        }
        // `INTERVAL '90' DAY(3)`: how many digits there may be.
        Expr::Interval(interval) if interval.leading_precision.is_some() => Some(Expr::Interval(Interval {
            leading_precision: None,
            ..interval.clone()
        })),
        _ => None,
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date)
}

fn as_time(expr: &Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr.clone()),
        data_type: DataType::Timestamp(None, TimezoneInfo::None),
        array: false,
        format: None,
    }
}

fn border(
    of_time: &str,
    of_number: &str,
    argument: &Expr,
    unit: &DateTimeField,
    clock: &Clock,
) -> Option<Expr> {
    if matches!(unit, DateTimeField::NoDateTime) {
        return Some(call(of_number, vec![argument.clone()]));
    }
    let arguments = vec![argument.clone(), text(period(unit)?)];
    Some(in_zone(of_time, arguments, 3, clock))
}

/// A call whose argument at `position` is the zone, where it is not given.
fn in_zone(name: &str, mut arguments: Vec<Expr>, position: usize, clock: &Clock) -> Expr {
    if let Some(zone) = &clock.zone
        && arguments.len() <= position
    {
        arguments.resize(position, Expr::Value(Value::Null.into()));
        arguments.push(text(zone));
    }
    call(name, arguments)
}

/// Position of the zone among the arguments of a function of times.
fn zone_position(name: &str) -> Option<usize> {
    Some(match name {
        "TIME_FLOOR" | "TIME_CEIL" | "TIME_SHIFT" => 3,
        "TIME_EXTRACT" | "TIME_PARSE" | "TIME_FORMAT" => 2,
        _ => return None,
    })
}

fn period(unit: &DateTimeField) -> Option<&'static str> {
    Some(match unit {
        DateTimeField::Second => "PT1S",
        DateTimeField::Minute => "PT1M",
        DateTimeField::Hour => "PT1H",
        DateTimeField::Day => "P1D",
        DateTimeField::Week(None) => "P1W",
        DateTimeField::Month => "P1M",
        DateTimeField::Quarter => "P3M",
        DateTimeField::Year => "P1Y",
        DateTimeField::Decade => "P10Y",
        DateTimeField::Century => "P100Y",
        DateTimeField::Millennium => "P1000Y",
        _ => return None,
    })
}

/// The arguments of a function; `None` when some have names or are `*`.
pub fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return Some(Vec::new());
    };
    let expr = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().map(expr).collect()
}

fn function_call(function: &Function, clock: &Clock) -> Option<Expr> {
    let statement_time_ms = clock.statement_time_ms;
    let name = function.name.to_string().to_uppercase();
    let arguments = arguments(function)?;
    if let (Some(position), Some(_)) = (zone_position(&name), &clock.zone) {
        let arguments = arguments.into_iter().cloned().collect();
        return Some(in_zone(&name, arguments, position, clock));
    }
    match (name.as_str(), arguments.as_slice()) {
        ("MOD", [left, right]) => {
            let nested = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
            Some(Expr::Nested(Box::new(Expr::BinaryOp {
                left: nested(left),
                op: BinaryOperator::Modulo,
                right: nested(right),
            })))
        }
        ("CURRENT_TIMESTAMP" | "LOCALTIMESTAMP" | "NOW", _) => {
            Some(call("millis_to_timestamp", vec![number(statement_time_ms)]))
        }
        ("CURRENT_DATE", _) => {
            let now = call("millis_to_timestamp", vec![number(statement_time_ms)]);
            Some(call("time_floor", vec![now, text("P1D")]))
        }
        ("TIMESTAMPADD" | "TIMESTAMPDIFF", [Expr::Identifier(unit), rest @ ..]) => {
            let rest = rest.iter().map(|expr| (*expr).clone());
            Some(call(
                &name,
                std::iter::once(text(&unit.value)).chain(rest).collect(),
            ))
        }
        ("NVL" | "IFNULL", [_, _]) => Some(call("coalesce", arguments.into_iter().cloned().collect())),
        ("EARLIEST" | "LATEST", [value, rest @ ..]) => {
            let time = Expr::Identifier(Ident::with_quote('"', "__time"));
            let rest = rest.iter().map(|expr| (*expr).clone());
            let arguments = [(*value).clone(), time].into_iter().chain(rest);
            let Expr::Function(call) = call(&format!("{name}_BY"), arguments.collect()) else {
                return None;
            };
            Some(Expr::Function(Function {
                args: call.args,
                name: call.name,
                ..function.clone()
            }))
        }
        ("JSON_VALUE", _) => {
            let returning = returning(function)?;
            Some(call(
                json_value(returning)?,
                arguments.into_iter().cloned().collect(),
            ))
        }
        _ => None,
    }
}

/// The type that a function is told to return.
pub fn returning(function: &Function) -> Option<&DataType> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::JsonReturningClause(clause) => Some(&clause.data_type),
        _ => None,
    })
}

/// JSON_VALUE that returns a type.
fn json_value(returning: &DataType) -> Option<&'static str> {
    Some(match returning {
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => match json_value(element)? {
            "json_value" => "__json_value_texts",
            // Conditions in arrays are numbers.
            "__json_value_long" | "__json_value_condition" => "__json_value_longs",
            "__json_value_double" | "__json_value_float" => "__json_value_doubles",
            _ => return None,
        },
        DataType::BigInt(_)
        | DataType::Int(_)
        | DataType::Integer(_)
        | DataType::SmallInt(_)
        | DataType::TinyInt(_) => "__json_value_long",
        DataType::Double(_)
        | DataType::DoublePrecision
        | DataType::Decimal(_)
        | DataType::Dec(_)
        | DataType::Numeric(_)
        | DataType::Real => "__json_value_double",
        DataType::Float(_) => "__json_value_float",
        DataType::Boolean => "__json_value_condition",
        DataType::Timestamp(..) | DataType::Date => "__json_value_time",
        _ => "json_value",
    })
}
