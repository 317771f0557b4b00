//! Numbers as text.

use datafusion::scalar::ScalarValue;

pub use sarsen_kernel::print::{double_text, float_text};

/// A number as CAST writes it; `None` for what is no number.
pub fn number_text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Float64(Some(value)) => Some(double_text(*value)),
        ScalarValue::Float32(Some(value)) => Some(float_text(*value)),
        number if number.data_type().is_integer() && !number.is_null() => Some(number.to_string()),
        _ => None,
    }
}
