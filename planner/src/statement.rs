//! The statement around a query: SET prefixes, EXPLAIN, INSERT, REPLACE, PARTITIONED BY, CLUSTERED BY.
//!
//! sqlparser reads the query and the expressions; what stands around them is Druid's own and is taken off here, token by
//! token, so that every place in an error is a place in the user's text.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, ObjectName, OrderByExpr, Query, Value, visit_expressions_mut};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::check::is_keyword;
use crate::depth;
use crate::dialect::DruidDialect;
use crate::error::PlanError;
use crate::extend;
use crate::granularity::{self, Granularity};
use crate::syntax;
use crate::unicode;

/// A statement taken apart.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `SET name = value;` prefixes in order.
    pub settings: Vec<(String, serde_json::Value)>,
    pub explain: bool,
    pub body: Body,
    /// The tokens of the whole text, to find names again for errors.
    pub tokens: Vec<TokenWithSpan>,
}

#[derive(Debug, Clone)]
pub enum Body {
    Select(Box<Query>),
    Ingest(Box<Ingest>),
    Export(Box<Export>),
}

/// INSERT or REPLACE.
#[derive(Debug, Clone)]
pub struct Ingest {
    pub target: ObjectName,
    pub overwrite: Overwrite,
    /// Target columns in order; empty when none are named.
    pub columns: Vec<String>,
    pub query: Query,
    pub partitioned_by: Granularity,
    pub clustered_by: Vec<Expr>,
}

/// INSERT INTO EXTERN.
#[derive(Debug, Clone)]
pub struct Export {
    /// As it was written.
    pub storage: String,
    pub arguments: Vec<(String, String)>,
    /// As it was written.
    pub format: String,
    pub query: Query,
    /// Names of columns.
    pub partitioned_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Overwrite {
    /// INSERT: append.
    Nothing,
    All,
    Where(Box<Expr>),
}

impl Ingest {
    /// `INSERT` or `REPLACE`.
    pub fn operation(&self) -> &'static str {
        match self.overwrite {
            Overwrite::Nothing => "INSERT",
            Overwrite::All | Overwrite::Where(_) => "REPLACE",
        }
    }
}

impl Statement {
    /// The query whose rows are selected or ingested.
    pub fn query(&self) -> &Query {
        match &self.body {
            Body::Select(query) => query,
            Body::Ingest(ingest) => &ingest.query,
            Body::Export(export) => &export.query,
        }
    }
}

