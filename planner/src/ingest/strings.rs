//! Strings with several values and arrays of strings, as segments hold them.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sarsen_functions::multivalue::explicit;
use sarsen_functions::operand::{is_text, sql_name};
use sarsen_functions::types::is_multi_value;
use sarsen_kernel::query::ColumnDescriptor;
use serde_json::{Map, Value};

use crate::error::PlanError;
use crate::request::TableSchema;
use crate::settings::ArrayIngestMode;
use crate::types::table_field;

/// Multi-value strings, and arrays that are to be stored as such, as segments hold them.
///
/// # Errors
/// Never in practice: the functions are always there.
pub(super) fn stored(column: Expr, found: &DataType, arrays: ArrayIngestMode) -> Result<Expr> {
    let function = |name, argument| match sarsen_functions::call(name, vec![argument]) {
        Some(call) => Ok(call),
        None => internal_err!("there is no function {name}"),
    };
    let several = if is_multi_value(found) {
        column
    } else if is_array_of_texts(found) && arrays == ArrayIngestMode::MultiValueStrings {
        function("__array_to_mv", column)?
    } else {
        return Ok(column);
    };
    function(explicit::STORED_VALUES, several)
}

fn is_array_of_texts(found: &DataType) -> bool {
    matches!(found, DataType::List(element) if is_text(element.data_type()))
}

/// Refuses to mix arrays and strings in one column, unless `skipTypeVerification` names it.
///
/// Druid: querying/arrays.md#arrayingestmode
///
/// # Errors
/// In Druid's words, which say what would help.
pub fn check(
    plan: &LogicalPlan,
    outputs: &[ColumnDescriptor],
    table: Option<&TableSchema>,
    context: &Map<String, Value>,
    arrays: ArrayIngestMode,
) -> Result<(), PlanError> {
    let Some(table) = table else { return Ok(()) };
    let skipped = skipped(context);
    for (field, output) in plan.schema().fields().iter().zip(outputs) {
        let mut columns = table.columns.iter();
        let Some((name, native)) = columns.find(|(name, _)| *name == output.name) else {
            continue;
        };
        if skipped.contains(name.as_str()) {
            continue;
        }
        let is_array = |found: &DataType| matches!(found, DataType::List(_));
        let is_string = |found: &DataType| is_text(found) || is_multi_value(found);
        let (old, new) = (table_field(name, native), field.data_type());
        let old = old.data_type();
        let becomes_string = is_array_of_texts(new) && arrays == ArrayIngestMode::MultiValueStrings;
        let help = if is_array(new) && !becomes_string && is_string(old) {
            match arrays {
                ArrayIngestMode::Arrays => {
                    format!(". Try wrapping this field using ARRAY_TO_MV(...) AS \"{name}\"")
                }
                ArrayIngestMode::MultiValueStrings => String::new(),
            }
        } else if becomes_string && is_array(old) {
            format!(
                ". Try setting arrayIngestMode to[array] to retain the SQL type[{}]",
                sql_name(new)
            )
        } else if is_string(new) && is_array(old) {
            let mode = match arrays {
                ArrayIngestMode::Arrays => "",
                ArrayIngestMode::MultiValueStrings => " setting arrayIngestMode to[array] and",
            };
            format!(". Try{mode} adjusting your query to make this column an ARRAY instead of VARCHAR")
        } else {
            continue;
        };
        return Err(PlanError::invalid(format!(
            "Cannot write into field[{name}] using type[{}] and arrayIngestMode[{}], since the existing type is[{}]{help}. \
             See https://druid.apache.org/docs/latest/querying/arrays#arrayingestmode for more details about this check \
             and how to override it if needed.",
            sql_name(new),
            match arrays {
                ArrayIngestMode::Arrays => "array",
                ArrayIngestMode::MultiValueStrings => "mvd",
            },
            sql_name(old),
        )));
    }
    Ok(())
}

/// Columns that are not checked: a list with commas, or a JSON array as text.
fn skipped(context: &Map<String, Value>) -> HashSet<String> {
    match context.get("skipTypeVerification") {
        Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(names) => names.into_iter().collect(),
            Err(_) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        },
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => HashSet::new(),
    }
}
