//! `U&'…'` literals, with `UESCAPE 'c'` for another escape character than the backslash.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::PlanError;
use crate::statement::word_of;

/// Makes plain text literals of them, so that nobody behind has to know them.
///
/// # Errors
/// For an escape that is not of four or, after `+`, six hexadecimal digits, and for an escape character that is not one.
pub fn plain_literals(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, PlanError> {
    let mut plain: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(mut token) = tokens.next() {
        if let Token::UnicodeStringLiteral(text) = &token.token {
            let escaped = tokens
                .peek()
                .is_some_and(|next| word_of(next).as_deref() == Some("UESCAPE"));
            let text = if escaped {
                tokens.next();
                let escape = tokens.next();
                unescape(text, escape_character(escape.as_ref())?)?
            } else {
                text.clone()
            };
            token.token = Token::SingleQuotedString(text);
        }
        plain.push(token);
    }
    Ok(plain)
}

fn escape_character(token: Option<&TokenWithSpan>) -> Result<char, PlanError> {
    let refused = || {
        PlanError::parsing(
            "UESCAPE must be followed by one character in quotes, and no hexadecimal digit, plus sign, quote or space",
        )
    };
    let Some(Token::SingleQuotedString(text)) = token.map(|token| &token.token) else {
        return Err(refused());
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(escape), None)
            if !escape.is_ascii_hexdigit()
                && !escape.is_whitespace()
                && !matches!(escape, '+' | '\'' | '"') =>
        {
            Ok(escape)
        }
        _ => Err(refused()),
    }
}

fn unescape(text: &str, escape: char) -> Result<String, PlanError> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(escape) {
        let (before, behind) = rest.split_at(at);
        plain.push_str(before);
        let behind = behind.get(escape.len_utf8()..).unwrap_or_default();
        if let Some(after) = behind.strip_prefix(escape) {
            plain.push(escape);
            rest = after;
            continue;
        }
        let (digits, count) = match behind.strip_prefix('+') {
            Some(digits) => (digits, 6),
            None => (behind, 4),
        };
        let character = digits
            .get(..count)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        match character {
            Some(character) => plain.push(character),
            None => {
                return Err(PlanError::parsing(format!(
                    "Unicode escape sequence starting at character {} is not exactly four hex digits",
                    text.len() - rest.len() + at
                )));
            }
        }
        rest = digits.get(count..).unwrap_or_default();
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::unescape;

    #[test]
    fn escapes_are_four_or_six_digits() {
        assert!(unescape("d!0061t!+00006!!", '!').is_err());
        assert_eq!(unescape("d!0061t!+000061!!", '!').unwrap(), "data!");
        assert_eq!(unescape("plain", '!').unwrap(), "plain");
        assert!(unescape("!00", '!').is_err());
    }
}
