//! Scalar expressions evaluated for each value.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::logical_plan::{EmptyRelation, Projection};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::Analyzer;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;
use sarsen_functions::multivalue::{MapValues, Sees};
use sarsen_functions::types::is_multi_value;

use super::exprs::{Exprs, each_leaf};
use super::value_type;
use crate::analyze;

/// `expr` for each combination of the values of the multi-value strings in it; itself where there is none.
pub(super) fn map_values(expr: Expr, exprs: &Exprs<'_>) -> Result<Expr> {
    let mut inputs = Inputs::default();
    let body = each_leaf(expr.clone(), &mut |leaf| inputs.bind(leaf, exprs.schema))?;
    if !inputs.sees.contains(&Sees::EachValue) {
        return Ok(expr);
    }
    // CAST(x AS VARCHAR) and the like: the values are that already.
    if let (Expr::Column(_), [only]) = (&body, inputs.leaves.as_slice()) {
        return Ok(only.clone());
    }
    let shown = body.human_display().to_string();
    let seen = Arc::new(Schema::new(inputs.fields));
    let body = analyzed(body, Arc::new(DFSchema::try_from(Arc::clone(&seen))?), exprs)?;
    let physical = create_physical_expr(
        &body,
        &DFSchema::try_from(Arc::clone(&seen))?,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )?;
    Ok(MapValues::try_new(physical, seen, inputs.sees, shown)?.call(inputs.leaves))
}

/// What stands at the leaves of an expression, each by a name of its own.
#[derive(Default)]
struct Inputs {
    leaves: Vec<Expr>,
    fields: Vec<Field>,
    sees: Vec<Sees>,
    names: HashMap<Expr, String>,
}

impl Inputs {
    /// The name of a leaf; the same leaf has the same value wherever it stands.
    fn bind(&mut self, leaf: Expr, schema: &DFSchema) -> Result<Expr> {
        if let Some(name) = self.names.get(&leaf) {
            return Ok(Expr::Column(Column::from_name(name.clone())));
        }
        let (_, field) = leaf.to_field(schema)?;
        let name = match &leaf {
            Expr::Column(column) => self.unused(&column.name),
            _ => self.unused("x"),
        };
        let seen = value_type(field.data_type());
        self.sees.push(if is_multi_value(field.data_type()) {
            Sees::EachValue
        } else {
            Sees::Whole
        });
        self.fields.push(
            Field::new(&name, seen, true).with_metadata(match field.data_type() {
                DataType::LargeList(_) => HashMap::new(),
                _ => field.metadata().clone(),
            }),
        );
        self.names.insert(leaf.clone(), name.clone());
        self.leaves.push(leaf);
        Ok(Expr::Column(Column::from_name(name)))
    }

    fn unused(&self, name: &str) -> String {
        let is_free = |name: &String| !self.fields.iter().any(|field| field.name() == name);
        let numbered = (0_usize..).map(|number| match number {
            0 => name.to_owned(),
            _ => format!("{name}{number}"),
        });
        numbered.into_iter().find(is_free).unwrap_or_default()
    }
}

/// `body` as the other rules and the optimiser would leave it.
fn analyzed(body: Expr, schema: DFSchemaRef, exprs: &Exprs<'_>) -> Result<Expr> {
    let input = LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: false,
        schema: Arc::clone(&schema),
    });
    let plan = LogicalPlan::Projection(Projection::try_new(vec![body.alias("body")], Arc::new(input))?);
    let analyzer = Analyzer::with_rules(analyze::rules_of_scalars(exprs.zone.map(str::to_owned)));
    let LogicalPlan::Projection(projection) = analyzer.execute_and_check(plan, exprs.config, |_, _| {})?
    else {
        return internal_err!("a projection was analyzed into something else");
    };
    let Some(body) = projection.expr.into_iter().next() else {
        return internal_err!("a projection lost its expression");
    };
    let context = SimplifyContext::builder().with_schema(schema).build();
    ExprSimplifier::new(context).simplify(body.unalias())
}
