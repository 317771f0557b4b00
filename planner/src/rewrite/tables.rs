//! What may stand in FROM, and how many rows are wanted.

use sqlparser::ast::{Fetch, FunctionArg, FunctionArgExpr, LimitClause, Query, TableFactor};

/// `UNNEST(x) AS u(c)`, which is read as a table with arguments.
pub fn unnest(factor: &mut TableFactor) {
    let TableFactor::Table {
        name,
        alias,
        args: Some(arguments),
        ..
    } = factor
    else {
        return;
    };
    if !name.to_string().eq_ignore_ascii_case("UNNEST") {
        return;
    }
    let arrays = arguments.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(array)) => Some(array.clone()),
        _ => None,
    });
    if let Some(array_exprs) = arrays.collect::<Option<Vec<_>>>() {
        *factor = TableFactor::UNNEST {
            alias: alias.take(),
            array_exprs,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
    }
}

/// `FETCH FIRST n ROWS ONLY` is `LIMIT n`.
pub(super) fn fetch(query: &mut Query) {
    let Some(Fetch {
        quantity,
        percent: false,
        with_ties: false,
    }) = &query.fetch
    else {
        return;
    };
    let wanted = quantity.clone().unwrap_or_else(|| super::number(1));
    query.fetch = None;
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(wanted),
        clause => {
            *clause = Some(LimitClause::LimitOffset {
                limit: Some(wanted),
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
}
