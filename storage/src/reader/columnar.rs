//! Batches of files with typed columns, as the columns of a signature.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use serde_json::{Map, Value};

use super::columns::{Cell, Columns};
use crate::format::{Columnar, Path};
use crate::signature::DruidType;

/// The batch with the signature's columns and types; a column that the file lacks is NULL.
pub(super) fn conform(
    batch: &RecordBatch,
    columns: &[(String, DruidType)],
    schema: &SchemaRef,
    format: &Columnar,
) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.iter().zip(schema.fields()).map(|(column, field)| {
        if let Some(path) = format.flatten.path(&column.0) {
            return found(batch, path, column);
        }
        match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(values) => convert(values, column, field.data_type(), format),
        }
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
}

/// Fields of a file that are read for these columns; `None` for all.
pub(super) fn roots<'a>(columns: &'a [(String, DruidType)], format: &'a Columnar) -> Option<Vec<&'a str>> {
    let root = |(name, _): &'a (String, DruidType)| match format.flatten.path(name) {
        None => Some(name.as_str()),
        Some(path) => path.root(),
    };
    columns.iter().map(root).collect()
}

const SAFE: CastOptions<'static> = CastOptions {
    safe: true,
    format_options: FormatOptions::new(),
};

fn convert(
    values: &ArrayRef,
    column: &(String, DruidType),
    target: &DataType,
    format: &Columnar,
) -> Result<ArrayRef, ArrowError> {
    let values = match values.data_type() {
        // Times are read as ms, whatever the file's unit.
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 if *target == DataType::Int64 => {
            &cast_with_options(values, &DataType::Timestamp(TimeUnit::Millisecond, None), &SAFE)?
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            &texts_of_bytes(values, format)?
        }
        _ => values,
    };
    let is_json = matches!(column.1, DruidType::Complex(_));
    if !is_json && !values.data_type().is_nested() && can_cast_types(values.data_type(), target) {
        return cast_with_options(values, target, &SAFE);
    }
    if let (DataType::List(from) | DataType::LargeList(from), DataType::List(_)) =
        (values.data_type(), target)
        && !from.data_type().is_nested()
        && can_cast_types(values.data_type(), target)
    {
        return cast_with_options(values, target, &SAFE);
    }
    let rows = json_of(values)?;
    array_of(rows.iter(), column)
}

fn texts_of_bytes(values: &ArrayRef, format: &Columnar) -> Result<ArrayRef, ArrowError> {
    let bytes = cast_with_options(values, &DataType::BinaryView, &SAFE)?;
    let bytes = arrow::array::cast::AsArray::as_binary_view(bytes.as_ref());
    let mut texts = StringViewBuilder::with_capacity(bytes.len());
    for value in bytes {
        texts.append_option(value.map(|value| match format.binary_as_string {
            true => String::from_utf8_lossy(value).into_owned(),
            false => base64::engine::general_purpose::STANDARD.encode(value),
        }));
    }
    Ok(Arc::new(texts.finish()))
}

/// What each row has at a path.
fn found(batch: &RecordBatch, path: &Path, column: &(String, DruidType)) -> Result<ArrayRef, ArrowError> {
    let schema = batch.schema();
    let wanted = |name: &str| path.root().is_none_or(|root| root == name);
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, values) in schema.fields().iter().zip(batch.columns()) {
        if !wanted(field.name()) {
            continue;
        }
        for (row, value) in rows.iter_mut().zip(json_of(values)?) {
            row.insert(field.name().clone(), value);
        }
    }
    let values: Vec<Value> = rows
        .into_iter()
        .map(|row| path.find(&Value::Object(row)).unwrap_or(Value::Null))
        .collect();
    array_of(values.iter(), column)
}

fn array_of<'a>(
    values: impl ExactSizeIterator<Item = &'a Value>,
    column: &(String, DruidType),
) -> Result<ArrayRef, ArrowError> {
    let count = values.len();
    let mut columns = Columns::new(std::slice::from_ref(column), count);
    for value in values {
        columns.begin_row();
        let cell: Cell = columns.value(value);
        columns.set(0, cell);
        columns.end_row();
    }
    let batch = columns
        .finish()
        .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    match batch.as_ref().map(RecordBatch::columns) {
        Some([array]) => Ok(Arc::clone(array)),
        _ => Ok(new_null_array(&column.1.data_type(), 0)),
    }
}

/// The values of an array as JSON; of a union each as whatever it is.
fn json_of(values: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let field = Arc::new(Field::new("v", values.data_type().clone(), true));
    let options = EncoderOptions::default();
    let Ok(mut encoder) = make_encoder(&field, values.as_ref(), &options) else {
        let shown = ArrayFormatter::try_new(values.as_ref(), &SAFE.format_options)?;
        let text = |row: usize| match values.is_null(row) {
            true => Value::Null,
            false => Value::from(shown.value(row).to_string()),
        };
        return Ok((0..values.len()).map(text).collect());
    };
    let mut json = Vec::new();
    (0..values.len())
        .map(|row| {
            if encoder.is_null(row) {
                return Ok(Value::Null);
            }
            json.clear();
            encoder.encode(row, &mut json);
            serde_json::from_slice(&json).map_err(|error| ArrowError::JsonError(error.to_string()))
        })
        .collect()
}
