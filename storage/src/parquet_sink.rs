//! Where Parquet writers put their bytes.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::{ParquetError, Result};
use sarsen_object::Upload;
use std::sync::Arc;

/// An object that is there once the writer has finished it; nothing of it stays when the writer is dropped before.
#[derive(Debug)]
pub struct UploadSink(Option<Upload>);

impl UploadSink {
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        UploadSink(Some(Upload::new(store, path)))
    }
}

impl AsyncFileWriter for UploadSink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            let upload = self.0.as_mut().ok_or_else(finished)?;
            upload.write(&bytes).await.map_err(external)
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<()>> {
        async move {
            let upload = self.0.take().ok_or_else(finished)?;
            upload.finish().await.map(|_| ()).map_err(external)
        }
        .boxed()
    }
}

fn finished() -> ParquetError {
    ParquetError::General("the file is finished already".to_owned())
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
