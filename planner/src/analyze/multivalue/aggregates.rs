//! Aggregations of multi-value strings.
//!
//! Those that look for distinct values and those that collect values take each value; the ones that keep one string of a
//! group take all values of a row as one text.

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Case, Expr, lit};
use sarsen_functions::multivalue::explicit;

use super::exprs::{Exprs, function};

impl Exprs<'_> {
    /// An aggregation with its arguments made explicit.
    pub(super) fn aggregate(&self, mut call: AggregateFunction) -> Result<Expr> {
        let params = &mut call.params;
        let given = std::mem::take(&mut params.args);
        for argument in &given {
            params.args.push(self.argument(argument.clone())?);
        }
        if let Some(filter) = params.filter.take() {
            params.filter = Some(Box::new(self.condition(*filter)?));
        }
        for sort in &mut params.order_by {
            sort.expr = self.value(std::mem::take(&mut sort.expr))?;
        }
        let takes_several = match params.args.first() {
            Some(first) => self.is_multi_value(first)?,
            None => false,
        };
        if !takes_several || sarsen_functions::takes_each_value(call.func.name()) {
            return Ok(Expr::AggregateFunction(call));
        }
        match call.func.name() {
            // Rows are counted, those in which no value is NULL.
            "count" if !params.distinct => {
                let given = given.into_iter().next().unwrap_or_default();
                let has_value = self.condition(Expr::IsNotNull(Box::new(given.unalias())))?;
                params.args = vec![only_where(has_value)];
            }
            "any_value" if is_false(params.args.get(2)) => self.first_as(params, explicit::FIRST_VALUE)?,
            "any_value" | "earliest_by" | "latest_by" => self.first_as(params, explicit::JOINED_VALUES)?,
            name => match sarsen_functions::each_value(name, params.distinct) {
                Some(each) => {
                    call.func = each;
                    call.params.distinct = false;
                }
                None => {
                    return plan_err!(
                        "Aggregation [{}] does not support multi-value strings",
                        name.to_uppercase()
                    );
                }
            },
        }
        Ok(Expr::AggregateFunction(call))
    }

    /// `CASE WHEN x = 'a' THEN 1 END` within an aggregation is a filter of its rows, as Calcite makes it one.
    fn argument(&self, argument: Expr) -> Result<Expr> {
        if let Expr::Case(case) = &argument
            && case.expr.is_none()
            && let [(when, then)] = case.when_then_expr.as_slice()
        {
            let then = self.value(then.as_ref().clone())?;
            let or = match &case.else_expr {
                Some(or) => Some(self.value(or.as_ref().clone())?),
                None => None,
            };
            let is_single = !self.is_multi_value(&then)?
                && match &or {
                    Some(or) => !self.is_multi_value(or)?,
                    None => true,
                };
            if is_single {
                let when = self.condition(when.as_ref().clone())?;
                return Ok(Expr::Case(Case::new(
                    None,
                    vec![(Box::new(when), Box::new(then))],
                    or.map(Box::new),
                )));
            }
        }
        self.value(argument)
    }

    fn first_as(
        &self,
        params: &mut datafusion::logical_expr::expr::AggregateFunctionParams,
        name: &str,
    ) -> Result<()> {
        if let Some(first) = params.args.first_mut() {
            *first = function(name, vec![std::mem::take(first)])?;
        }
        Ok(())
    }
}

fn only_where(condition: Expr) -> Expr {
    Expr::Case(Case::new(
        None,
        vec![(Box::new(condition), Box::new(lit(1_i64)))],
        None,
    ))
}

fn is_false(flag: Option<&Expr>) -> bool {
    match flag {
        Some(Expr::Literal(ScalarValue::Boolean(Some(flag)), _)) => !flag,
        Some(Expr::Literal(text, _)) => text
            .try_as_str()
            .flatten()
            .is_some_and(|text| text.eq_ignore_ascii_case("false")),
        _ => false,
    }
}
