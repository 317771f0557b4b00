//! `finalizeAggregations`: whether aggregations give their results or their states (Druid:
//! multi-stage-query/concepts.md#rollup).

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Function, Ident, ObjectName, Query, SelectItem, SetExpr, VisitMut, VisitorMut};

use super::call;

/// What aggregations give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregations {
    #[default]
    Results,
    States,
}

/// Aggregations whose result is made of a state that is a value too.
const STATES: [(&str, &str); 2] = [
    ("APPROX_COUNT_DISTINCT_DS_HLL", "DS_HLL"),
    ("APPROX_COUNT_DISTINCT_DS_THETA", "DS_THETA"),
];

/// Rewrites the aggregations of a query into those that give what is asked for.
pub fn finalize(query: &mut Query, aggregations: Aggregations) {
    match aggregations {
        Aggregations::States => {
            let _ = VisitMut::visit(query, &mut ToStates);
        }
        Aggregations::Results => tuples(&mut query.body),
    }
}

struct ToStates;

impl VisitorMut for ToStates {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some((_, state)) = STATES.iter().find(|(name, _)| is_call(function, name))
        {
            function.name = ObjectName::from(vec![Ident::new(*state)]);
        }
        ControlFlow::Continue(())
    }
}

fn is_call(function: &Function, name: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(name)
}

/// A tuple sketch that a query gives is its estimate.
fn tuples(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                    && let Expr::Function(function) = &*expr
                    && is_call(function, "DS_TUPLE_DOUBLES")
                {
                    *expr = call("__tuple_estimate", vec![expr.clone()]);
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            tuples(left);
            tuples(right);
        }
        _ => {}
    }
}
