//! Which call a statement is refused for.

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, Projection};
use sarsen_functions::operand::sql_name;
use sqlparser::ast::{Expr, Query};

use super::{Planner, datafusion_statement};
use crate::check::place_of;
use crate::error::PlanError;
use crate::operands::{self, Call};
use crate::{append, parameters, rewrite, sql_types};

const UNKNOWN: &str = "No match found for function signature ";

/// Plans that are tried for one statement: whoever writes the statement decides how large they are.
const MOST_PLANS: usize = 200;

/// How many plans may still be tried.
struct Left(AtomicUsize);

impl Left {
    /// Whether one more may be.
    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl Planner<'_> {
    /// The error with the call that it is about, the types of its operands and its place, where it is about types.
    pub(super) async fn blamed(&self, session: &SessionState, error: PlanError) -> PlanError {
        if !error.message.starts_with(UNKNOWN) && !operands::is_about_types(&error.message) {
            return error;
        }
        let mut query = self.statement.query().clone();
        if parameters::bind(&mut query, &self.request.parameters).is_err() {
            return error;
        }
        let plain = error.clone().without_place();
        let unknown = plain.message.strip_prefix(UNKNOWN);
        let name = unknown.map(|rest| rest.split(';').next().unwrap_or_default());
        let left = Left(AtomicUsize::new(MOST_PLANS));
        for call in operands::calls(&query) {
            let is_named = |name: &str| match &call.expr {
                Expr::Function(function) => function.name.to_string().eq_ignore_ascii_case(name),
                _ => false,
            };
            if name.is_some_and(|name| !is_named(name)) {
                continue;
            }
            let Some(types) = self.operand_types(session, &call, &left).await else {
                continue;
            };
            let Some(message) = self.said_of(session, &call, &types, name, &left).await else {
                continue;
            };
            // The text of a parameter is not in the statement.
            let place = place_of(&call.expr, &self.statement.tokens);
            let hint = unknown.and_then(|rest| rest.split_once(';'));
            let hint = hint.map(|(_, hint)| format!(";{hint}")).unwrap_or_default();
            let blamed = PlanError {
                message: format!("{message}{hint}"),
                ..plain
            };
            return match place {
                Some(place) => blamed.at(place),
                None => blamed,
            };
        }
        error
    }

    /// What is to be said of a call with operands of these types, of a function that is `unknown` by that name; `None` when it
    /// is not to blame.
    async fn said_of(
        &self,
        session: &SessionState,
        call: &Call,
        types: &[String],
        unknown: Option<&str>,
        left: &Left,
    ) -> Option<String> {
        if let (Expr::Function(function), Some(_)) = (&call.expr, unknown) {
            return Some(operands::unknown(&function.name.to_string(), types));
        }
        let own = self.refusal_of(session, call, left).await?;
        if !operands::is_about_types(&own) || !call.is_named_in(&own) {
            return None;
        }
        let forms = own.split_once(". Supported form(s): ").map(|(_, forms)| forms);
        Some(operands::refusal(&call.expr, types, forms))
    }

    /// The SQL types of what a call is applied to; `None` where they cannot be told, since they are refused themselves.
    async fn operand_types(&self, session: &SessionState, call: &Call, left: &Left) -> Option<Vec<String>> {
        let operands = call.operands();
        for query in call.queries(&operands).take_while(|_| left.take()) {
            let Ok(LogicalPlan::Projection(plan)) = self.unchecked(session, query).await else {
                continue;
            };
            let types = planned_types(plan);
            if types.len() == operands.len() {
                let known = operands.iter().zip(types);
                return Some(
                    known
                        .map(|(operand, planned)| operands::type_of(operand).unwrap_or(planned))
                        .collect(),
                );
            }
        }
        None
    }

    /// What is said of a call alone; `None` when nothing is, or there are no more plans to try.
    async fn refusal_of(&self, session: &SessionState, call: &Call, left: &Left) -> Option<String> {
        let mut refusal = None;
        for query in call
            .queries(std::slice::from_ref(&call.expr))
            .take_while(|_| left.take())
        {
            let planned = self.unchecked(session, query).await;
            match planned.and_then(|plan| session.optimize(&plan)) {
                Ok(_) => return None,
                // That of the query which knows the most.
                Err(error) => refusal = Some(self.refused(&error).message),
            }
        }
        refusal
    }

    async fn unchecked(
        &self,
        session: &SessionState,
        mut query: Query,
    ) -> Result<LogicalPlan, DataFusionError> {
        append::write_out(&mut query, &self.request.tables)?;
        rewrite::rewrite(&mut query, self.clock());
        session.statement_to_plan(datafusion_statement(&query)).await
    }
}

fn planned_types(plan: Projection) -> Vec<String> {
    let schema = plan.schema.clone();
    let written = sql_types::output_types(&LogicalPlan::Projection(plan));
    let fields = schema.fields().iter().zip(written);
    let types = fields.map(|(field, written)| match written.as_str() {
        "INTEGER" | "DECIMAL" => written,
        _ => sql_name(field.data_type()),
    });
    types.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_counted() {
        let left = Left(AtomicUsize::new(2));
        assert_eq!(
            [left.take(), left.take(), left.take(), left.take()],
            [true, true, false, false]
        );
    }
}
