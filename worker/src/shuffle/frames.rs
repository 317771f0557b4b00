//! A record batch as the two byte strings of a Flight message: IPC header and LZ4-compressed body. Files hold the same
//! bytes, so that serving a spilled block is copying it.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// One encoded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub header: Bytes,
    pub body: Bytes,
}

impl Frame {
    pub fn len(&self) -> usize {
        self.header.len() + self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Encodes a batch without dictionaries.
///
/// # Errors
/// For types that IPC cannot carry.
pub fn encode(batch: &RecordBatch) -> Result<Frame, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut dictionaries = DictionaryTracker::new(false);
    let (_, data) =
        IpcDataGenerator::default().encode(batch, &mut dictionaries, &options, &mut Default::default())?;
    Ok(Frame {
        header: data.ipc_message.into(),
        body: data.arrow_data.into(),
    })
}

/// Decodes a batch of `schema`.
///
/// # Errors
/// For bytes that are not such a batch.
pub fn decode(frame: &Frame, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let message = root_as_message(&frame.header)
        .map_err(|error| ArrowError::ParseError(format!("a shuffled block has no IPC header: {error}")))?;
    let header = message
        .header_as_record_batch()
        .ok_or_else(|| ArrowError::ParseError("a shuffled block is not a record batch".to_owned()))?;
    let body = Buffer::from(frame.body.clone());
    read_record_batch(&body, header, schema, &HashMap::new(), None, &message.version())
}

/// The batch with its view arrays cut down to the bytes that its own rows use: a slice or a selection would otherwise
/// carry all of its parent's buffers.
pub fn compact(batch: RecordBatch) -> RecordBatch {
    if !batch.columns().iter().any(is_wasteful) {
        return batch;
    }
    let schema = batch.schema();
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View if is_wasteful(column) => Arc::new(column.as_string_view().gc()) as ArrayRef,
            DataType::BinaryView if is_wasteful(column) => Arc::new(column.as_binary_view().gc()) as ArrayRef,
            _ => Arc::clone(column),
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap_or(batch)
}

/// Whether a view array keeps much more bytes alive than its rows use.
fn is_wasteful(column: &ArrayRef) -> bool {
    let (kept, used) = match column.data_type() {
        DataType::Utf8View => {
            let views = column.as_string_view();
            (
                views.data_buffers().iter().map(Buffer::capacity).sum::<usize>(),
                views.total_buffer_bytes_used(),
            )
        }
        DataType::BinaryView => {
            let views = column.as_binary_view();
            (
                views.data_buffers().iter().map(Buffer::capacity).sum::<usize>(),
                views.total_buffer_bytes_used(),
            )
        }
        _ => return false,
    };
    kept > used + used / 4 + 1024
}

/// Bytes of the batch's own rows, about: what it costs in memory and, uncompressed, on the wire.
pub fn live_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => 16 * column.len() + column.as_string_view().total_buffer_bytes_used(),
            DataType::BinaryView => 16 * column.len() + column.as_binary_view().total_buffer_bytes_used(),
            _ => column
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size()),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![
            Field::new("l", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
        ]));
        let text: StringViewArray = (0..rows)
            .map(|row| Some(format!("a text that is not inlined {row}")))
            .collect();
        RecordBatch::try_new(
            schema,
            vec![Arc::new(Int64Array::from_iter(0..rows)), Arc::new(text)],
        )
        .unwrap()
    }

    #[test]
    fn a_batch_survives_its_frame() {
        let batch = batch(100);
        assert_eq!(decode(&encode(&batch).unwrap(), batch.schema()).unwrap(), batch);
    }

    #[test]
    fn a_slice_does_not_carry_its_parents_bytes() {
        let slice = batch(10_000).slice(17, 10);
        let framed = encode(&compact(slice.clone())).unwrap();
        assert!(framed.len() < 3000, "{} bytes for 10 rows", framed.len());
        assert_eq!(decode(&framed, slice.schema()).unwrap(), slice);
    }
}
