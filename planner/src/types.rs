//! Druid's types, SQL's and Arrow's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use sarsen_functions::time::timestamp_type;
use sarsen_functions::types::{complex_field, complex_name, is_json, is_multi_value, multi_value_type};
use sarsen_kernel::query::ColumnDescriptor;
use sarsen_storage::signature::{DruidType, Signature};
use sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType};

/// Plans SQL type names as Druid means them: TIMESTAMP is ms in UTC, DECIMAL is DOUBLE.
#[derive(Debug)]
pub struct DruidTypes;

impl TypePlanner for DruidTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        Ok(arrow_type(sql_type).map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

fn arrow_type(sql_type: &SqlType) -> Option<DataType> {
    Some(match sql_type {
        SqlType::Timestamp(..) => timestamp_type(),
        SqlType::Date => timestamp_type(),
        SqlType::Decimal(_) | SqlType::Numeric(_) | SqlType::Dec(_) | SqlType::Double(_) | SqlType::Real => {
            DataType::Float64
        }
        SqlType::DoublePrecision => DataType::Float64,
        SqlType::Float(_) => DataType::Float32,
        SqlType::TinyInt(_)
        | SqlType::SmallInt(_)
        | SqlType::Int(_)
        | SqlType::Integer(_)
        | SqlType::BigInt(_) => DataType::Int64,
        SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Varchar(_)
        | SqlType::CharVarying(_)
        | SqlType::String(_) => DataType::Utf8View,
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::SquareBracket(element, _),
        ) => DataType::List(Arc::new(Field::new_list_field(arrow_type(element)?, true))),
        _ => return None,
    })
}

/// Druid's native type name of an Arrow type.
pub fn native_type(field: &Field) -> String {
    if let Some(complex) = complex_name(field) {
        return format!("COMPLEX<{complex}>");
    }
    native_data_type(field.data_type())
}

fn native_data_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 | DataType::Float16 | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "DOUBLE".to_owned()
        }
        json if is_json(json) => "COMPLEX<json>".to_owned(),
        DataType::Utf8 | DataType::Utf8View | DataType::Null => "STRING".to_owned(),
        DataType::LargeList(value) => native_type(value),
        DataType::List(element) | DataType::ListView(element) => {
            format!("ARRAY<{}>", native_type(element))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "COMPLEX".to_owned(),
        _ => "LONG".to_owned(),
    }
}

/// SQL type name of an Arrow type, as `sqlTypeNames` has it.
pub fn sql_type(field: &Field) -> &'static str {
    match field.data_type() {
        DataType::Boolean => "BOOLEAN",
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "TIMESTAMP",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "INTEGER",
        _ => match native_type(field).as_str() {
            "FLOAT" => "FLOAT",
            "DOUBLE" => "DOUBLE",
            "STRING" => "VARCHAR",
            "LONG" => "BIGINT",
            native if native.starts_with("ARRAY") => "ARRAY",
            _ => "OTHER",
        },
    }
}

/// A column for reports.
pub fn descriptor(field: &Field) -> ColumnDescriptor {
    ColumnDescriptor {
        name: field.name().clone(),
        native_type: native_type(field),
        sql_type: sql_type(field).to_owned(),
    }
}

/// The type under which the catalogue keeps a stored column: a multi-value string is told from a VARCHAR.
pub fn stored_type(field: &Field) -> String {
    if is_multi_value(field.data_type()) {
        return STORED_MULTI_VALUE.to_owned();
    }
    native_type(field)
}

const STORED_MULTI_VALUE: &str = "STRING_MV";

/// Arrow field of a datasource's column; `__time` is a TIMESTAMP, whatever its storage type.
pub fn table_field(name: &str, native: &str) -> Field {
    if name == "__time" {
        return Field::new(name, timestamp_type(), true);
    }
    if native == STORED_MULTI_VALUE {
        return Field::new(name, multi_value_type(), true);
    }
    if let Some(complex) = stored_complex(native) {
        return complex_field(name, complex);
    }
    DruidType::parse(native)
        .unwrap_or(DruidType::String)
        .arrow_field(name)
}

/// The name of a type whose values are bytes: that of every COMPLEX but JSON.
fn stored_complex(native: &str) -> Option<&str> {
    let name = native.strip_prefix("COMPLEX<")?.strip_suffix('>')?;
    (!name.eq_ignore_ascii_case("json")).then_some(name)
}

/// The field as statements see it.
pub fn written_field(field: Field) -> Field {
    if is_multi_value(field.data_type()) {
        field.with_data_type(DataType::Utf8View)
    } else {
        field
    }
}

/// The signature's columns for reports.
pub fn signature_descriptors(signature: &Signature) -> Vec<ColumnDescriptor> {
    signature
        .arrow_schema()
        .fields()
        .iter()
        .map(|field| descriptor(field))
        .collect()
}

/// Druid's native type of a SQL type in an EXTEND clause; `None` for one that EXTERN has not.
pub fn native_of_sql(text: &str) -> Option<String> {
    let text = text.trim();
    let upper = text.to_uppercase();
    if let Some(element) = upper.strip_suffix(" ARRAY") {
        return Some(format!("ARRAY<{}>", native_of_sql(element)?));
    }
    if upper.starts_with("TYPE") {
        let inner = text.split_once('\'')?.1.rsplit_once('\'')?.0;
        return Some(inner.to_owned());
    }
    let word = upper.split('(').next().unwrap_or_default().trim();
    Some(
        match word {
            "VARCHAR" | "CHAR" | "CHARACTER" | "STRING" => "STRING",
            "BIGINT" | "INTEGER" | "INT" | "SMALLINT" | "TINYINT" | "BOOLEAN" | "TIMESTAMP" | "DATE" => {
                "LONG"
            }
            "DOUBLE" | "DECIMAL" | "NUMERIC" | "DOUBLE PRECISION" => "DOUBLE",
            "FLOAT" | "REAL" => "FLOAT",
            _ => return None,
        }
        .to_owned(),
    )
}
