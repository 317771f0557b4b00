//! Room for rows: memory of the pool, and files when there is none.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::spill_file::{SpillFile, SpillWriter};
use datafusion::physical_plan::metrics::SpillMetrics;

/// Bytes after which another file is begun, so that what has been read to its end gives its space back.
const FILE_BYTES: u64 = 64 << 20;

/// Part of an operator's memory; it goes back when dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<MemoryReservation>,
    bytes: usize,
}

impl Share {
    /// # Errors
    /// When the pool has no more.
    pub fn take(memory: &Arc<MemoryReservation>, bytes: usize) -> Result<Share> {
        memory.try_grow(bytes)?;
        Ok(Share {
            memory: Arc::clone(memory),
            bytes,
        })
    }

    /// Takes what the pool does not have: others get nothing until it is given back.
    pub fn overdraw(memory: &Arc<MemoryReservation>, bytes: usize) -> Share {
        memory.grow(bytes);
        Share {
            memory: Arc::clone(memory),
            bytes,
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes);
    }
}

/// Writes batches to files, one after another.
pub struct Spiller {
    disk: Arc<DiskManager>,
    metrics: SpillMetrics,
    current: Option<Current>,
}

struct Current {
    file: Arc<dyn SpillFile>,
    writer: Box<dyn SpillWriter>,
    written: u64,
}

/// Where a batch was written to. The file goes when all its places have.
#[derive(Clone)]
pub struct SpillPlace {
    file: Arc<dyn SpillFile>,
    offset: u64,
    bytes: usize,
}

impl Spiller {
    pub fn new(disk: Arc<DiskManager>, metrics: SpillMetrics) -> Self {
        Spiller {
            disk,
            metrics,
            current: None,
        }
    }

    /// # Errors
    /// When the disk or the quota is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<SpillPlace> {
        let mut encoded = Vec::new();
        let mut writer = StreamWriter::try_new(&mut encoded, &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        let current = match self.current.take() {
            Some(current) if current.written < FILE_BYTES => current,
            _ => self.begin()?,
        };
        let current = self.current.insert(current);
        current.writer.write_all(&encoded).map_err(not_written)?;
        let place = SpillPlace {
            file: Arc::clone(&current.file),
            offset: current.written,
            bytes: encoded.len(),
        };
        current.written += encoded.len() as u64;
        self.metrics.spilled_bytes.add(encoded.len());
        self.metrics.spilled_rows.add(batch.num_rows());
        Ok(place)
    }

    fn begin(&self) -> Result<Current> {
        let file = self.disk.create_tmp_file("rows of a window")?;
        self.metrics.spill_file_count.add(1);
        Ok(Current {
            writer: file.open_writer()?,
            file,
            written: 0,
        })
    }
}

impl SpillPlace {
    /// The batch that was written here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<RecordBatch> {
        let path = self.file.path().ok_or_else(|| {
            internal_datafusion_err!("rows of a window were spilled, and not to a local file")
        })?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut encoded = vec![0; self.bytes];
        file.read_exact(&mut encoded)?;
        let mut reader = StreamReader::try_new(encoded.as_slice(), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| internal_datafusion_err!("a spilled batch of a window is empty"))??;
        Ok(batch)
    }
}

/// A full disk stays what it is; all else is the quota, which says so itself.
fn not_written(error: std::io::Error) -> DataFusionError {
    match error.kind() {
        ErrorKind::Other => DataFusionError::ResourcesExhausted(error.to_string()),
        _ => DataFusionError::IoError(error),
    }
}
