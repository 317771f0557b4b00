//! Types that Arrow has no own for: JSON and multi-value strings.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

/// Field metadata key that names the type.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";

/// COMPLEX<json>: its values are JSON texts.
pub const JSON: &str = "druid.json";

/// Arrow's type of COMPLEX<json>. No other value has it, so that JSON is known wherever field metadata is lost: in CASE,
/// UNION and aggregates.
pub fn json_type() -> DataType {
    DataType::LargeUtf8
}

/// Arrow's type of a multi-value string. No other value has it, as for [`json_type`].
pub fn multi_value_type() -> DataType {
    multi_value_of(DataType::Utf8View)
}

/// Arrow's type of what a function gives for each value of a multi-value string.
pub fn multi_value_of(value: DataType) -> DataType {
    DataType::LargeList(Arc::new(Field::new_list_field(value, true)))
}

/// Whether a type is that of JSON.
pub fn is_json(data_type: &DataType) -> bool {
    matches!(data_type, DataType::LargeUtf8)
}

/// Whether a type is that of multi-value strings.
pub fn is_multi_value(data_type: &DataType) -> bool {
    matches!(data_type, DataType::LargeList(_))
}

/// A nullable field of JSON texts.
pub fn json_field(name: &str) -> Field {
    Field::new(name, json_type(), true)
        .with_metadata(HashMap::from([(EXTENSION_NAME.to_owned(), JSON.to_owned())]))
}

/// A nullable field of a COMPLEX type other than JSON, whose values are bytes.
pub fn complex_field(name: &str, complex: &str) -> Field {
    let extension = format!("{COMPLEX_PREFIX}{complex}");
    Field::new(name, DataType::Binary, true)
        .with_metadata(HashMap::from([(EXTENSION_NAME.to_owned(), extension)]))
}

/// The name within `COMPLEX<…>` of a field of bytes; `None` for another field and for bytes without a name.
pub fn complex_name(field: &Field) -> Option<&str> {
    let extension = field.metadata().get(EXTENSION_NAME)?;
    let name = extension.strip_prefix(COMPLEX_PREFIX)?;
    field.data_type().is_binary().then_some(name)
}

const COMPLEX_PREFIX: &str = "druid.";
