//! What is wrong with the windows of a query.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, NamedWindowExpr, Query, Select, SetExpr, WindowFrame, WindowFrameBound, WindowSpec,
    WindowType, visit_expressions,
};
use sqlparser::tokenizer::TokenWithSpan;

use super::place_of;
use crate::error::PlanError;
use crate::extend::place;
use crate::rewrite::windows::definition;

/// Functions that exist over windows only.
const OVER_ONLY: [&str; 8] = [
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
    "PERCENT_RANK",
    "CUME_DIST",
    "NTILE",
    "LAG",
    "LEAD",
];

/// # Errors
/// In Calcite's words.
pub(super) fn check(query: &Query, tokens: &[TokenWithSpan]) -> Result<(), PlanError> {
    selects(&query.body, &mut |select| check_select(select, tokens))
}

fn selects(body: &SetExpr, check: &mut dyn FnMut(&Select) -> Result<(), PlanError>) -> Result<(), PlanError> {
    match body {
        SetExpr::Select(select) => check(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects(left, check)?;
            selects(right, check)
        }
        _ => Ok(()),
    }
}

fn check_select(select: &Select, tokens: &[TokenWithSpan]) -> Result<(), PlanError> {
    for window in &select.named_window {
        if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
            check_frame(spec.window_frame.as_ref())?;
        }
    }
    // Windows of subqueries are looked up among those of their own SELECT.
    for item in &select.projection {
        let checked = visit_expressions(item, |expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(Ok(())),
            Expr::Function(function) => match check_function(expr, function, select, tokens) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            },
            _ => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(Err(error)) = checked {
            return Err(error);
        }
    }
    Ok(())
}

fn check_function(
    expr: &Expr,
    function: &Function,
    select: &Select,
    tokens: &[TokenWithSpan],
) -> Result<(), PlanError> {
    let located = |error: PlanError| match place_of(expr, tokens) {
        Some(place) => error.at(place),
        None => error,
    };
    let name = function.name.to_string().to_uppercase();
    let spec: WindowSpec = match &function.over {
        None if OVER_ONLY.contains(&name.as_str()) => {
            return Err(located(PlanError::invalid(
                "OVER clause is necessary for window functions",
            )));
        }
        None => return Ok(()),
        Some(WindowType::WindowSpec(spec)) => spec.clone(),
        Some(WindowType::NamedWindow(window)) => match definition(&window.value, &select.named_window, 0) {
            Some(spec) => spec,
            None => {
                let error = PlanError::invalid(format!("Window '{}' not found", window.value));
                return Err(error.at(place(window.span)));
            }
        },
    };
    if function.filter.is_some() {
        return Err(located(PlanError::invalid(
            "OVER must be applied to aggregate function",
        )));
    }
    check_frame(spec.window_frame.as_ref()).map_err(located)?;
    let ranks = ["RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST"].contains(&name.as_str());
    if ranks && spec.order_by.is_empty() {
        return Err(located(PlanError::invalid(
            "RANK or DENSE_RANK functions require ORDER BY clause in window specification",
        )));
    }
    Ok(())
}

fn check_frame(frame: Option<&WindowFrame>) -> Result<(), PlanError> {
    let Some(WindowFrame {
        start_bound,
        end_bound: Some(end_bound),
        ..
    }) = frame
    else {
        return Ok(());
    };
    if matches!(start_bound, WindowFrameBound::Following(None)) {
        return Err(PlanError::invalid(
            "UNBOUNDED FOLLOWING cannot be specified for the lower frame boundary",
        ));
    }
    if matches!(end_bound, WindowFrameBound::Preceding(None)) {
        return Err(PlanError::invalid(
            "UNBOUNDED PRECEDING cannot be specified for the upper frame boundary",
        ));
    }
    Ok(())
}
