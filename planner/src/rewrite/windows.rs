//! Windows as DataFusion plans them: named windows are written out, a frame of one bound has two, and a function over a
//! frame that is always empty sees no rows.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, NamedWindowDefinition,
    NamedWindowExpr, Select, Value, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
    visit_expressions_mut,
};

/// Rewrites the windows of one SELECT; those of its subqueries have been.
pub(super) fn rewrite(select: &mut Select) {
    let named = std::mem::take(&mut select.named_window);
    let _ = visit_expressions_mut(select, |expr| {
        if let Expr::Function(function) = expr {
            window(function, &named);
        }
        ControlFlow::<()>::Continue(())
    });
}

fn window(function: &mut Function, named: &[NamedWindowDefinition]) {
    let mut spec = match &function.over {
        None => return,
        Some(WindowType::WindowSpec(spec)) => spec.clone(),
        Some(WindowType::NamedWindow(name)) => match definition(&name.value, named, 0) {
            Some(spec) => spec,
            // An unknown one is refused with its place by the checks.
            None => return,
        },
    };
    if let Some(name) = spec.window_name.take()
        && let Some(base) = definition(&name.value, named, 0)
    {
        spec = merged(base, spec);
    }
    if let Some(frame) = &mut spec.window_frame {
        two_bounds(frame);
        if is_empty(frame) {
            frame.start_bound = WindowFrameBound::CurrentRow;
            frame.end_bound = Some(WindowFrameBound::CurrentRow);
            no_rows(function);
        }
    }
    function.over = Some(WindowType::WindowSpec(spec));
}

/// Named windows that name others are followed so far.
const MOST_NAMES: usize = 100;

/// The window that a name stands for.
pub fn definition(name: &str, named: &[NamedWindowDefinition], followed: usize) -> Option<WindowSpec> {
    if followed > MOST_NAMES {
        return None;
    }
    let NamedWindowDefinition(_, expr) = named.iter().find(|definition| definition.0.value == name)?;
    match expr {
        NamedWindowExpr::NamedWindow(other) => definition(&other.value, named, followed + 1),
        NamedWindowExpr::WindowSpec(spec) => match &spec.window_name {
            None => Some(spec.clone()),
            Some(base) => Some(merged(
                definition(&base.value, named, followed + 1)?,
                spec.clone(),
            )),
        },
    }
}

fn merged(base: WindowSpec, own: WindowSpec) -> WindowSpec {
    let either = |own: Vec<_>, base| if own.is_empty() { base } else { own };
    WindowSpec {
        window_name: None,
        partition_by: either(own.partition_by, base.partition_by),
        order_by: if own.order_by.is_empty() {
            base.order_by
        } else {
            own.order_by
        },
        window_frame: own.window_frame.or(base.window_frame),
    }
}

/// `ROWS n FOLLOWING` begins at the current row, as `ROWS n PRECEDING` ends there.
fn two_bounds(frame: &mut WindowFrame) {
    if frame.end_bound.is_none()
        && let WindowFrameBound::Following(_) = frame.start_bound
    {
        let end = std::mem::replace(&mut frame.start_bound, WindowFrameBound::CurrentRow);
        frame.end_bound = Some(end);
    }
}

/// Whether a frame of rows ends before it begins.
fn is_empty(frame: &WindowFrame) -> bool {
    if frame.units != WindowFrameUnits::Rows {
        return false;
    }
    let end = frame.end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow);
    match (offset(&frame.start_bound), offset(end)) {
        (Some(start), Some(end)) => start > end,
        _ => false,
    }
}

/// Rows between the current one and a bound; `None` for one that is unbounded or no number.
fn offset(bound: &WindowFrameBound) -> Option<i64> {
    let number = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse::<i64>().ok(),
            _ => None,
        },
        _ => None,
    };
    match bound {
        WindowFrameBound::CurrentRow => Some(0),
        WindowFrameBound::Preceding(Some(rows)) => number(rows).map(|rows| -rows),
        WindowFrameBound::Following(Some(rows)) => number(rows),
        WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) => None,
    }
}

/// Makes NULL of the first argument: no value comes into the function.
fn no_rows(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let never = |value: Expr| Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: Expr::Value(Value::Boolean(false).into()),
            result: value,
        }],
        else_result: None,
    };
    if let Some(FunctionArg::Unnamed(argument)) = list.args.first_mut() {
        *argument = FunctionArgExpr::Expr(never(match argument {
            FunctionArgExpr::Expr(value) => value.clone(),
            _ => super::number(1),
        }));
    }
}
