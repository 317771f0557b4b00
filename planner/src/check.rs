//! What is wrong with a statement that parses, found in its syntax tree, where places in the text are still known.

mod windows;

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned, Value, Visit,
    Visitor, visit_expressions,
};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::error::{Place, PlanError};
use crate::statement::{depth_change, word_of};

/// Checks one query; `is_aggregate` knows the names of aggregate functions.
///
/// # Errors
/// For nested aggregates, ordinals that name no column, and windows that are none, in Calcite's words.
pub fn check(
    query: &Query,
    tokens: &[TokenWithSpan],
    is_aggregate: &dyn Fn(&str) -> bool,
) -> Result<(), PlanError> {
    let mut checker = Checker {
        tokens,
        is_aggregate,
        inside: Vec::new(),
    };
    match Visit::visit(query, &mut checker) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Checker<'a> {
    tokens: &'a [TokenWithSpan],
    is_aggregate: &'a dyn Fn(&str) -> bool,
    /// The aggregate calls around the expression that is visited.
    inside: Vec<Place>,
}

impl Checker<'_> {
    fn aggregate(&self, expr: &Expr) -> Option<Place> {
        let Expr::Function(Function { name, over: None, .. }) = expr else {
            return None;
        };
        let is_aggregate = (self.is_aggregate)(&name.to_string().to_lowercase());
        is_aggregate.then(|| place_of(expr, self.tokens)).flatten()
    }

    /// GROUPING tells of groups, which only a query with GROUP BY or another aggregate has.
    fn check_grouping(&self, select: &Select) -> Result<(), PlanError> {
        if !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty()) {
            return Ok(());
        }
        let mut grouping = None;
        let mut has_aggregate = false;
        let _ = visit_expressions(&select.projection, |expr| {
            match expr {
                Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("GROUPING") => {
                    grouping = grouping.or_else(|| place_of(expr, self.tokens));
                }
                other => has_aggregate |= self.aggregate(other).is_some(),
            }
            ControlFlow::<()>::Continue(())
        });
        match grouping {
            Some(place) if !has_aggregate => {
                let message = "GROUPING operator may only occur in an aggregate query";
                Err(PlanError::invalid(message).at(place))
            }
            _ => Ok(()),
        }
    }

    /// A number that no type holds.
    fn check_number(&self, expr: &Expr) -> Result<(), PlanError> {
        let Expr::Value(value) = expr else { return Ok(()) };
        let Value::Number(number, _) = &value.value else {
            return Ok(());
        };
        if number.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        let error = PlanError::invalid(format!(
            "Numeric literal '{}' out of range",
            number.to_uppercase()
        ));
        Err(match place_of(expr, self.tokens) {
            Some(place) => error.at(place),
            None => error,
        })
    }

    fn ordinals(&self, exprs: &[&Expr], columns: usize) -> Result<(), PlanError> {
        for expr in exprs {
            let Expr::Value(value) = expr else { continue };
            let Value::Number(number, _) = &value.value else {
                continue;
            };
            let Ok(ordinal) = number.parse::<usize>() else {
                continue;
            };
            if ordinal == 0 || ordinal > columns {
                let error = PlanError::invalid("Ordinal out of range");
                return Err(match place_of(expr, self.tokens) {
                    Some(place) => error.at(place),
                    None => error,
                });
            }
        }
        Ok(())
    }

    fn check_ordinals(&self, query: &Query) -> Result<(), PlanError> {
        let Some(select) = select_of(query) else {
            return Ok(());
        };
        let Some(columns) = named_columns(select) else {
            return Ok(());
        };
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            self.ordinals(&exprs.iter().collect::<Vec<_>>(), columns)?;
        }
        if let Some(order) = &query.order_by
            && let OrderByKind::Expressions(exprs) = &order.kind
        {
            self.ordinals(&exprs.iter().map(|item| &item.expr).collect::<Vec<_>>(), columns)?;
        }
        Ok(())
    }
}

impl Visitor for Checker<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<PlanError> {
        let checked = self
            .check_ordinals(query)
            .and_then(|()| windows::check(query, self.tokens));
        match checked {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<PlanError> {
        match self.check_grouping(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<PlanError> {
        if let Err(error) = self.check_number(expr) {
            return ControlFlow::Break(error);
        }
        if let Expr::Array(array) = expr
            && array.elem.is_empty()
        {
            return ControlFlow::Break(PlanError::invalid("Require at least 1 argument"));
        }
        if let Some(place) = self.aggregate(expr) {
            if let Some(outer) = self.inside.first() {
                let error = PlanError::invalid("Aggregate expressions cannot be nested");
                return ControlFlow::Break(error.at(*outer));
            }
            self.inside.push(place);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<PlanError> {
        if self.aggregate(expr).is_some() {
            self.inside.pop();
        }
        ControlFlow::Continue(())
    }
}

/// The one SELECT of a query that is no UNION.
pub fn select_of(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => select_of(query),
        _ => None,
    }
}

/// Number of output columns, where no `*` hides it.
fn named_columns(select: &Select) -> Option<usize> {
    let hidden =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    (!select.projection.iter().any(hidden)).then_some(select.projection.len())
}

/// The place of an expression in the text: a call ends with its closing parenthesis.
pub fn place_of(expr: &Expr, tokens: &[TokenWithSpan]) -> Option<Place> {
    let span = expr.span();
    let first = tokens.iter().position(|token| token.span.start == span.start)?;
    let mut last = first;
    let mut depth = 0;
    for (position, token) in tokens.iter().enumerate().skip(first) {
        if token.token == Token::EOF {
            break;
        }
        let opens_call = depth == 0 && position > last && token.token == Token::LParen;
        if depth == 0 && !opens_call && is_after(token.span.start, span.end) {
            break;
        }
        depth += depth_change(&token.token);
        if depth < 0 {
            break;
        }
        last = position;
    }
    let end = tokens.get(last)?.span.end;
    Some(Place {
        line: span.start.line,
        column: span.start.column,
        end_line: end.line,
        end_column: end.column.saturating_sub(1),
    })
}

fn is_after(location: Location, end: Location) -> bool {
    (location.line, location.column) >= (end.line, end.column)
}

/// Calcite's reserved words that a statement may hold by mistake: a parser of theirs names them as keywords.
pub fn is_keyword(token: &TokenWithSpan) -> bool {
    const KEYWORDS: [&str; 60] = [
        "ALL",
        "ALTER",
        "AND",
        "ANY",
        "AS",
        "BETWEEN",
        "BY",
        "CASE",
        "CAST",
        "CREATE",
        "CROSS",
        "DELETE",
        "DESCRIBE",
        "DISTINCT",
        "DROP",
        "ELSE",
        "END",
        "EXCEPT",
        "EXISTS",
        "EXPLAIN",
        "FETCH",
        "FOR",
        "FROM",
        "FULL",
        "GRANT",
        "GROUP",
        "GROUPING",
        "HAVING",
        "IN",
        "INNER",
        "INSERT",
        "INTERSECT",
        "INTO",
        "IS",
        "JOIN",
        "LEFT",
        "LIKE",
        "LIMIT",
        "MERGE",
        "NATURAL",
        "NOT",
        "NULL",
        "OFFSET",
        "ON",
        "OR",
        "ORDER",
        "OUTER",
        "OVER",
        "PARTITION",
        "RIGHT",
        "SELECT",
        "SET",
        "TABLE",
        "THEN",
        "UNION",
        "UPDATE",
        "USING",
        "VALUES",
        "WHEN",
        "WHERE",
    ];
    word_of(token).is_some_and(|word| KEYWORDS.contains(&word.as_str()))
}
