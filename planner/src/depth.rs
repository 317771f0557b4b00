//! One guard against statements that are nested without end.

use sqlparser::tokenizer::TokenWithSpan;

use crate::error::PlanError;
use crate::statement::{depth_change, word_of};

/// Nesting of parentheses and CASEs that plans; each level costs stack in the parser, the planner and the codec.
const MAX_DEPTH: usize = 500;

/// Refuses a statement that is nested deeper than the planner follows.
///
/// # Errors
/// Names the depth.
pub fn check(tokens: &[TokenWithSpan]) -> Result<(), PlanError> {
    let mut depth = 0_i64;
    let mut deepest = 0_i64;
    for token in tokens {
        depth += i64::from(depth_change(&token.token));
        match word_of(token).as_deref() {
            Some("CASE") => depth += 1,
            Some("END") => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if usize::try_from(deepest).unwrap_or(0) > MAX_DEPTH {
        return Err(PlanError::parsing(format!(
            "The statement is nested {deepest} levels deep, at most {MAX_DEPTH} are supported"
        )));
    }
    Ok(())
}