/// Reads one statement.
///
/// # Errors
/// With line and column, in Druid's words where they are known.
pub fn parse(sql: &str) -> Result<Statement, PlanError> {
    let tokens = tokenize(sql)?;
    depth::check(&tokens)?;
    let mut cursor = Cursor {
        tokens: syntax::plain(extend::inline_signatures(tokens.clone())?),
        position: 0,
    };
    let mut settings = Vec::new();
    while cursor.eat("SET") {
        settings.push(setting(&mut cursor)?);
    }
    let explain = if cursor.eat("EXPLAIN") {
        if !(cursor.eat("PLAN") && cursor.eat("FOR")) {
            return Err(cursor.unexpected(&["PLAN FOR"]));
        }
        true
    } else {
        false
    };
    let body = body(&mut cursor)?;
    Ok(Statement {
        settings,
        explain,
        body,
        tokens,
    })
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, PlanError> {
    let tokens = Tokenizer::new(&DruidDialect, sql)
        .tokenize_with_location()
        .map_err(|error| {
            PlanError::parsing(format!(
                "{} (line [{}], column [{}])",
                error.message, error.location.line, error.location.column
            ))
        })?;
    let tokens = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    unicode::plain_literals(tokens)
}

/// What a statement may begin with.
const STATEMENTS: [&str; 7] = ["INSERT", "REPLACE", "EXPLAIN", "SET", "WITH", "SELECT", "VALUES"];

fn body(cursor: &mut Cursor) -> Result<Body, PlanError> {
    let first = cursor.word().unwrap_or_default();
    match first.as_str() {
        "INSERT" | "REPLACE" => written(cursor),
        "UPSERT" => Err(PlanError::invalid("UPSERT is not supported.")),
        "DELETE" | "UPDATE" | "MERGE" => {
            Err(PlanError::invalid(format!("Unsupported SQL statement [{first}]")))
        }
        "" if cursor.peek().is_none() => Err(cursor.unexpected(&STATEMENTS)),
        "SELECT" | "WITH" | "VALUES" | "" => {
            let tokens = cursor.rest();
            let text_end = cursor.end();
            Ok(Body::Select(Box::new(*parse_all(tokens, text_end, |parser| {
                parser.parse_query()
            })?)))
        }
        // A word that begins no statement begins an expression, which is none either.
        _ if cursor.peek().is_some_and(|token| !is_keyword(token)) => Err(PlanError::parsing(
            "Non-query expression encountered in illegal context",
        )),
        _ => Err(cursor.unexpected(&STATEMENTS)),
    }
}

/// INSERT or REPLACE, into a table or somewhere else.
fn written(cursor: &mut Cursor) -> Result<Body, PlanError> {
    let replace = cursor.eat("REPLACE");
    if !replace {
        cursor.eat("INSERT");
    }
    cursor.expect("INTO")?;
    if cursor.word().as_deref() == Some("EXTERN") && cursor.next_is(&Token::LParen) {
        if replace {
            return Err(PlanError::invalid(
                "REPLACE operations do no support EXTERN destinations. Use INSERT statements to write to an external \
                 destination.",
            ));
        }
        return Ok(Body::Export(Box::new(export(cursor)?)));
    }
    let operation = if replace { "REPLACE" } else { "INSERT" };
    Ok(Body::Ingest(Box::new(ingest(cursor, operation)?)))
}

/// What follows `INSERT INTO` of an export.
fn export(cursor: &mut Cursor) -> Result<Export, PlanError> {
    cursor.expect("EXTERN")?;
    let (storage, arguments) = crate::export::destination(cursor)?;
    let format = if cursor.eat("AS") {
        match cursor.next() {
            Some(Token::Word(word)) => Some(word.value),
            _ => return Err(cursor.unexpected(&["CSV", "JSON", "PARQUET"])),
        }
    } else {
        None
    };
    let tokens = cursor.rest();
    let end = cursor.end();
    let (query_tokens, partitioned, clustered) = split_clauses(tokens);
    let query = *parse_all(query_tokens, end, |parser| parser.parse_query())?;
    if clustered.is_some() {
        return Err(crate::export::no_clauses());
    }
    let format = format.ok_or_else(|| {
        PlanError::invalid(
            "Exporting rows into an EXTERN destination requires an AS clause to specify the format, but none was found.",
        )
    })?;
    Ok(Export {
        storage,
        arguments,
        format,
        query,
        partitioned_by: match partitioned {
            Some(tokens) => crate::export::partition_columns(tokens, end)?,
            None => Vec::new(),
        },
    })
}

fn ingest(cursor: &mut Cursor, operation: &str) -> Result<Ingest, PlanError> {
    let replace = operation == "REPLACE";
    let target = object_name(cursor)?;
    let columns = column_list(cursor)?;
    if cursor.eat("AS") {
        return Err(PlanError::invalid(
            "The AS <format> clause should only be specified while exporting rows into an EXTERN destination.",
        ));
    }
    let overwrite_tokens = if replace {
        Some(overwrite_clause(cursor)?)
    } else {
        None
    };
    let tokens = cursor.rest();
    let end = cursor.end();
    let (query_tokens, partitioned, clustered) = split_clauses(tokens);
    let overwrite = match overwrite_tokens {
        None => Overwrite::Nothing,
        Some(OverwriteTokens::Missing) => {
            return Err(PlanError::invalid(
                "Missing time chunk information in OVERWRITE clause for REPLACE. Use OVERWRITE WHERE <__time based \
                 condition> or OVERWRITE ALL to overwrite the entire table.",
            ));
        }
        Some(OverwriteTokens::All) => Overwrite::All,
        Some(OverwriteTokens::Where(condition)) => {
            Overwrite::Where(Box::new(parse_all(condition, end, |parser| parser.parse_expr())?))
        }
    };
    let partitioned_by = match partitioned {
        Some(tokens) => granularity::parse(tokens, end)?,
        None => {
            // A query that does not parse is the more useful error.
            parse_all(query_tokens, end, |parser| parser.parse_query())?;
            return Err(PlanError::invalid(format!(
                "Operation [{operation}] requires a PARTITIONED BY to be explicitly defined, but none was found."
            )));
        }
    };
    let query = *parse_all(query_tokens, end, |parser| parser.parse_query())?;
    let clustered_by = match clustered {
        Some(tokens) => clustered_by(tokens, end)?,
        None => Vec::new(),
    };
    Ok(Ingest {
        target,
        overwrite,
        columns,
        query,
        partitioned_by,
        clustered_by,
    })
}

fn clustered_by(tokens: Vec<TokenWithSpan>, end: Location) -> Result<Vec<Expr>, PlanError> {
    let columns: Vec<OrderByExpr> = parse_all(tokens, end, |parser| {
        parser.parse_comma_separated(Parser::parse_order_by_expr)
    })?;
    columns
        .into_iter()
        .map(|column| match column.options.asc {
            Some(false) => Err(PlanError::invalid(format!(
                "Invalid CLUSTERED BY clause [{} DESC]: cannot sort in descending order.",
                back_quoted(&column.expr)
            ))),
            _ => Ok(column.expr),
        })
        .collect()
}

/// An expression as Druid prints it in errors: identifiers in back quotes.
pub fn back_quoted(expr: &Expr) -> String {
    let mut quoted = expr.clone();
    let _ = visit_expressions_mut(&mut quoted, |expr| {
        match expr {
            Expr::Identifier(name) => name.quote_style = Some('`'),
            Expr::CompoundIdentifier(names) => names.iter_mut().for_each(|name| name.quote_style = Some('`')),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    quoted.to_string()
}

enum OverwriteTokens {
    Missing,
    All,
    Where(Vec<TokenWithSpan>),
}

/// Takes `OVERWRITE ALL` or `OVERWRITE WHERE condition`; the condition ends where the query begins.
fn overwrite_clause(cursor: &mut Cursor) -> Result<OverwriteTokens, PlanError> {
    if !cursor.eat("OVERWRITE") {
        return Ok(OverwriteTokens::Missing);
    }
    if cursor.eat("ALL") {
        return Ok(OverwriteTokens::All);
    }
    if !cursor.eat("WHERE") {
        return Ok(OverwriteTokens::Missing);
    }
    let mut condition = Vec::new();
    let mut depth = 0_i32;
    while let Some(token) = cursor.peek() {
        let starts_query =
            depth == 0 && matches!(word_of(token).as_deref(), Some("SELECT" | "WITH" | "VALUES"));
        if starts_query {
            return Ok(OverwriteTokens::Where(condition));
        }
        // `OVERWRITE WHERE a (SELECT …)`: a parenthesised query after the condition is not supported by Druid either.
        depth += depth_change(&token.token);
        condition.push(token.clone());
        cursor.position += 1;
    }
    Err(cursor.unexpected(&["SELECT", "WITH"]))
}

/// Cuts `query PARTITIONED BY … CLUSTERED BY …` apart at parenthesis depth 0.
fn split_clauses(
    tokens: Vec<TokenWithSpan>,
) -> (
    Vec<TokenWithSpan>,
    Option<Vec<TokenWithSpan>>,
    Option<Vec<TokenWithSpan>>,
) {
    let mut parts: [Option<Vec<TokenWithSpan>>; 3] = [Some(Vec::new()), None, None];
    let mut part = 0;
    let mut depth = 0_i32;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let next_is_by = tokens
            .peek()
            .is_some_and(|next| word_of(next).as_deref() == Some("BY"));
        let clause = match word_of(&token).as_deref() {
            Some("PARTITIONED") if depth == 0 && next_is_by => Some(1),
            Some("CLUSTERED") if depth == 0 && next_is_by => Some(2),
            _ => None,
        };
        if let Some(clause) = clause {
            tokens.next();
            part = clause;
            if let Some(slot) = parts.get_mut(part) {
                *slot = Some(Vec::new());
            }
            continue;
        }
        depth += depth_change(&token.token);
        if let Some(Some(open)) = parts.get_mut(part) {
            open.push(token);
        }
    }
    let [query, partitioned, clustered] = parts;
    (query.unwrap_or_default(), partitioned, clustered)
}

/// How a token changes the depth of parentheses.
pub fn depth_change(token: &Token) -> i32 {
    match token {
        Token::LParen | Token::LBracket => 1,
        Token::RParen | Token::RBracket => -1,
        _ => 0,
    }
}

/// The upper-cased word of an unquoted word token.
pub fn word_of(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

fn object_name(cursor: &mut Cursor) -> Result<ObjectName, PlanError> {
    let mut tokens = Vec::new();
    while let Some(token) = cursor.peek() {
        let wanted = match &token.token {
            Token::Word(_) => tokens.len() % 2 == 0,
            Token::Period => tokens.len() % 2 == 1,
            _ => false,
        };
        if !wanted {
            break;
        }
        tokens.push(token.clone());
        cursor.position += 1;
    }
    parse_all(tokens, cursor.end(), |parser| parser.parse_object_name(false))
}

/// `(a, b)` after the target of an INSERT, unless it is a parenthesised query.
fn column_list(cursor: &mut Cursor) -> Result<Vec<String>, PlanError> {
    let starts_query =
        |token: &TokenWithSpan| matches!(word_of(token).as_deref(), Some("SELECT" | "WITH" | "VALUES"));
    let opens = cursor.peek().is_some_and(|token| token.token == Token::LParen);
    let inside = cursor.tokens.get(cursor.position + 1);
    if !opens || inside.is_some_and(|token| starts_query(token) || token.token == Token::LParen) {
        return Ok(Vec::new());
    }
    let mut columns = Vec::new();
    cursor.position += 1;
    while let Some(token) = cursor.peek().cloned() {
        cursor.position += 1;
        match token.token {
            Token::Word(word) => columns.push(word.value),
            Token::Comma => {}
            Token::RParen => return Ok(columns),
            _ => break,
        }
    }
    cursor.position = cursor.position.saturating_sub(1);
    Err(cursor.unexpected(&["column name", ")"]))
}

fn setting(cursor: &mut Cursor) -> Result<(String, serde_json::Value), PlanError> {
    let Some(Token::Word(name)) = cursor.next() else {
        return Err(cursor.unexpected(&["name of a context parameter"]));
    };
    if cursor.next() != Some(Token::Eq) {
        return Err(cursor.unexpected(&["="]));
    }
    let mut tokens = Vec::new();
    loop {
        match cursor.peek().cloned() {
            Some(token) if token.token == Token::SemiColon => break,
            Some(token) => tokens.push(token),
            None => return Err(cursor.unexpected(&[";"])),
        }
        cursor.position += 1;
    }
    cursor.position += 1;
    let value = parse_all(tokens, cursor.end(), |parser| parser.parse_expr())?;
    Ok((name.value.clone(), literal_json(&value)?))
}

fn literal_json(expr: &Expr) -> Result<serde_json::Value, PlanError> {
    let refuse = || PlanError::parsing(format!("Value [{expr}] of a SET statement is not a literal"));
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Boolean(flag) => Ok((*flag).into()),
            Value::Number(number, _) => serde_json::from_str(number).map_err(|_| refuse()),
            Value::SingleQuotedString(text) => Ok(text.clone().into()),
            Value::Null => Ok(serde_json::Value::Null),
            _ => Err(refuse()),
        },
        Expr::UnaryOp {
            op: sqlparser::ast::UnaryOperator::Minus,
            expr,
        } => match literal_json(expr)? {
            serde_json::Value::Number(number) => {
                serde_json::from_str(&format!("-{number}")).map_err(|_| refuse())
            }
            _ => Err(refuse()),
        },
        _ => Err(refuse()),
    }
}

/// Depth of nesting that sqlparser may follow; a deeper statement is refused by [`crate::depth`] before.
const PARSER_DEPTH: usize = 10_000;

/// Parses all of `tokens` with `parse`.
pub fn parse_all<T>(
    tokens: Vec<TokenWithSpan>,
    end: Location,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<T, PlanError> {
    let mut parser = Parser::new(&DruidDialect)
        .with_recursion_limit(PARSER_DEPTH)
        .with_tokens_with_locations(tokens);
    let value = parse(&mut parser).map_err(|error| syntax_error(&parser, &error, end))?;
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(unexpected_token(&rest, end, &[]));
    }
    Ok(value)
}

fn syntax_error(parser: &Parser<'_>, error: &ParserError, end: Location) -> PlanError {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return PlanError::parsing("The statement is nested too deeply");
        }
    };
    // sqlparser's errors read `Expected: X, found: Y at Line: l, Column: c`.
    let expected = text
        .strip_prefix("Expected: ")
        .and_then(|rest| rest.split_once(", found:"))
        .map(|(x, _)| x);
    match expected {
        Some(expected) if text.contains("found: EOF") => {
            unexpected_token(&TokenWithSpan::wrap(Token::EOF), end, &[expected])
        }
        Some(expected) => unexpected_token(parser.get_current_token(), end, &[expected]),
        None => PlanError::parsing(text.clone()),
    }
}

