//! Values of Arrow arrays as JSON, as Druid makes them of nested columns.

use arrow::array::{Array, AsArray, RecordBatch, StructArray, UnionArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use serde_json::{Map, Value};

use super::times::days_text;
use crate::format::{Columnar, Typed, Unions};

/// How values become JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) format: &'a Columnar,
    /// Of fields of records, at any depth.
    pub(super) unions: Unions,
}

impl Values<'_> {
    /// All values of an array.
    pub(super) fn all(&self, array: &dyn Array) -> Result<Vec<Value>, ArrowError> {
        (0..array.len()).map(|row| self.value(array, row)).collect()
    }

    /// All values of a batch's column.
    pub(super) fn column(&self, batch: &RecordBatch, column: usize) -> Result<Vec<Value>, ArrowError> {
        let array = batch.column(column).as_ref();
        (0..array.len()).map(|row| self.field(array, row)).collect()
    }

    /// One value; of a union whatever it is.
    pub(super) fn value(&self, array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(match array.data_type() {
            DataType::Null => Value::Null,
            DataType::Boolean => array.as_boolean().value(row).into(),
            DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
            DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
            DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
            DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
            DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
            DataType::Float16 => f32::from(array.as_primitive::<Float16Type>().value(row)).into(),
            DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => double(array.as_primitive::<Float64Type>().value(row)),
            DataType::Utf8 => array.as_string::<i32>().value(row).into(),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
            DataType::Utf8View => array.as_string_view().value(row).into(),
            DataType::Binary => self.bytes(array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => self.bytes(array.as_binary::<i64>().value(row)),
            DataType::BinaryView => self.bytes(array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => self.bytes(array.as_fixed_size_binary().value(row)),
            DataType::Date32 => self.date(i64::from(array.as_primitive::<Date32Type>().value(row))),
            DataType::Date64 => self.date(
                array
                    .as_primitive::<Date64Type>()
                    .value(row)
                    .div_euclid(86_400_000),
            ),
            DataType::List(_) => self.all(array.as_list::<i32>().value(row).as_ref())?.into(),
            DataType::LargeList(_) => self.all(array.as_list::<i64>().value(row).as_ref())?.into(),
            DataType::FixedSizeList(..) => self.all(array.as_fixed_size_list().value(row).as_ref())?.into(),
            DataType::Struct(_) => self.object(array.as_struct(), row)?,
            DataType::Map(..) => self.map(&array.as_map().value(row))?,
            DataType::Dictionary(..) => {
                let one = array.slice(row, 1);
                let dictionary = one.as_any_dictionary();
                let key = dictionary.normalized_keys().first().copied().unwrap_or(0);
                self.value(dictionary.values().as_ref(), key)?
            }
            DataType::Union(..) => match array.as_any().downcast_ref::<UnionArray>() {
                Some(union) => self.value(union.value(row).as_ref(), 0)?,
                None => Value::Null,
            },
            _ => self.other(array, row)?,
        })
    }

    /// A field of a record.
    fn field(&self, array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
        match array.as_any().downcast_ref::<UnionArray>() {
            Some(union) if self.unions == Unions::ByType => self.by_type(union, row),
            _ => self.value(array, row),
        }
    }

    /// A union of several types as an object that names the type; a union with one type beside null is no such.
    fn by_type(&self, union: &UnionArray, row: usize) -> Result<Value, ArrowError> {
        let id = union.type_id(row);
        let DataType::Union(members, _) = union.data_type() else {
            return Ok(Value::Null);
        };
        let value = self.value(union.value(row).as_ref(), 0)?;
        let of_value = members.iter().find(|(known, _)| *known == id);
        let name = of_value
            .map(|(_, member)| member.name().as_str())
            .unwrap_or_default();
        if value.is_null() {
            return Ok(Value::Null);
        }
        let name = name.rsplit('.').next().unwrap_or(name).to_owned();
        Ok(Value::Object(Map::from_iter([(name, value)])))
    }

    fn object(&self, array: &StructArray, row: usize) -> Result<Value, ArrowError> {
        let members = array.fields().iter().zip(array.columns());
        let members =
            members.map(|(field, values)| Ok((field.name().clone(), self.field(values.as_ref(), row)?)));
        members
            .collect::<Result<Map<_, _>, ArrowError>>()
            .map(Value::Object)
    }

    fn map(&self, entries: &StructArray) -> Result<Value, ArrowError> {
        let (Some(keys), Some(values)) = (entries.columns().first(), entries.columns().get(1)) else {
            return Ok(Value::Null);
        };
        let entries = (0..entries.len()).map(|row| {
            let key = match self.value(keys.as_ref(), row)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            Ok((key, self.value(values.as_ref(), row)?))
        });
        entries
            .collect::<Result<Map<_, _>, ArrowError>>()
            .map(Value::Object)
    }

    fn bytes(&self, bytes: &[u8]) -> Value {
        self.format.text_of_bytes(bytes).into()
    }

    fn date(&self, days: i64) -> Value {
        match self.format.typed {
            Typed::Orc => days_text(days).into(),
            Typed::Parquet | Typed::Avro => days.saturating_mul(86_400_000).into(),
        }
    }

    /// Times and decimals as numbers, all else as its text.
    fn other(&self, array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
        let one = array.slice(row, 1);
        if let Some(millis) = super::numbers_of_times(&one)? {
            return Ok(millis.as_primitive::<Int64Type>().value(0).into());
        }
        let shown = ArrayFormatter::try_new(one.as_ref(), &FormatOptions::default())?;
        let text = shown.value(0).to_string();
        Ok(match one.data_type().is_decimal() {
            true => text.parse::<f64>().map_or(Value::String(text), Value::from),
            false => Value::String(text),
        })
    }
}

fn double(value: f64) -> Value {
    Value::from(value)
}

/// The shortest decimal that means the same float, as Java writes it.
fn float(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

impl Columnar {
    /// Bytes as a text: as they are, or in base64.
    pub(super) fn text_of_bytes(&self, bytes: &[u8]) -> String {
        match self.binary_as_string {
            true => String::from_utf8_lossy(bytes).into_owned(),
            false => base64::engine::general_purpose::STANDARD.encode(bytes),
        }
    }
}
