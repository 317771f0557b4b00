//! Aggregations of Druid's own. Each is partial and final: its state travels between workers.

mod any;
mod bits;
mod by_time;
mod collect;
pub(crate) mod each;
mod spread;

use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::AggregateUDF;

use arrow::datatypes::DataType;

use crate::operand::{Operand, coerce, sql_names};

/// The functions of this family.
pub fn functions() -> Vec<Arc<AggregateUDF>> {
    let families = [
        any::functions,
        bits::functions,
        by_time::functions,
        collect::functions,
        spread::functions,
    ];
    families.iter().flat_map(|family| family()).collect()
}

/// The types that the arguments of an aggregation become.
///
/// # Errors
/// In Calcite's words, for too few, too many and unfit arguments.
fn operands(name: &str, known: &[Operand], least: usize, found: &[DataType]) -> Result<Vec<DataType>> {
    let name = name.to_uppercase();
    if found.len() < least || found.len() > known.len() {
        return plan_err!(
            "Invalid number of arguments to function '{name}'. Was expecting {least} arguments"
        );
    }
    let coerced = found
        .iter()
        .zip(known)
        .map(|(found, operand)| coerce(*operand, found));
    match coerced.collect() {
        Some(coerced) => Ok(coerced),
        None => {
            let form: Vec<String> = known
                .iter()
                .take(found.len())
                .map(|operand| format!("<{}>", operand.family()))
                .collect();
            plan_err!(
                "Cannot apply '{name}' to arguments of type '{name}({})'. Supported form(s): '{name}({})'",
                sql_names(found),
                form.join(", ")
            )
        }
    }
}
