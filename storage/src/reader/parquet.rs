//! Parquet.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use tokio::runtime::Handle;

use super::{Output, ReadRequest, Stop, schema_of};
use crate::StorageError;
use crate::source::Opened;

pub(super) fn read(request: &ReadRequest, runtime: &Handle, output: &Output) -> Result<(), Stop> {
    let failed = |error: &dyn std::fmt::Display| StorageError::file(request.file(), error);
    let file = seekable(request, runtime)?;
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| failed(&error))?;
    let groups: Vec<usize> = metadata
        .metadata()
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(_, group)| {
            let start = group
                .columns()
                .iter()
                .map(|column| column.byte_range().0)
                .min()
                .unwrap_or(0);
            let middle = start + u64::try_from(group.compressed_size()).unwrap_or(0) / 2;
            request
                .split
                .range
                .is_none_or(|(from, to)| (from..to).contains(&middle))
        })
        .map(|(index, _)| index)
        .collect();
    for group in &groups {
        let size = metadata.metadata().row_group(*group).compressed_size();
        request.counters.add_bytes(u64::try_from(size).unwrap_or(0));
    }
    let columns = request.columns();
    let schema = schema_of(&columns);
    let wanted = columns.iter().map(|(name, _)| name.as_str());
    let mask = ProjectionMask::columns(metadata.parquet_schema(), wanted);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(request.batch_rows)
        .build()
        .map_err(|error| failed(&error))?;
    for batch in reader {
        let batch = batch.map_err(|error| failed(&error))?;
        output.send(conform(&batch, &schema).map_err(|error| failed(&error))?)?;
    }
    Ok(())
}

/// The file itself, or a copy of a stream in a temporary file: Parquet is read from its end.
fn seekable(request: &ReadRequest, runtime: &Handle) -> Result<File, StorageError> {
    match request.open(0, runtime)? {
        Opened::Local(file) => Ok(file),
        Opened::Stream(mut stream) => {
            let failed = |error: std::io::Error| StorageError::file(request.file(), error);
            let mut copy = unnamed_file().map_err(failed)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                match stream.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    count => copy
                        .write_all(buffer.get(..count).unwrap_or_default())
                        .map_err(failed)?,
                }
            }
            copy.rewind().map_err(failed)?;
            Ok(copy)
        }
    }
}

/// A file that is gone once it is closed.
fn unnamed_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("sarsen-{}.parquet", uuid::Uuid::new_v4()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The batch with the signature's columns and types; a column that the file lacks is NULL.
fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) => {
                // Times are read as ms, whatever the file's unit.
                let column = match (column.data_type(), field.data_type()) {
                    (DataType::Timestamp(..) | DataType::Date32 | DataType::Date64, DataType::Int64) => {
                        cast_with_options(
                            column,
                            &DataType::Timestamp(TimeUnit::Millisecond, None),
                            &options,
                        )?
                    }
                    _ => Arc::clone(column),
                };
                cast_with_options(&column, field.data_type(), &options)
            }
        })
        .collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
