//! Batches may share buffers that are far larger than what they show of them: slices of a block, or views of texts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeListArray, ListArray, RecordBatch, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::physical_plan::spill::get_record_batch_memory_size;

/// Bytes that are not worth a copy.
const SLACK_BYTES: usize = 4 << 10;

/// The batch, copied if it keeps more than twice what it shows, so that its size in memory and on disk is that of its
/// rows.
///
/// # Errors
/// Never in practice: the schema stays.
pub fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let shown: usize = batch.columns().iter().map(shown_bytes).sum();
    if get_record_batch_memory_size(&batch) <= 2 * shown + SLACK_BYTES {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(copied).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn shown_bytes(array: &ArrayRef) -> usize {
    let texts = match array.data_type() {
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used(),
        _ => 0,
    };
    texts + array.to_data().get_slice_memory_size().unwrap_or(0)
}

fn copied(array: &ArrayRef) -> Result<ArrayRef> {
    let copy = match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()) as ArrayRef,
        other => concat(&[array.as_ref(), new_empty_array(other).as_ref()])?,
    };
    match copy.data_type() {
        DataType::LargeList(_) => {
            let (field, offsets, values, nulls) = copy.as_list::<i64>().clone().into_parts();
            let list = LargeListArray::try_new(field, offsets, copied(&values)?, nulls)?;
            Ok(Arc::new(list))
        }
        DataType::List(_) => {
            let (field, offsets, values, nulls) = copy.as_list::<i32>().clone().into_parts();
            let list = ListArray::try_new(field, offsets, copied(&values)?, nulls)?;
            Ok(Arc::new(list))
        }
        _ => Ok(copy),
    }
}
