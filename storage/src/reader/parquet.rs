//! Parquet.

use ::parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::columnar::{conform, roots};
use super::object_parquet::ObjectParquet;
use super::seekable::Seekable;
use super::{Output, ReadRequest, Stop, schema_of};
use crate::StorageError;
use crate::format::Columnar;
use crate::source::ObjectFile;

pub(super) fn read(
    request: &ReadRequest,
    format: &Columnar,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let failed = |error: &dyn std::fmt::Display| StorageError::file(request.file(), error);
    let file = match Seekable::open(request, runtime, &|| output.is_wanted())? {
        Seekable::Object(object) => return read_object(request, format, object, runtime, output),
        Seekable::File(file) => file,
    };
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| failed(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let reader = chosen(request, format, builder, &metadata)
        .build()
        .map_err(|error| failed(&error))?;
    send(request, format, reader, output)
}

/// Bytes of a row group up to which the next one is fetched while one is decoded; of larger ones one is in memory at a
/// time.
const AHEAD_BYTES: i64 = 32 << 20;

/// Only the wanted columns of the wanted row groups are fetched.
fn read_object(
    request: &ReadRequest,
    format: &Columnar,
    object: ObjectFile,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let failed = |error: &dyn std::fmt::Display| StorageError::file(request.file(), error);
    let mut reader = ObjectParquet(object);
    let metadata = runtime
        .block_on(ArrowReaderMetadata::load_async(
            &mut reader,
            ArrowReaderOptions::new(),
        ))
        .map_err(|error| failed(&error))?;
    let groups = wanted_groups(request, &metadata);
    let sizes = groups
        .iter()
        .map(|group| metadata.metadata().row_group(*group).compressed_size());
    let ahead = usize::from(sizes.max().unwrap_or(0) <= AHEAD_BYTES);
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata.clone());
    let mut stream = chosen(request, format, builder, &metadata)
        .build()
        .map_err(|error| failed(&error))?;
    if ahead == 0 {
        while let Some(group) = runtime
            .block_on(stream.next_row_group())
            .map_err(|error| failed(&error))?
        {
            send(request, format, group, output)?;
        }
        return Ok(());
    }
    let (fetched, mut groups) = mpsc::channel(ahead);
    let fetching = runtime.spawn(async move {
        while let Some(group) = stream.next_row_group().await.transpose() {
            if fetched.send(group).await.is_err() {
                return;
            }
        }
    });
    while let Some(group) = groups.blocking_recv() {
        send(request, format, group.map_err(|error| failed(&error))?, output)?;
    }
    // A library that panics must not look like the end of the file.
    let fetched = runtime.block_on(fetching);
    Ok(fetched.map_err(|error| failed(&error))?)
}

/// Row groups whose middle lies in the request's range.
fn wanted_groups(request: &ReadRequest, metadata: &ArrowReaderMetadata) -> Vec<usize> {
    let groups = metadata.metadata().row_groups().iter().enumerate();
    let wanted = groups.filter(|(_, group)| {
        let starts = group.columns().iter().map(|column| column.byte_range().0);
        let middle = starts.min().unwrap_or(0) + u64::try_from(group.compressed_size()).unwrap_or(0) / 2;
        let range = request.split.range;
        range.is_none_or(|(from, to)| (from..to).contains(&middle))
    });
    wanted.map(|(index, _)| index).collect()
}

/// The reader of the request's columns and row groups, whose bytes are counted.
fn chosen<T>(
    request: &ReadRequest,
    format: &Columnar,
    builder: ArrowReaderBuilder<T>,
    metadata: &ArrowReaderMetadata,
) -> ArrowReaderBuilder<T> {
    let groups = wanted_groups(request, metadata);
    for group in &groups {
        let size = metadata.metadata().row_group(*group).compressed_size();
        request.counters.add_bytes(u64::try_from(size).unwrap_or(0));
    }
    let columns = request.columns();
    let mask = match roots(&columns, format) {
        Some(roots) => ProjectionMask::columns(metadata.parquet_schema(), roots),
        None => ProjectionMask::all(),
    };
    builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_batch_size(request.batch_rows)
}

fn send(
    request: &ReadRequest,
    format: &Columnar,
    reader: ParquetRecordBatchReader,
    output: &Output,
) -> Result<(), Stop> {
    let failed = |error: &dyn std::fmt::Display| StorageError::file(request.file(), error);
    let columns = request.columns();
    let schema = schema_of(&columns);
    for batch in reader {
        let batch = batch.map_err(|error| failed(&error))?;
        output.send(conform(&batch, &columns, &schema, format).map_err(|error| failed(&error))?)?;
    }
    Ok(())
}
