//! Druid's syntax that sqlparser does not read, turned into what it reads, token by token: places in errors stay those
//! of the user's text.
//!
//! - `BIGINT ARRAY` as a type becomes `BIGINT[]`,
//! - `JSON_OBJECT(KEY 'a' VALUE x, 'b': y)` becomes `JSON_OBJECT('a', x, 'b', y)`,
//! - `POSITION(a IN b FROM n)` becomes `POSITION(a, b, n)`,
//! - `TRIM(BOTH FROM a)` becomes `TRIM(BOTH ' ' FROM a)`.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::statement::{depth_change, word_of};

/// The tokens in sqlparser's syntax.
pub fn plain(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    calls(array_types(tokens))
}

/// Types whose arrays a statement may name.
const ELEMENTS: [&str; 16] = [
    "VARCHAR",
    "CHAR",
    "CHARACTER",
    "STRING",
    "BIGINT",
    "INTEGER",
    "INT",
    "SMALLINT",
    "TINYINT",
    "DOUBLE",
    "FLOAT",
    "REAL",
    "DECIMAL",
    "NUMERIC",
    "BOOLEAN",
    "TIMESTAMP",
];

fn array_types(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut plain: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (position, token) in tokens.iter().enumerate() {
        let is_type = word_of(token).as_deref() == Some("ARRAY")
            && names_element(&plain)
            && tokens
                .get(position + 1)
                .is_none_or(|next| next.token != Token::LBracket);
        if is_type {
            plain.push(TokenWithSpan::new(Token::LBracket, token.span));
            plain.push(TokenWithSpan::new(Token::RBracket, token.span));
        } else {
            plain.push(token.clone());
        }
    }
    plain
}

/// Whether the tokens end with a type, with or without its size in parentheses.
fn names_element(tokens: &[TokenWithSpan]) -> bool {
    let is_element =
        |token: &TokenWithSpan| word_of(token).is_some_and(|word| ELEMENTS.contains(&word.as_str()));
    match tokens {
        [.., last] if is_element(last) => true,
        [.., name, open, _, close] if open.token == Token::LParen && close.token == Token::RParen => {
            is_element(name)
        }
        [.., name, open, _, comma, _, close]
            if open.token == Token::LParen && comma.token == Token::Comma && close.token == Token::RParen =>
        {
            is_element(name)
        }
        _ => false,
    }
}

/// A call whose arguments are parted by words.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    JsonObject,
    Position,
    Other,
}

fn calls(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut open: Vec<Call> = Vec::new();
    let mut plain: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (position, token) in tokens.iter().enumerate() {
        let change = depth_change(&token.token);
        if change > 0 {
            open.push(call(&tokens, position));
        } else if change < 0 {
            open.pop();
        }
        let word = word_of(token);
        match (open.last(), word.as_deref(), &token.token) {
            (Some(Call::JsonObject), Some("KEY"), _) if starts_argument(&plain) => {}
            (Some(Call::JsonObject), Some("VALUE"), _)
            | (Some(Call::JsonObject), _, Token::Colon)
            | (Some(Call::Position), Some("IN" | "FROM"), _) => {
                plain.push(TokenWithSpan::new(Token::Comma, token.span));
            }
            (_, Some("FROM"), _) if plain.last().is_some_and(names_side) => {
                plain.push(TokenWithSpan::new(
                    Token::SingleQuotedString(" ".to_owned()),
                    token.span,
                ));
                plain.push(token.clone());
            }
            _ => plain.push(token.clone()),
        }
    }
    plain
}

/// Which side of a text TRIM takes from.
fn names_side(token: &TokenWithSpan) -> bool {
    matches!(word_of(token).as_deref(), Some("BOTH" | "LEADING" | "TRAILING"))
}

fn starts_argument(before: &[TokenWithSpan]) -> bool {
    matches!(
        before.last().map(|token| &token.token),
        Some(Token::LParen | Token::Comma)
    )
}

/// Which call a parenthesis opens.
fn call(tokens: &[TokenWithSpan], parenthesis: usize) -> Call {
    let is_parenthesis = tokens
        .get(parenthesis)
        .is_some_and(|token| token.token == Token::LParen);
    let name = parenthesis
        .checked_sub(1)
        .and_then(|name| tokens.get(name))
        .and_then(word_of);
    match name.as_deref() {
        Some("JSON_OBJECT") if is_parenthesis => Call::JsonObject,
        Some("POSITION") if is_parenthesis && has_from(tokens.get(parenthesis..).unwrap_or_default()) => {
            Call::Position
        }
        _ => Call::Other,
    }
}

/// Whether a FROM stands directly in the parentheses that the tokens begin with.
fn has_from(tokens: &[TokenWithSpan]) -> bool {
    let mut depth = 0;
    for token in tokens {
        depth += depth_change(&token.token);
        if depth == 0 {
            return false;
        }
        if depth == 1 && word_of(token).as_deref() == Some("FROM") {
            return true;
        }
    }
    false
}
