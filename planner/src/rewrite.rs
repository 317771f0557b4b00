//! Rewrites of the syntax tree into what DataFusion's SQL planner knows.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, SelectItem, SetExpr, Value, VisitMut,
    VisitorMut,
};

/// Rewrites `query` in place:
/// - `FLOOR(t TO unit)` and `CEIL(t TO unit)` become TIME_FLOOR and TIME_CEIL,
/// - `MOD(a, b)` becomes `a % b`,
/// - unnamed select items get Calcite's names, `EXPR$<position>`.
pub fn rewrite(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Rewriter);
}

/// Rewrites one expression, as [`rewrite`] does those of a query.
pub fn rewrite_expr(expr: &mut Expr) {
    let _ = VisitMut::visit(expr, &mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        name_items(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(modulo) = modulo(expr) {
            *expr = modulo;
            return ControlFlow::Continue(());
        }
        let (argument, unit, name) = match expr {
            Expr::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(unit),
            } => (expr, unit, "time_floor"),
            Expr::Ceil {
                expr,
                field: CeilFloorKind::DateTimeField(unit),
            } => (expr, unit, "time_ceil"),
            _ => return ControlFlow::Continue(()),
        };
        if let Some(period) = period(unit) {
            *expr = call(name, vec![argument.as_ref().clone(), text(period)]);
        }
        ControlFlow::Continue(())
    }
}

/// `MOD(a, b)` as `(a % b)`.
fn modulo(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else {
        return None;
    };
    if !function.name.to_string().eq_ignore_ascii_case("MOD") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let nested = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
    let rest = Expr::BinaryOp {
        left: nested(left),
        op: BinaryOperator::Modulo,
        right: nested(right),
    };
    Some(Expr::Nested(Box::new(rest)))
}

fn period(unit: &DateTimeField) -> Option<&'static str> {
    Some(match unit {
        DateTimeField::Second => "PT1S",
        DateTimeField::Minute => "PT1M",
        DateTimeField::Hour => "PT1H",
        DateTimeField::Day => "P1D",
        DateTimeField::Week(None) => "P1W",
        DateTimeField::Month => "P1M",
        DateTimeField::Quarter => "P3M",
        DateTimeField::Year => "P1Y",
        DateTimeField::Decade => "P10Y",
        DateTimeField::Century => "P100Y",
        DateTimeField::Millennium => "P1000Y",
        _ => return None,
    })
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
