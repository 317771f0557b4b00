//! Files of the formats that exports have.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use sarsen_kernel::query::{ExportCompression, ExportFormat, ExportTarget};
use sarsen_storage::export::{Compressor, ExportFile, StagedFile};

use super::{external, rows};

/// An open file of any format.
pub struct FileEncoder {
    rows: u64,
    encoder: Encoder,
}

enum Encoder {
    Text {
        file: Box<ExportFile>,
        compressor: Compressor,
        format: ExportFormat,
    },
    Parquet(Box<AsyncArrowWriter<ParquetFile>>),
}

/// Bytes that an open row group may hold before it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

impl FileEncoder {
    /// Writes what stands before the rows.
    ///
    /// # Errors
    /// When it cannot be written, or the format cannot hold a column's type.
    pub async fn begin(file: ExportFile, target: &ExportTarget, schema: SchemaRef) -> Result<Self> {
        let encoder = if target.format == ExportFormat::Parquet {
            let properties = WriterProperties::builder()
                .set_compression(parquet_compression(target.compression))
                .set_created_by("sarsen".to_owned())
                .build();
            let writer = AsyncArrowWriter::try_new(ParquetFile(Some(file)), schema, Some(properties))?;
            Encoder::Parquet(Box::new(writer))
        } else {
            let mut text = Encoder::Text {
                file: Box::new(file),
                compressor: Compressor::new(target.compression)?,
                format: target.format,
            };
            if target.format == ExportFormat::Csv {
                text.push(&rows::csv_header(&schema)).await?;
            }
            text
        };
        Ok(FileEncoder { rows: 0, encoder })
    }

    /// Rows of the file by now.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the file by now.
    pub fn bytes(&self) -> u64 {
        match &self.encoder {
            Encoder::Text { file, .. } => file.bytes(),
            Encoder::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
        }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.write(batch).await?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush().await?;
                }
                Ok(())
            }
            text @ Encoder::Text { .. } => {
                let bytes = match text {
                    Encoder::Text {
                        format: ExportFormat::Json,
                        ..
                    } => rows::json_lines(batch)?,
                    _ => rows::csv_lines(batch)?,
                };
                text.push(&bytes).await
            }
        }
    }

    /// Writes what stands behind the rows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn finish(self) -> Result<StagedFile> {
        match self.encoder {
            Encoder::Text {
                mut file,
                mut compressor,
                format,
            } => {
                if format == ExportFormat::Csv {
                    // From the empty line a reader sees that nothing was cut off, as in Druid's files.
                    let bytes = compressor.push(b"\n")?;
                    file.write(&bytes).await.map_err(external)?;
                }
                let bytes = compressor.finish()?;
                file.write(&bytes).await.map_err(external)?;
                file.finish(self.rows).await.map_err(external)
            }
            Encoder::Parquet(mut writer) => {
                writer.finish().await?;
                let file = writer.into_inner().0;
                let file =
                    file.ok_or_else(|| DataFusionError::Internal("the file is finished already".to_owned()))?;
                file.finish(self.rows).await.map_err(external)
            }
        }
    }
}

impl Encoder {
    async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if let Encoder::Text { file, compressor, .. } = self {
            let compressed = compressor.push(bytes)?;
            if !compressed.is_empty() {
                file.write(&compressed).await.map_err(external)?;
            }
        }
        Ok(())
    }
}

fn parquet_compression(compression: ExportCompression) -> Compression {
    match compression {
        ExportCompression::None => Compression::UNCOMPRESSED,
        ExportCompression::Gzip => Compression::GZIP(GzipLevel::default()),
        ExportCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
        ExportCompression::Snappy => Compression::SNAPPY,
    }
}

/// Where a Parquet writer puts its bytes; the file is finished by whoever takes it out.
struct ParquetFile(Option<ExportFile>);

impl AsyncFileWriter for ParquetFile {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            match &mut self.0 {
                Some(file) => {
                    let written = file.write(&bytes).await;
                    written.map_err(|error| ParquetError::External(Box::new(error)))
                }
                None => Err(ParquetError::General("the file is finished already".to_owned())),
            }
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// A file of `schema` without rows.
///
/// # Errors
/// When it cannot be written.
pub async fn empty_file(file: ExportFile, target: &ExportTarget, schema: SchemaRef) -> Result<StagedFile> {
    FileEncoder::begin(file, target, Arc::clone(&schema))
        .await?
        .finish()
        .await
}
