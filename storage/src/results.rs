//! Pages of durable results: Parquet files in deep storage, which a query's last stage has written as an export's are.

use ::parquet::arrow::ParquetRecordBatchStreamBuilder;
use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::StorageError;
use crate::reader::object_parquet::ObjectParquet;
use crate::segment::DeepStorage;
use crate::source::ObjectFile;

/// Rows that are read at once.
const BATCH_ROWS: usize = 4096;

/// The rows of a page; of its file one row group at a time is in memory. `None` when the page is not there (any more).
///
/// # Errors
/// When it cannot be read.
pub async fn page(
    deep_storage: &DeepStorage,
    path: &str,
) -> Result<Option<BoxStream<'static, Result<RecordBatch, StorageError>>>, StorageError> {
    let store = deep_storage.object_store();
    let failed = {
        let place = format!("{}/{path}", deep_storage.url());
        move |error: &dyn std::fmt::Display| StorageError::DeepStorage {
            url: place.clone(),
            reason: error.to_string(),
        }
    };
    let location = Path::parse(path).map_err(|error| failed(&error))?;
    let size = match store.head(&location).await {
        Ok(found) => found.size,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let file = ObjectFile {
        store,
        path: location,
        size,
    };
    let builder = ParquetRecordBatchStreamBuilder::new(ObjectParquet(file)).await;
    let rows = builder
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| failed(&error))?;
    Ok(Some(rows.map_err(move |error| failed(&error)).boxed()))
}
