//! JSON made of texts, values and other JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeStringArray};
use datafusion::common::{Result, exec_err};

use super::value::Json;
use super::write::{json_text, texts, values};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Any, ProperText};

pub(super) const FUNCTIONS: [Definition; 5] = [
    Definition::new("parse_json", &[ProperText], Gives::Json, |call| {
        parse(call, Mistakes::Fail)
    }),
    Definition::new("try_parse_json", &[ProperText], Gives::Json, |call| {
        parse(call, Mistakes::AreNull)
    }),
    Definition::new("to_json_string", &[Any], Gives::Text, |call| {
        Ok(Arc::new(texts(&call.array(0)?)?))
    }),
    Definition::new("json_object", &[], Gives::Json, object).and_more(Any),
    Definition::new("json_merge", &[Any, Any], Gives::Json, merge).and_more(Any),
];

#[derive(Clone, Copy)]
enum Mistakes {
    Fail,
    AreNull,
}

fn parse(call: &Call<'_>, mistakes: Mistakes) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let parsed = texts.iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        match (Json::parse_first(text), mistakes) {
            (Ok(Json::Null), _) => Ok(None),
            (Ok(json), _) => Ok(Some(json_text(&json))),
            (Err(_), Mistakes::AreNull) => Ok(None),
            (Err(error), Mistakes::Fail) => {
                exec_err!("Function[parse_json] bad string input [{text}]: {error}")
            }
        }
    });
    let parsed: LargeStringArray = parsed.collect::<Result<_>>()?;
    Ok(Arc::new(parsed))
}

/// `(key, value, …)`.
fn object(call: &Call<'_>) -> Result<ArrayRef> {
    let mut columns = Vec::new();
    for pair in 0..call.arguments.len() / 2 {
        columns.push((call.texts(2 * pair)?, values(&call.array(2 * pair + 1)?)?));
    }
    let objects = (0..call.rows).map(|row| {
        let mut fields = Vec::with_capacity(columns.len());
        for (keys, values) in &columns {
            if keys.is_null(row) {
                return exec_err!("Function[json_object] field name must be a STRING");
            }
            let value = values.get(row).cloned().unwrap_or(Json::Null);
            Json::set(&mut fields, keys.value(row).to_owned(), value);
        }
        Ok(Some(json_text(&Json::Object(fields))))
    });
    let objects: LargeStringArray = objects.collect::<Result<_>>()?;
    Ok(Arc::new(objects))
}

/// Later fields win; NULL when any argument is.
fn merge(call: &Call<'_>) -> Result<ArrayRef> {
    let mut columns = Vec::new();
    for position in 0..call.arguments.len() {
        columns.push(values(&call.array(position)?)?);
    }
    let merged = (0..call.rows).map(|row| {
        let mut whole: Option<Json> = None;
        for (position, column) in columns.iter().enumerate() {
            let next = match column.get(row).cloned().unwrap_or(Json::Null) {
                Json::Null => return Ok(None),
                Json::Text(text) => match Json::parse(&text) {
                    Ok(Json::Null) => return Ok(None),
                    Ok(json @ (Json::Object(_) | Json::Array(_))) => json,
                    _ => return exec_err!("Function[json_merge] bad string input [{text}]"),
                },
                json => json,
            };
            whole = Some(match (whole, next) {
                (None, next) => next,
                (Some(Json::Object(mut fields)), Json::Object(others)) => {
                    for (name, value) in others {
                        Json::set(&mut fields, name, value);
                    }
                    Json::Object(fields)
                }
                (Some(Json::Array(mut elements)), Json::Array(others)) => {
                    elements.extend(others);
                    Json::Array(elements)
                }
                _ => {
                    return exec_err!(
                        "Function[json_merge] bad input in position[{position}], expected what the first argument is: \
                         an object or an array"
                    );
                }
            });
        }
        Ok(whole.as_ref().map(json_text))
    });
    let merged: LargeStringArray = merged.collect::<Result<_>>()?;
    Ok(Arc::new(merged))
}