fn unexpected_token(token: &TokenWithSpan, end: Location, expected: &[&str]) -> PlanError {
    let options: Vec<String> = expected.iter().map(|option| format!("\"{option}\"")).collect();
    if is_keyword(token) {
        let options: Vec<String> = options
            .iter()
            .map(|option| format!("\n    {option} ..."))
            .collect();
        return PlanError::parsing(format!(
            "Incorrect syntax near the keyword '{}' at line {}, column {}.\nWas expecting one of:{}",
            token.token,
            token.span.start.line,
            token.span.start.column,
            options.concat()
        ));
    }
    let (found, location, last) = match &token.token {
        Token::EOF => {
            let last = Location {
                line: end.line,
                column: end.column.saturating_sub(1),
            };
            ("<EOF>".to_owned(), last, last)
        }
        other => {
            let last = Location {
                line: token.span.end.line,
                column: token.span.end.column.saturating_sub(1),
            };
            (other.to_string(), token.span.start, last)
        }
    };
    let mut error = PlanError::parsing(format!(
        "Received an unexpected token [{found}] (line [{}], column [{}]), acceptable options: [{}]",
        location.line,
        location.column,
        options.join(", ")
    ));
    for (name, value) in [
        ("line", location.line.to_string()),
        ("column", location.column.to_string()),
        ("endLine", last.line.to_string()),
        ("endColumn", last.column.to_string()),
        ("token", found),
    ] {
        error.context.push((name.to_owned(), value));
    }
    error
        .context
        .push(("expected".to_owned(), format!("[{}]", options.join(", "))));
    error
}

