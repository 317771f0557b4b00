//! Batches of files with typed columns, as the columns of a signature.

mod times;
mod values;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use serde_json::{Map, Value};

use self::times::days_text;
use self::values::Values;
use super::columns::{Cell, Columns};
use crate::format::{Columnar, Path, Typed, Unions};
use crate::signature::DruidType;

/// The batch with the signature's columns and types; a column that the file lacks is NULL.
pub(super) fn conform(
    batch: &RecordBatch,
    columns: &[(String, DruidType)],
    schema: &SchemaRef,
    format: &Columnar,
) -> Result<RecordBatch, ArrowError> {
    conform_unions(batch, columns, schema, format, Unions::Values)
}

/// As [`conform`]; `unions` says what they are to the paths of a `flattenSpec`.
pub(super) fn conform_unions(
    batch: &RecordBatch,
    columns: &[(String, DruidType)],
    schema: &SchemaRef,
    format: &Columnar,
    unions: Unions,
) -> Result<RecordBatch, ArrowError> {
    let values = Values { format, unions };
    let arrays = columns.iter().zip(schema.fields()).map(|(column, field)| {
        if let Some(path) = format.flatten.path(&column.0) {
            return found(batch, path, column, values);
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

/// A column as one of the signature.
fn convert(
    values: &ArrayRef,
    column: &(String, DruidType),
    target: &DataType,
    format: &Columnar,
) -> Result<ArrayRef, ArrowError> {
    let values = &plain(values, target, format)?;
    let is_json = matches!(column.1, DruidType::Complex(_));
    // Doubles are written as Java does it.
    let is_shown_double = values.data_type().is_floating() && *target == DataType::Utf8View;
    if !is_json
        && !is_shown_double
        && !is_nested(values.data_type())
        && can_cast_types(values.data_type(), target)
    {
        return cast_with_options(values, target, &SAFE);
    }
    if let (DataType::List(from) | DataType::LargeList(from), DataType::List(_)) =
        (values.data_type(), target)
        && is_as_it_is(from.data_type())
        && can_cast_types(values.data_type(), target)
    {
        return cast_with_options(values, target, &SAFE);
    }
    let rows = Values {
        format,
        unions: Unions::Values,
    }
    .all(values.as_ref())?;
    array_of(rows.iter(), column)
}

/// Whether the elements of lists of this type are cast as they are.
fn is_as_it_is(of_type: &DataType) -> bool {
    of_type.is_integer()
        || of_type.is_string()
        || matches!(of_type, DataType::Boolean | DataType::Float32 | DataType::Float64)
}

fn is_nested(of_type: &DataType) -> bool {
    of_type.is_nested() || matches!(of_type, DataType::Interval(_))
}

/// Values as numbers and texts: Druid has no others.
fn plain(values: &ArrayRef, target: &DataType, format: &Columnar) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Date32 | DataType::Date64
            if format.typed == Typed::Orc && !matches!(target, DataType::Int64) =>
        {
            let days = cast_with_options(values, &DataType::Date32, &SAFE)?;
            let days = days.as_primitive::<Date32Type>().iter();
            let texts = days.map(|day| day.map(|day| days_text(i64::from(day))));
            Ok(Arc::new(texts.collect::<StringViewArray>()))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            texts_of_bytes(values, format)
        }
        DataType::Decimal128(precision, _) if format.typed == Typed::Orc => {
            // More digits than a double has are rounded once only by way of the text.
            let exact = match *precision <= EXACT_DIGITS {
                true => Arc::clone(values),
                false => cast_with_options(values, &DataType::Utf8, &SAFE)?,
            };
            cast_with_options(&exact, &DataType::Float64, &SAFE)
        }
        DataType::Dictionary(_, of_values) => {
            let values = cast_with_options(values, of_values, &SAFE)?;
            plain(&values, target, format)
        }
        _ => Ok(numbers_of_times(values)?.unwrap_or_else(|| Arc::clone(values))),
    }
}

/// Digits of decimals that a double holds exactly before they are scaled.
const EXACT_DIGITS: u8 = 15;

/// Times as Druid counts them: moments and days in ms, times of day and durations in the file's unit. `None` for anything else.
fn numbers_of_times(values: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let through = match values.data_type() {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        DataType::Time32(_) => DataType::Int32,
        DataType::Time64(_) | DataType::Duration(_) => DataType::Int64,
        _ => return Ok(None),
    };
    let numbers = cast_with_options(values, &through, &SAFE)?;
    cast_with_options(&numbers, &DataType::Int64, &SAFE).map(Some)
}

fn texts_of_bytes(values: &ArrayRef, format: &Columnar) -> Result<ArrayRef, ArrowError> {
    let bytes = cast_with_options(values, &DataType::BinaryView, &SAFE)?;
    let bytes = bytes.as_binary_view().iter();
    let texts = bytes.map(|value| value.map(|value| format.text_of_bytes(value)));
    Ok(Arc::new(texts.collect::<StringViewArray>()))
}

/// What each row has at a path.
fn found(
    batch: &RecordBatch,
    path: &Path,
    column: &(String, DruidType),
    values: Values,
) -> Result<ArrayRef, ArrowError> {
    let schema = batch.schema();
    let wanted = |name: &str| path.root().is_none_or(|root| root == name);
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (position, field) in schema.fields().iter().enumerate() {
        if !wanted(field.name()) {
            continue;
        }
        for (row, value) in rows.iter_mut().zip(values.column(batch, position)?) {
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
