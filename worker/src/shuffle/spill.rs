//! Files that hold blocks that found no room in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::frames::Frame;

/// A file of frames, written from its end and read at any place. It is removed when the last block of it is dropped.
#[derive(Debug)]
pub struct SpillFile {
    path: PathBuf,
    file: File,
    end: Mutex<u64>,
    /// Spilled bytes of the whole worker task.
    spilled: Arc<AtomicU64>,
    /// Bytes that the worker task has in files now.
    held: Arc<AtomicU64>,
}

/// Where a frame stands in its file.
#[derive(Debug, Clone)]
pub struct FramePlace {
    pub file: Arc<SpillFile>,
    pub offset: u64,
    pub header_bytes: u32,
    pub body_bytes: u32,
}

impl SpillFile {
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, spilled: Arc<AtomicU64>, held: Arc<AtomicU64>) -> io::Result<Arc<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Arc::new(SpillFile {
            path: path.to_owned(),
            file,
            end: Mutex::new(0),
            spilled,
            held,
        }))
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn append(self: &Arc<Self>, frame: &Frame) -> io::Result<FramePlace> {
        let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "a block of 4 GiB or more");
        let header_bytes = u32::try_from(frame.header.len()).map_err(too_large)?;
        let body_bytes = u32::try_from(frame.body.len()).map_err(too_large)?;
        let offset = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = *end;
            let bytes = u64::from(header_bytes) + u64::from(body_bytes);
            *end += bytes;
            self.held.fetch_add(bytes, Ordering::Relaxed);
            offset
        };
        self.file.write_all_at(&frame.header, offset)?;
        self.file
            .write_all_at(&frame.body, offset + u64::from(header_bytes))?;
        self.spilled.fetch_add(frame.len() as u64, Ordering::Relaxed);
        Ok(FramePlace {
            file: Arc::clone(self),
            offset,
            header_bytes,
            body_bytes,
        })
    }
}

impl FramePlace {
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> io::Result<Frame> {
        let header_bytes = self.header_bytes as usize;
        let mut bytes = vec![0; header_bytes + self.body_bytes as usize];
        self.file.file.read_exact_at(&mut bytes, self.offset)?;
        let bytes = Bytes::from(bytes);
        Ok(Frame {
            header: bytes.slice(..header_bytes),
            body: bytes.slice(header_bytes..),
        })
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let bytes = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a spill file could not be removed");
        }
    }
}