pub(crate) struct Cursor {
    tokens: Vec<TokenWithSpan>,
    position: usize,
}

impl Cursor {
    pub(crate) fn peek(&self) -> Option<&TokenWithSpan> {
        self.tokens
            .get(self.position)
            .filter(|token| token.token != Token::EOF)
    }

    /// Whether the token behind the next one is this.
    fn next_is(&self, token: &Token) -> bool {
        self.tokens
            .get(self.position + 1)
            .is_some_and(|next| next.token == *token)
    }

    pub(crate) fn next(&mut self) -> Option<Token> {
        let token = self.peek()?.token.clone();
        self.position += 1;
        Some(token)
    }

    fn word(&self) -> Option<String> {
        word_of(self.peek()?)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.word().as_deref() == Some(word);
        if found {
            self.position += 1;
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), PlanError> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.unexpected(&[word]))
        }
    }

    fn rest(&mut self) -> Vec<TokenWithSpan> {
        let rest = self.tokens.get(self.position..).unwrap_or_default().to_vec();
        self.position = self.tokens.len();
        rest
    }

    /// Where the text ends.
    fn end(&self) -> Location {
        self.tokens
            .last()
            .map_or(Location { line: 0, column: 0 }, |token| token.span.end)
    }

    pub(crate) fn unexpected(&self, expected: &[&str]) -> PlanError {
        match self.peek() {
            Some(token) => unexpected_token(token, self.end(), expected),
            None => unexpected_token(&TokenWithSpan::wrap(Token::EOF), self.end(), expected),
        }
    }
}
