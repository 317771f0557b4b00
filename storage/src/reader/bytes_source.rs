//! The bytes of a split in large pieces, read and decompressed on a thread of their own.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::runtime::Handle;

use super::{ReadCounters, ReadRequest};
use crate::StorageError;
use crate::decompress::decompress;
use crate::source::Opened;

/// Bytes of a piece.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces that may wait for the parser.
const WAITING_PIECES: usize = 4;

/// A growing window over the file from which records are taken.
pub(super) struct Window {
    pieces: Receiver<Result<Vec<u8>, StorageError>>,
    buffer: Vec<u8>,
    position: usize,
    /// File offset of the buffer's first byte.
    offset: u64,
    ended: bool,
}

impl Window {
    /// Starts to read the split of `request`.
    pub(super) fn open(request: &ReadRequest, runtime: &Handle) -> Result<Self, StorageError> {
        let start = request.split.range.map_or(0, |(start, _)| start);
        let opened = request.open(start, runtime)?;
        let counters = Arc::clone(&request.counters);
        let file = request.file();
        let range = request.split.range;
        let is_range = range.is_some();
        let max_bytes = request.max_bytes.unwrap_or(u64::MAX);
        // An archive's entry counts what is read of the archive.
        let counts = request.entry.is_none();
        let requests = runtime.clone();
        let (sender, pieces) = sync_channel(WAITING_PIECES);
        std::thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || {
                let raw: Box<dyn Read + Send> = match opened {
                    Opened::Local(file) => Box::new(file),
                    Opened::Stream(stream) => stream,
                    Opened::Object(object) => object.body(range, &requests),
                };
                let counted: Box<dyn Read + Send> = match counts {
                    true => Box::new(Counted { inner: raw, counters }),
                    false => raw,
                };
                let reader = if is_range {
                    Ok(counted)
                } else {
                    decompress(counted, &file)
                };
                let mut reader = match reader {
                    Ok(reader) => reader.take(max_bytes),
                    Err(error) => {
                        let _ = sender.send(Err(StorageError::file(&file, error)));
                        return;
                    }
                };
                loop {
                    let mut piece = Vec::with_capacity(PIECE_BYTES);
                    let read = reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
                    let message = match read {
                        Ok(0) => return,
                        Ok(_) => Ok(piece),
                        Err(error) => Err(StorageError::file(&file, error)),
                    };
                    let failed = message.is_err();
                    if sender.send(message).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|error| StorageError::file(request.file(), error))?;
        Ok(Window {
            pieces,
            buffer: Vec::new(),
            position: 0,
            offset: start,
            ended: false,
        })
    }

    /// Bytes that are there and not taken yet.
    pub(super) fn available(&self) -> &[u8] {
        self.buffer.get(self.position..).unwrap_or_default()
    }

    /// File offset of the first byte that is not taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset + self.position as u64
    }

    pub(super) fn take(&mut self, count: usize) {
        self.position = (self.position + count).min(self.buffer.len());
    }

    /// Gets more bytes; false at the end of the file.
    pub(super) fn more(&mut self) -> Result<bool, StorageError> {
        if self.ended {
            return Ok(false);
        }
        self.offset += self.position as u64;
        self.buffer.drain(..self.position);
        self.position = 0;
        match self.pieces.recv() {
            Ok(piece) => {
                let piece = piece?;
                if self.buffer.is_empty() {
                    self.buffer = piece;
                } else {
                    self.buffer.extend_from_slice(&piece);
                }
                Ok(true)
            }
            Err(_) => {
                self.ended = true;
                Ok(false)
            }
        }
    }

    /// Length of the next line, without its end, and with it; `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<(usize, usize)>, StorageError> {
        let mut searched = 0;
        loop {
            let available = self.available();
            let unsearched = available.get(searched..).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', unsearched) {
                let end = searched + found;
                let carriage_return = end > 0 && available.get(end - 1) == Some(&b'\r');
                return Ok(Some((end - usize::from(carriage_return), end + 1)));
            }
            searched = available.len();
            if !self.more()? {
                return Ok((searched > 0).then_some((searched, searched)));
            }
        }
    }

    /// Drops the line in whose middle a range begins.
    pub(super) fn align(&mut self, range: Option<(u64, u64)>) -> Result<(), StorageError> {
        if range.is_some_and(|(start, _)| start > 0)
            && let Some((_, with_end)) = self.next_line()?
        {
            self.take(with_end);
        }
        Ok(())
    }

    /// Whether the next line belongs to `range`: one that begins at its very end still does, since the next range
    /// drops its first line.
    pub(super) fn is_within(&self, range: Option<(u64, u64)>) -> bool {
        range.is_none_or(|(_, end)| self.offset() <= end)
    }
}

/// Counts the bytes that are read.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) counters: Arc<ReadCounters>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.counters.add_bytes(count as u64);
        Ok(count)
    }
}
