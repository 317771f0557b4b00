//! Writes segments as Parquet.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::path::Path as ObjectPath;
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::{DeepStorage, Interval};
use crate::StorageError;
use crate::parquet_sink::UploadSink;

/// What a segment's path is made of.
#[derive(Debug, Clone)]
pub struct SegmentLocation {
    pub datasource: String,
    pub interval: Interval,
    pub version: String,
    pub partition: u32,
    /// Differs for every writer that ever was: files are never written over.
    pub unique: String,
}

impl SegmentLocation {
    /// `<datasource>/<interval>/<version>/<partition>/<unique>/data.parquet`
    pub fn path(&self) -> ObjectPath {
        ObjectPath::from_iter([
            self.datasource.as_str(),
            &self.interval.path_name(),
            &self.version,
            &self.partition.to_string(),
            &self.unique,
            "data.parquet",
        ])
    }
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenSegment {
    /// Below deep storage.
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
}

/// Writes one file: zstd, dictionaries, page statistics.
pub struct SegmentWriter {
    writer: AsyncArrowWriter<UploadSink>,
    path: ObjectPath,
    rows: u64,
}

/// Rows of a row group at the most: small enough that a scan by several threads has work for all.
const ROW_GROUP_ROWS: usize = 262_144;

/// Bytes that an open row group may hold before it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

impl SegmentWriter {
    /// # Errors
    /// When the schema cannot be stored.
    pub async fn create(
        storage: &DeepStorage,
        location: &SegmentLocation,
        schema: SchemaRef,
    ) -> Result<Self, StorageError> {
        let path = location.path();
        let level = ZstdLevel::try_new(1).unwrap_or_default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by("sarsen".to_owned())
            .build();
        let sink = UploadSink::new(storage.object_store(), path.clone());
        let writer = AsyncArrowWriter::try_new(sink, schema, Some(properties)).map_err(|error| {
            StorageError::Write {
                path: path.to_string(),
                reason: error.to_string(),
            }
        })?;
        Ok(SegmentWriter {
            writer,
            path,
            rows: 0,
        })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), StorageError> {
        self.rows += batch.num_rows() as u64;
        self.writer
            .write(batch)
            .await
            .map_err(|error| self.failed(&error))?;
        if self.writer.in_progress_size() > ROW_GROUP_BYTES {
            self.writer.flush().await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When its end cannot be written.
    pub async fn finish(mut self) -> Result<WrittenSegment, StorageError> {
        self.writer.finish().await.map_err(|error| self.failed(&error))?;
        let bytes = self.writer.bytes_written() as u64;
        Ok(WrittenSegment {
            path: self.path.to_string(),
            bytes,
            rows: self.rows,
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> StorageError {
        StorageError::Write {
            path: self.path.to_string(),
            reason: error.to_string(),
        }
    }
}
