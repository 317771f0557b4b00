//! One guard against statements that are nested or chained without end. It looks at tokens, before anything that
//! recurses.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::PlanError;
use crate::statement::{depth_change, word_of};

/// Nesting of parentheses and CASEs that plans; each level costs stack in the parser, the planner and the codec.
const MAX_DEPTH: usize = 500;

/// Operators of one chain, such as ORs: `a OR b OR c` is nested as deeply as it is long.
const MAX_CHAIN: usize = 2_500;

/// Times that the parser may read one part of a statement. It reads a query in several parentheses once for each of them.
const MAX_READS: u64 = 4_096;

/// Refuses a statement that is nested deeper, or whose chains are longer, than the planner follows.
///
/// # Errors
/// Names the depth or the length.
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
    if most_reads(tokens) > MAX_READS {
        return Err(PlanError::parsing(
            "The statement is nested too deeply: queries in more parentheses than one are in one another",
        ));
    }
    let longest = longest_chain(tokens);
    if longest > MAX_CHAIN {
        return Err(PlanError::parsing(format!(
            "The statement has a chain of {longest} operators, at most {MAX_CHAIN} are supported"
        )));
    }
    Ok(())
}

fn most_reads(tokens: &[TokenWithSpan]) -> u64 {
    let mut open: Vec<u64> = Vec::new();
    let (mut most, mut run) = (1, 0);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen => {
                open.push(open.last().copied().unwrap_or(1));
                run += 1;
                continue;
            }
            Token::RParen => {
                open.pop();
            }
            _ if run > 1 => {
                if let Some("SELECT" | "WITH" | "VALUES") = word_of(token).as_deref()
                    && let Some(reads) = open.last_mut()
                {
                    *reads = reads.saturating_mul(run);
                    most = most.max(*reads);
                }
            }
            _ => {}
        }
        run = 0;
    }
    most
}

/// Operators of the level of parentheses and CASEs that a token is at.
#[derive(Default)]
struct Chain {
    /// AND, OR, NOT, joins and set operations, which a statement has fewer of than that in all its clauses.
    logical: usize,
    /// Arithmetic since the last of them.
    arithmetic: usize,
}

fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let mut levels = vec![Chain::default()];
    let mut longest = 0;
    for token in tokens {
        let change = depth_change(&token.token);
        if change > 0 {
            levels.push(Chain::default());
        } else if change < 0 && levels.len() > 1 {
            levels.pop();
        }
        let Some(chain) = levels.last_mut() else { continue };
        if let Some("AND" | "OR" | "NOT" | "JOIN" | "UNION" | "INTERSECT" | "EXCEPT") =
            word_of(token).as_deref()
        {
            chain.logical += 1;
            chain.arithmetic = 0;
        }
        match token.token {
            Token::Comma => chain.arithmetic = 0,
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::StringConcat
            | Token::Tilde => {
                chain.arithmetic += 1;
            }
            _ => {}
        }
        longest = longest.max(chain.logical).max(chain.arithmetic);
    }
    longest
}
