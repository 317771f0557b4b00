//! `TABLE(EXTERN(source, format)) EXTEND (column type, …)`: the column list becomes the function's argument `signature`, so
//! that the parser meets one form only. The word EXTEND may be left out.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::error::{Place, PlanError};
use crate::external::is_table_function;
use crate::statement::{depth_change, word_of};
use crate::types::native_of_sql;

/// The tokens with every EXTEND clause moved into its EXTERN.
///
/// # Errors
/// For a column without a type or of a type that EXTERN has not.
pub fn inline_signatures(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, PlanError> {
    let mut output: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, tail)) = rest.split_first() {
        if word_of(token).as_deref() == Some("TABLE")
            && let Some((function, after)) = table_function(tail)
            && let Some((columns, after)) = column_list(after)
        {
            output.push(token.clone());
            let (closing, arguments) = function.split_at(function.len().saturating_sub(2));
            output.extend_from_slice(closing);
            let span = token.span;
            let signature = Token::SingleQuotedString(signature(columns)?);
            let argument = [
                Token::Comma,
                Token::make_word("signature", None),
                Token::RArrow,
                signature,
            ];
            output.extend(argument.map(|token| TokenWithSpan::new(token, span)));
            output.extend_from_slice(arguments);
            rest = after;
            continue;
        }
        output.push(token.clone());
        rest = tail;
    }
    Ok(output)
}

/// `( EXTERN ( … ) )`, or another table function, at the front.
fn table_function(tokens: &[TokenWithSpan]) -> Option<(&[TokenWithSpan], &[TokenWithSpan])> {
    let opens = matches!(tokens.first()?.token, Token::LParen);
    let is_known = word_of(tokens.get(1)?).is_some_and(|name| is_table_function(&name));
    if !opens || !is_known {
        return None;
    }
    parenthesised(tokens)
}

/// `( … )` at the front, and what follows it.
fn parenthesised(tokens: &[TokenWithSpan]) -> Option<(&[TokenWithSpan], &[TokenWithSpan])> {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        depth += depth_change(&token.token);
        if depth == 0 {
            return (index > 0).then(|| tokens.split_at(index + 1));
        }
    }
    None
}

/// `[EXTEND] ( … )` at the front: what is between the parentheses, and what follows.
fn column_list(tokens: &[TokenWithSpan]) -> Option<(&[TokenWithSpan], &[TokenWithSpan])> {
    let tokens = match tokens.first() {
        Some(token) if word_of(token).as_deref() == Some("EXTEND") => tokens.get(1..)?,
        _ => tokens,
    };
    if tokens.first()?.token != Token::LParen {
        return None;
    }
    let (list, after) = parenthesised(tokens)?;
    Some((list.get(1..list.len() - 1)?, after))
}

fn signature(tokens: &[TokenWithSpan]) -> Result<String, PlanError> {
    let mut columns = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        depth += depth_change(&token.token);
        if depth == 0 && token.token == Token::Comma {
            columns.push(column(tokens.get(start..index).unwrap_or_default())?);
            start = index + 1;
        }
    }
    columns.push(column(tokens.get(start..).unwrap_or_default())?);
    Ok(serde_json::Value::Array(columns).to_string())
}

fn column(tokens: &[TokenWithSpan]) -> Result<serde_json::Value, PlanError> {
    let (name, place) = match tokens.first() {
        Some(TokenWithSpan {
            token: Token::Word(word),
            span,
        }) => (word.value.clone(), place(*span)),
        _ => {
            return Err(PlanError::parsing(
                "EXTEND expects columns, each a name and a type",
            ));
        }
    };
    let type_text: Vec<String> = tokens
        .get(1..)
        .unwrap_or_default()
        .iter()
        .map(|token| token.token.to_string())
        .collect();
    let type_text = type_text.join(" ");
    let native = native_of_sql(&type_text).ok_or_else(|| {
        PlanError::invalid(format!(
            "EXTEND gives column '{name}' the type [{type_text}], which EXTERN has not"
        ))
        .at(place)
    })?;
    Ok(serde_json::json!({ "name": name, "type": native }))
}

/// A span as a place in an error.
pub fn place(span: Span) -> Place {
    Place {
        line: span.start.line,
        column: span.start.column,
        end_line: span.end.line,
        end_column: span.end.column.saturating_sub(1),
    }
}
