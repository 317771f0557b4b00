//! Avro object container files.

mod container;

use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;

use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::AvroSchema;
use serde_json::Value;
use tokio::runtime::Handle;

use self::container::{Blocks, Header, SCHEMA, skip_marker};
use super::bytes_source::Counted;
use super::columnar::{conform_unions, roots};
use super::{Output, ReadRequest, Stop, schema_of};
use crate::StorageError;
use crate::decompress::decompress;
use crate::format::{Avro, plain_schema};
use crate::source::Opened;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads the blocks of the request's range, of these the fields that are wanted.
pub(super) fn read(
    request: &ReadRequest,
    format: &Avro,
    runtime: &Handle,
    output: &Output,
) -> Result<(), Stop> {
    let failed = |error: &dyn std::error::Error| request.failed_after(0, &super::causes(error));
    let Some((header, blocks)) = open(request, runtime)? else {
        return Ok(());
    };
    let written = schema_of_header(&header).map_err(|reason| request.failed_after(0, &reason))?;
    let columns = request.columns();
    // Not as views: the library's lose their NULLs.
    let mut builder = ReaderBuilder::new().with_batch_size(request.batch_rows);
    let fields = match &format.schema {
        Some(schema) => {
            builder = builder.with_reader_schema(AvroSchema::new(schema.clone()));
            serde_json::from_str(schema).unwrap_or(Value::Null)
        }
        None => written.clone(),
    };
    if let Some(roots) = roots(&columns, &format.columnar) {
        builder = builder.with_projection(positions(&fields, &roots));
    }
    let mut plain = header;
    plain.set(SCHEMA, &written.to_string());
    let stream = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(plain.encode()).chain(blocks));
    let reader = builder.build(stream).map_err(|error| failed(&error))?;
    let schema = schema_of(&columns);
    let mut rows = 0;
    for batch in reader {
        let failed = |rows, error: &dyn std::error::Error| request.failed_after(rows, &super::causes(error));
        let batch = batch.map_err(|error| failed(rows, &error))?;
        rows += batch.num_rows();
        let batch = conform_unions(&batch, &columns, &schema, &format.columnar, format.unions)
            .map_err(|error| failed(rows, &error))?;
        output.send(batch)?;
    }
    Ok(())
}

type Bytes = Box<dyn Read + Send>;

/// The header of the file and the blocks of the range; `None` when none begins in it.
fn open(request: &ReadRequest, runtime: &Handle) -> Result<Option<(Header, Blocks<Bytes>)>, StorageError> {
    let failed = |error: std::io::Error| request.failed_after(0, &super::causes(&error));
    let whole = bytes(request, None, runtime)?;
    let whole = match request.split.range {
        None => decompress(whole, &request.file()).map_err(failed)?,
        Some(_) => whole,
    };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, whole);
    let header = Header::read(&mut reader).map_err(failed)?;
    let mut position = header.bytes;
    if let Some((start, end)) = request.split.range.filter(|(start, _)| *start > 0) {
        let range = bytes(request, Some((start, end)), runtime)?;
        reader = BufReader::with_capacity(BUFFER_BYTES, range);
        match skip_marker(&mut reader, &header.marker).map_err(failed)? {
            Some(skipped) => position = start + skipped,
            None => return Ok(None),
        }
    }
    let end = request.split.range.map(|(_, end)| end);
    let blocks = Blocks::new(reader, &header, position, end);
    Ok(Some((header, blocks)))
}

/// The bytes of the file from the start of a range on, counted as they are read.
fn bytes(request: &ReadRequest, range: Option<(u64, u64)>, runtime: &Handle) -> Result<Bytes, StorageError> {
    let inner: Bytes = match request.open(range.map_or(0, |(start, _)| start), runtime)? {
        Opened::Local(file) => Box::new(file),
        Opened::Stream(stream) => stream,
        // Of a split file only the header is read from its beginning on.
        Opened::Object(object) => {
            object.body(range.or(request.split.range.map(|_| (0, HEADER_BYTES))), runtime)
        }
    };
    Ok(match request.entry {
        Some(_) => inner,
        None => Box::new(Counted {
            inner,
            counters: Arc::clone(&request.counters),
        }),
    })
}

/// Bytes in which a header mostly is.
const HEADER_BYTES: u64 = 64 << 10;

/// The schema that the file was written with, without its logical types.
fn schema_of_header(header: &Header) -> Result<Value, String> {
    let text = header.get(SCHEMA).ok_or("its header has no schema")?;
    let schema: Value = serde_json::from_slice(text).map_err(|error| format!("its schema: {error}"))?;
    match schema.get("type").and_then(Value::as_str) {
        Some("record") => plain_schema(&schema),
        _ => Err("its rows are no records".to_owned()),
    }
}

/// Places of the wanted fields in a schema; at least one, which says how many rows there are.
fn positions(schema: &Value, wanted: &[&str]) -> Vec<usize> {
    let fields = schema
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names = fields.map(|field| field.get("name").and_then(Value::as_str).unwrap_or_default());
    let found = names.enumerate().filter(|(_, name)| wanted.contains(name));
    let mut positions: Vec<usize> = found.map(|(position, _)| position).collect();
    if positions.is_empty() {
        positions.push(0);
    }
    positions
}
