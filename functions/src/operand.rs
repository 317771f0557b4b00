//! Which types a function takes, and what other types become on the way to it: Calcite's implicit coercions.

use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};

use crate::function::{Definition, list_of};
use crate::time::timestamp_type;
use crate::types::{is_json, is_multi_value};

/// A kind of operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// VARCHAR; any other scalar becomes one.
    Text,
    /// VARCHAR and nothing else.
    ProperText,
    /// A VARCHAR that says what type the result has: as it is written.
    Name,
    /// A number of any kind; a text becomes a DOUBLE.
    Number,
    /// BIGINT; fractions are cut off.
    Long,
    /// DOUBLE.
    Double,
    /// TIMESTAMP; a text is read as one.
    Time,
    /// BOOLEAN; a number is true when it is not 0.
    Condition,
    /// An array, or a VARCHAR, which may hold several values; any other scalar is refused.
    Array,
    /// A multi-value string, or a text that stands for one of one value.
    Values,
    /// An array, or a scalar that stands for an array of one element.
    ArrayOrScalar,
    /// A scalar that is put into an array.
    Element,
    /// Any type, as it is.
    Any,
}

impl Operand {
    /// Calcite's name of the family.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Operand::Text | Operand::ProperText | Operand::Name | Operand::Values => "CHARACTER",
            Operand::Number | Operand::Long | Operand::Double => "NUMERIC",
            Operand::Time => "TIMESTAMP",
            Operand::Condition => "BOOLEAN",
            Operand::Array => "ARRAY",
            Operand::ArrayOrScalar | Operand::Element | Operand::Any => "ANY",
        }
    }
}

/// SQL's name of a type, as Calcite's errors have it.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "TIMESTAMP(3)".to_owned(),
        DataType::Utf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::LargeUtf8 => "COMPLEX<JSON>".to_owned(),
        DataType::LargeList(_) => "VARCHAR".to_owned(),
        DataType::List(element) => format!("{} ARRAY", sql_name(element.data_type())),
        other if other.is_integer() => "BIGINT".to_owned(),
        _ => "OTHER".to_owned(),
    }
}

/// Types as Calcite lists them: `<BIGINT>, <VARCHAR>`.
pub(crate) fn sql_names(types: &[DataType]) -> String {
    let names: Vec<String> = types
        .iter()
        .map(|found| format!("<{}>", sql_name(found)))
        .collect();
    names.join(", ")
}

/// Whether a type is VARCHAR.
pub fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View)
}

/// The type that `found` becomes for `operand`; `None` when it cannot.
pub(crate) fn coerce(operand: Operand, found: &DataType) -> Option<DataType> {
    let scalar = !(found.is_nested() || is_json(found) || found.is_binary());
    match operand {
        Operand::ArrayOrScalar if is_json(found) => None,
        Operand::Element if matches!(found, DataType::List(_)) => None,
        Operand::Any | Operand::ArrayOrScalar | Operand::Element => Some(match found {
            text if is_text(text) => DataType::Utf8View,
            integer if integer.is_integer() => DataType::Int64,
            DataType::Decimal128(..) | DataType::Decimal256(..) => DataType::Float64,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => timestamp_type(),
            DataType::List(element) => list_of(coerce(Operand::Any, element.data_type())?),
            other => other.clone(),
        }),
        Operand::Array => match found {
            DataType::List(element) => Some(list_of(coerce(Operand::Any, element.data_type())?)),
            DataType::Null => Some(list_of(DataType::Utf8View)),
            values if is_multi_value(values) => Some(values.clone()),
            text if is_text(text) => Some(DataType::Utf8View),
            _ => None,
        },
        Operand::Text if scalar => Some(DataType::Utf8View),
        Operand::ProperText if is_text(found) || found.is_null() => Some(DataType::Utf8View),
        Operand::Name if is_text(found) || found.is_null() => Some(found.clone()),
        Operand::Values if is_multi_value(found) => Some(found.clone()),
        Operand::Values if scalar => Some(DataType::Utf8View),
        Operand::Number => match found {
            DataType::Float32 | DataType::Float64 => Some(found.clone()),
            DataType::Null => Some(DataType::Int64),
            integer if integer.is_integer() => Some(DataType::Int64),
            DataType::Decimal128(..) | DataType::Decimal256(..) => Some(DataType::Float64),
            text if is_text(text) => Some(DataType::Float64),
            _ => None,
        },
        Operand::Long => match found {
            DataType::Null | DataType::Boolean => Some(DataType::Int64),
            number if number.is_numeric() => Some(DataType::Int64),
            text if is_text(text) => Some(DataType::Int64),
            _ => None,
        },
        Operand::Double => match found {
            DataType::Null => Some(DataType::Float64),
            number if number.is_numeric() => Some(DataType::Float64),
            text if is_text(text) => Some(DataType::Float64),
            _ => None,
        },
        Operand::Time => match found {
            DataType::Null | DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                Some(timestamp_type())
            }
            text if is_text(text) => Some(timestamp_type()),
            _ => None,
        },
        Operand::Condition if scalar => Some(DataType::Boolean),
        Operand::Text | Operand::ProperText | Operand::Name | Operand::Values | Operand::Condition => None,
    }
}

/// Refuses a call with too few or too many arguments, in Calcite's words.
pub(crate) fn check_count(definition: &Definition, found: usize) -> Result<()> {
    let least = definition.required.len();
    let most = least + definition.optional.len();
    if found >= least && (found <= most || definition.rest.is_some()) {
        return Ok(());
    }
    let expected = if definition.rest.is_some() {
        format!("at least {least}")
    } else if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    };
    plan_err!(
        "Invalid number of arguments to function '{}'. Was expecting {expected} arguments",
        definition.name.to_uppercase()
    )
}
