//! Where an operator stands whose operands have types that it does not take.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, visit_expressions};
use sqlparser::tokenizer::TokenWithSpan;

use crate::check::place_of;
use crate::error::Place;

/// How DataFusion, and our functions in Calcite's words, begin what they say of two operands that do not go together;
/// the operation follows.
const MESSAGES: [&str; 3] = [
    "Cannot coerce arithmetic expression ",
    "Cannot infer common argument type for ",
    "to arguments of type ",
];

/// The place of the operation that `message` is about, where the query has only one with its operator.
pub fn mistyped(message: &str, query: &Query, tokens: &[TokenWithSpan]) -> Option<Place> {
    let operation = MESSAGES.iter().find_map(|begin| message.split_once(begin))?.1;
    let mut found = Vec::new();
    let _ = visit_expressions(query, |expr| {
        if let Expr::BinaryOp { op, .. } = expr
            && operation.contains(&format!(" {op} "))
        {
            found.push(place_of(expr, tokens));
        }
        ControlFlow::<()>::Continue(())
    });
    match found.as_slice() {
        [only] => *only,
        _ => None,
    }
}
