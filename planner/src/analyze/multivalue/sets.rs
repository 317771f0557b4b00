//! UNION of multi-value strings with VARCHARs.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union};
use sarsen_functions::multivalue::explicit;
use sarsen_functions::types::is_multi_value;

use super::exprs::function;

/// A column that holds several values in one of the inputs is such a column in all of them.
pub(super) fn union(union: Union) -> Result<LogicalPlan> {
    let width = union.schema.fields().len();
    let is_several = |column: usize| {
        let mut inputs = union.inputs.iter();
        inputs.any(|input| {
            let field = input.schema().fields().get(column);
            field.is_some_and(|field| is_multi_value(field.data_type()))
        })
    };
    let several: Vec<bool> = (0..width).map(is_several).collect();
    let inputs = union
        .inputs
        .iter()
        .map(|input| Ok(Arc::new(with_values(input.as_ref().clone(), &several)?)))
        .collect::<Result<Vec<_>>>()?;
    let Some(first) = inputs.first() else {
        return Ok(LogicalPlan::Union(union));
    };
    let types = first.schema().fields().iter();
    let fields: Vec<(Option<TableReference>, FieldRef)> = union
        .schema
        .iter()
        .zip(types.zip(&several))
        .map(|((qualifier, field), (first, is_several))| {
            let field = if *is_several {
                Arc::new(field.as_ref().clone().with_data_type(first.data_type().clone()))
            } else {
                Arc::clone(field)
            };
            (qualifier.cloned(), field)
        })
        .collect();
    let schema = DFSchema::new_with_metadata(fields, union.schema.metadata().clone())?;
    Ok(LogicalPlan::Union(Union {
        inputs,
        schema: Arc::new(schema),
    }))
}

fn with_values(input: LogicalPlan, several: &[bool]) -> Result<LogicalPlan> {
    let schema = Arc::clone(input.schema());
    let mut changes = false;
    let columns = schema
        .iter()
        .zip(several)
        .map(|((qualifier, field), is_several)| {
            let column = Expr::Column((qualifier, field).into());
            if !is_several || is_multi_value(field.data_type()) {
                return Ok(column);
            }
            changes = true;
            let values = function(explicit::AS_VALUES, vec![column])?;
            Ok(values.alias_qualified(qualifier.cloned(), field.name()))
        })
        .collect::<Result<Vec<_>>>()?;
    if !changes {
        return Ok(input);
    }
    LogicalPlanBuilder::from(input).project(columns)?.build()
}
