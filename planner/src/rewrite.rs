//! Rewrites of the syntax tree into what DataFusion's SQL planner knows.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Query, SelectItem, SetExpr, TableFactor, Value, VisitMut, VisitorMut,
};

pub use self::finalize::{Aggregations, finalize};
use crate::derived::free_name;

pub mod calls;
mod chains;
mod finalize;
pub mod tables;
pub mod windows;

/// Rewrites `query` in place:
/// - long chains of AND and OR become balanced trees ([`chains`]),
/// - calls that have their own syntax become plain ones ([`calls`]),
/// - windows are written out ([`windows`]),
/// - UNNEST in FROM and FETCH become what DataFusion plans ([`tables`]),
/// - unnamed select items get Calcite's names, `EXPR$<position>`.
pub fn rewrite(query: &mut Query, clock: Clock) {
    let _ = VisitMut::visit(query, &mut Rewriter { clock });
}

/// What times a statement means.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// What CURRENT_TIMESTAMP means, in ms.
    pub statement_time_ms: i64,
    /// The zone of functions that name none; UTC without one.
    pub zone: Option<String>,
}

/// Rewrites one expression, as [`rewrite`] does those of a query.
pub fn rewrite_expr(expr: &mut Expr, clock: Clock) {
    let _ = VisitMut::visit(expr, &mut Rewriter { clock });
}

struct Rewriter {
    clock: Clock,
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        tables::unnest(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        tables::fetch(query);
        selects(&mut query.body);
        name_items(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        chains::balance(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(call) = calls::plain(expr, &self.clock) {
            *expr = call;
        }
        ControlFlow::Continue(())
    }
}

/// Rewrites the windows of each SELECT of a UNION or the like.
fn selects(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => windows::rewrite(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left);
            selects(right);
        }
        _ => {}
    }
}

fn name_items(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for (position, item) in select.projection.iter_mut().enumerate() {
                if let SelectItem::UnnamedExpr(expr) = item
                    && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                {
                    *item = SelectItem::ExprWithAlias {
                        expr: expr.clone(),
                        alias: Ident::with_quote('"', format!("EXPR${position}")),
                    };
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            name_items(left);
            name_items(right);
        }
        _ => {}
    }
}

/// Gives the columns of a result different names, as Calcite does: a second `x` becomes `x0`.
pub fn distinct_names(query: &mut Query) {
    let mut body = query.body.as_mut();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    let SetExpr::Select(select) = body else { return };
    let mut names = HashSet::new();
    for item in &mut select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (&*expr, written_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (&*expr, Some(alias.value.clone())),
            _ => continue,
        };
        let Some(name) = name else { continue };
        let free = free_name(&name, &names);
        names.insert(free.clone());
        if free == name {
            continue;
        }
        *item = SelectItem::ExprWithAlias {
            expr: expr.clone(),
            alias: Ident::with_quote('"', free),
        };
    }
}

fn written_name(column: &Expr) -> Option<String> {
    match column {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
        _ => None,
    }
}

/// A function call as syntax.
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)))
                .collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A string literal as syntax.
pub fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).into())
}

/// A whole number as syntax.
pub fn number(value: i64) -> Expr {
    Expr::Value(Value::Number(value.to_string(), false).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use sqlparser::ast::Statement;
    use sqlparser::dialect::GenericDialect;
    use sqlparser::parser::Parser;

    #[test]
    fn columns_of_one_name_are_numbered() {
        let named = |sql: &str| {
            let statement = Parser::parse_sql(&GenericDialect {}, sql).unwrap().remove(0);
            let Statement::Query(mut query) = statement else {
                panic!("no query: {sql}")
            };
            super::distinct_names(&mut query);
            query.to_string()
        };
        assert_eq!(
            named("SELECT a, a0, b AS a, t.a, c FROM t"),
            "SELECT a, a0, b AS \"a1\", t.a AS \"a2\", c FROM t"
        );
        assert_eq!(
            named("SELECT a, a FROM t UNION ALL SELECT b, b FROM t"),
            "SELECT a, a AS \"a0\" FROM t UNION ALL SELECT b, b FROM t"
        );
    }
}
