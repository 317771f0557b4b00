//! Formats whose files say of what type their columns are.

use serde_json::Value;

use super::Flatten;
use crate::StorageError;
use crate::spec::flag;

/// Options of formats with typed columns.
#[derive(Debug, Clone)]
pub struct Columnar {
    pub typed: Typed,
    /// Bytes without a character set are texts; otherwise they are read as base64.
    pub binary_as_string: bool,
    pub flatten: Flatten,
}

/// The formats; they differ in what Druid makes of their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// Dates are milliseconds, decimals exact.
    Parquet,
    /// Dates are ISO texts unless a number is asked for, decimals are doubles.
    Orc,
    /// There are no logical types.
    Avro,
}

impl Columnar {
    /// # Errors
    /// Names the field of the `flattenSpec` that does not fit.
    pub(super) fn parse(json: &Value, typed: Typed) -> Result<Self, StorageError> {
        Ok(Columnar {
            typed,
            binary_as_string: flag(json, "binaryAsString"),
            flatten: Flatten::parse(json)?,
        })
    }
}
