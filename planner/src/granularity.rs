//! PARTITIONED BY: how long a time chunk is.

use sarsen_functions::time::Period;
use sqlparser::ast::{CeilFloorKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::PlanError;
use crate::statement::{back_quoted, parse_all, word_of};

/// A segment granularity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granularity {
    /// One chunk for all time.
    All,
    /// Chunks of an ISO-8601 period in UTC, such as `P1D`.
    Period(String),
}

impl Granularity {
    /// As Druid's errors print it.
    pub fn describe(&self) -> String {
        match self {
            Granularity::All => "AllGranularity".to_owned(),
            Granularity::Period(period) => {
                format!("{{type=period, period={period}, timeZone=UTC, origin=null}}")
            }
        }
    }
}

/// Granularity words with their periods; the shorthands WEEK and the like follow Druid's standard granularities.
const NAMED: &[(&str, &str)] = &[
    ("SECOND", "PT1S"),
    ("MINUTE", "PT1M"),
    ("FIVE_MINUTE", "PT5M"),
    ("TEN_MINUTE", "PT10M"),
    ("FIFTEEN_MINUTE", "PT15M"),
    ("THIRTY_MINUTE", "PT30M"),
    ("HOUR", "PT1H"),
    ("SIX_HOUR", "PT6H"),
    ("EIGHT_HOUR", "PT8H"),
    ("DAY", "P1D"),
    ("WEEK", "P1W"),
    ("MONTH", "P1M"),
    ("QUARTER", "P3M"),
    ("YEAR", "P1Y"),
];

const EXPECTED: &str = "Expected 'SECOND', 'MINUTE', 'FIVE_MINUTE', 'TEN_MINUTE', 'FIFTEEN_MINUTE', 'THIRTY_MINUTE', \
                        'HOUR', 'SIX_HOUR', 'EIGHT_HOUR', 'DAY', 'MONTH', 'QUARTER', 'YEAR', 'ALL', ALL TIME, FLOOR() \
                        or TIME_FLOOR()";

fn invalid(text: &str) -> PlanError {
    PlanError::parsing(format!(
        "Invalid granularity[{text}] specified after PARTITIONED BY clause. {EXPECTED}"
    ))
}

/// Reads what follows PARTITIONED BY.
///
/// # Errors
/// For anything but a granularity word, an ISO-8601 period in quotes, `FLOOR(__time TO unit)` or
/// `TIME_FLOOR(__time, 'period')`.
pub fn parse(tokens: Vec<TokenWithSpan>, end: Location) -> Result<Granularity, PlanError> {
    let tokens: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::SemiColon | Token::EOF))
        .collect();
    let words: Vec<Option<String>> = tokens.iter().map(word_of).collect();
    match words.as_slice() {
        [Some(word)] if word == "ALL" => return Ok(Granularity::All),
        [Some(all), Some(time)] if all == "ALL" && time == "TIME" => return Ok(Granularity::All),
        [Some(word)] => return named(word).ok_or_else(|| invalid(word)),
        _ => {}
    }
    let expr = parse_all(tokens, end, |parser| parser.parse_expr())?;
    from_expr(&expr)
}

fn named(word: &str) -> Option<Granularity> {
    NAMED
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, period)| Granularity::Period((*period).to_owned()))
}

fn from_expr(expr: &Expr) -> Result<Granularity, PlanError> {
    let refuse = || invalid(&back_quoted_call(expr));
    match expr {
        Expr::Floor {
            expr: argument,
            field: CeilFloorKind::DateTimeField(unit),
        } if is_time(argument) => named(&unit.to_string().to_uppercase()).ok_or_else(refuse),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => period(text).ok_or_else(refuse),
            _ => Err(refuse()),
        },
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("TIME_FLOOR") => {
            match arguments(&function.args).as_slice() {
                [time, Expr::Value(value)] if is_time(time) => match &value.value {
                    Value::SingleQuotedString(text) => period(text).ok_or_else(refuse),
                    _ => Err(refuse()),
                },
                _ => Err(refuse()),
            }
        }
        _ => Err(refuse()),
    }
}

fn back_quoted_call(expr: &Expr) -> String {
    match expr {
        Expr::Function(function) => {
            let arguments: Vec<String> = arguments(&function.args).iter().map(back_quoted).collect();
            format!(
                "`{}`({})",
                function.name.to_string().to_uppercase(),
                arguments.join(", ")
            )
        }
        other => back_quoted(other),
    }
}

fn arguments(arguments: &FunctionArguments) -> Vec<Expr> {
    match arguments {
        FunctionArguments::List(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.value == "__time")
}

/// Periods that Druid takes: those of [`NAMED`], however they are spelt (`PT60M` is not `PT1H`).
fn period(text: &str) -> Option<Granularity> {
    let known = NAMED.iter().any(|(_, period)| *period == text) && Period::parse(text).is_ok();
    known.then(|| Granularity::Period(text.to_owned()))
}
