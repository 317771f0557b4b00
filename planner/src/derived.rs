//! Subqueries in FROM: their columns have different names, as Calcite gives them, and belong to no table of theirs.

use std::collections::HashSet;

use datafusion::common::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::TableFactor;

use crate::rewrite::distinct_names;

/// Plans `FROM (SELECT …)`.
#[derive(Debug)]
pub struct DerivedPlanner;

impl RelationPlanner for DerivedPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::Derived {
                lateral: false,
                mut subquery,
                alias,
                sample: None,
            } => {
                distinct_names(&mut subquery);
                // What is lateral comes back here, and goes on to DataFusion.
                let plan = context.plan(TableFactor::Derived {
                    lateral: true,
                    subquery,
                    alias: None,
                    sample: None,
                })?;
                let plan = named(plan, alias.is_some())?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
                    plan, alias,
                ))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

/// The plan with different names for its columns: a second `x` becomes `x0`.
fn named(plan: LogicalPlan, has_alias: bool) -> Result<LogicalPlan> {
    let mut names = HashSet::new();
    let mut changes = false;
    let mut exprs: Vec<Expr> = Vec::new();
    for (qualifier, field) in plan.schema().iter() {
        let name = free_name(field.name(), &names);
        changes |= name != *field.name() || (qualifier.is_some() && !has_alias);
        exprs.push(Expr::Column((qualifier, field).into()).alias(&name));
        names.insert(name);
    }
    if !changes {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// `name`, or with the first number behind it that makes it another than `names`.
pub fn free_name(name: &str, names: &HashSet<String>) -> String {
    if !names.contains(name) {
        return name.to_owned();
    }
    let mut numbered = (0_usize..).map(|number| format!("{name}{number}"));
    numbered
        .find(|name| !names.contains(name))
        .unwrap_or_else(|| name.to_owned())
}
