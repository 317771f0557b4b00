//! ORC.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use bytes::{Buf, Bytes};
use object_store::ObjectStoreExt;
use orc_rust::ArrowReaderBuilder;
use orc_rust::projection::ProjectionMask;
use orc_rust::reader::ChunkReader;
use tokio::runtime::Handle;

use super::columnar::{conform, roots};
use super::seekable::Seekable;
use super::{Output, ReadCounters, ReadRequest, Stop, schema_of};
use crate::StorageError;
use crate::format::Columnar;

/// Reads the stripes that begin in the request's range, one at a time, and of these the columns that are wanted.
pub(super) fn read(
    request: &ReadRequest,
    format: &Columnar,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let chunks = Chunks {
        file: Seekable::open(request, runtime, &|| output.is_wanted())?,
        runtime: runtime.clone(),
        counters: Arc::clone(&request.counters),
    };
    let block_bytes = block_bytes(&chunks).map_err(|error| failed(request, 0, &error))?;
    if block_bytes > MOST_BLOCK_BYTES {
        let reason =
            format!("its compressed blocks have {block_bytes} bytes, at most {MOST_BLOCK_BYTES} are read");
        return Err(request.failed_after(0, &reason).into());
    }
    let builder = ArrowReaderBuilder::try_new(chunks).map_err(|error| failed(request, 0, &error))?;
    let columns = request.columns();
    let builder = match roots(&columns, format) {
        Some(roots) => {
            let mask = ProjectionMask::named_roots(builder.file_metadata().root_data_type(), &roots);
            builder.with_projection(mask)
        }
        None => builder,
    };
    let times = in_milliseconds(&builder.schema());
    let mut builder = builder.with_schema(times).with_batch_size(request.batch_rows);
    if let Some((start, end)) = request.split.range {
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        builder = builder.with_file_byte_range(place(start)..place(end));
    }
    let schema = schema_of(&columns);
    let mut rows = 0;
    for batch in builder.build() {
        let batch = batch.map_err(|error| failed(request, rows, &error))?;
        rows += batch.num_rows();
        let batch =
            conform(&batch, &columns, &schema, format).map_err(|error| failed(request, rows, &error))?;
        output.send(batch)?;
    }
    Ok(())
}

/// Bytes of a decompressed block, which are taken before it is looked at. Java's writer makes none of 8 MiB or more.
const MOST_BLOCK_BYTES: u64 = 16 << 20;

/// The block size in the file's postscript, which is before its last byte and as long as that says; 0 where it has none.
fn block_bytes(chunks: &Chunks) -> std::io::Result<u64> {
    let last = chunks.len().min(256);
    let tail = chunks.get_bytes(chunks.len() - last, last)?;
    let Some((length, before)) = tail.split_last() else {
        return Ok(0);
    };
    let start = before.len().saturating_sub(usize::from(*length));
    Ok(block_size(before.get(start..).unwrap_or_default()).unwrap_or(0))
}

/// Field of a postscript that has the block size.
const BLOCK_SIZE: u64 = 3;

/// The block size in a postscript, a protobuf message of which the last value of a field counts.
fn block_size(mut postscript: &[u8]) -> Option<u64> {
    let mut size = None;
    while !postscript.is_empty() {
        let Some(key) = varint(&mut postscript) else {
            break;
        };
        let length = match key & 7 {
            0 => {
                let value = varint(&mut postscript);
                if key >> 3 == BLOCK_SIZE {
                    size = value.or(size);
                }
                Some(0)
            }
            1 => Some(8),
            2 => varint(&mut postscript),
            5 => Some(4),
            _ => None,
        };
        let length = length.and_then(|length| usize::try_from(length).ok());
        match length.and_then(|length| postscript.get(length..)) {
            Some(rest) => postscript = rest,
            None => break,
        }
    }
    size
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn failed(request: &ReadRequest, rows: usize, error: &dyn std::error::Error) -> StorageError {
    request.failed_after(rows, &super::causes(error))
}

/// The schema with all times in milliseconds: nanoseconds end in 2262.
fn in_milliseconds(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(fields_in_milliseconds(schema.fields())))
}

fn fields_in_milliseconds(fields: &Fields) -> Fields {
    fields.iter().map(field_in_milliseconds).collect()
}

fn field_in_milliseconds(field: &FieldRef) -> FieldRef {
    let of_type = match field.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::List(element) => DataType::List(field_in_milliseconds(element)),
        DataType::Map(entries, sorted) => DataType::Map(field_in_milliseconds(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields_in_milliseconds(fields)),
        DataType::Union(members, mode) => {
            let members = members
                .iter()
                .map(|(id, member)| (id, field_in_milliseconds(member)));
            DataType::Union(members.collect(), *mode)
        }
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), of_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

/// Parts of the file, as they are asked for.
struct Chunks {
    file: Seekable,
    runtime: Handle,
    counters: Arc<ReadCounters>,
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn len(&self) -> u64 {
        self.file.size().unwrap_or(0)
    }

    fn get_read(&self, offset: u64) -> std::io::Result<Self::T> {
        match &self.file {
            Seekable::File(file) => Ok(Box::new(BufReader::new(from(file, offset)?))),
            Seekable::Object(_) => {
                let length = self.len().saturating_sub(offset);
                Ok(Box::new(self.get_bytes(offset, length)?.reader()))
            }
        }
    }

    fn get_bytes(&self, offset: u64, length: u64) -> std::io::Result<Bytes> {
        // A file that lies about its own size must not make room for it.
        if offset.checked_add(length).is_none_or(|end| end > self.len()) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.counters.add_bytes(length);
        match &self.file {
            Seekable::File(file) => {
                let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
                from(file, offset)?.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
            Seekable::Object(object) => {
                let range = offset..offset + length;
                let asked = object.store.get_range(&object.path, range);
                self.runtime.block_on(asked).map_err(std::io::Error::other)
            }
        }
    }
}

fn from(mut file: &File, offset: u64) -> std::io::Result<File> {
    file.seek(SeekFrom::Start(offset))?;
    file.try_clone()
}
