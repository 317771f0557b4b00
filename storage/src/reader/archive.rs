//! Zip archives: each of their files is read like one that lies by itself, without ever being unpacked as a whole.

use std::io::{BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::sync::Arc;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use tokio::runtime::Handle;
use zip::{CompressionMethod, ZipArchive};

use super::seekable::Seekable;
use super::{ReadCounters, ReadRequest};
use crate::StorageError;

/// A file of an archive.
#[derive(Clone)]
pub struct Entry {
    /// Path within the archive.
    pub(super) name: String,
    archive: Arc<Seekable>,
    /// Where its own header begins.
    header: u64,
    packed_bytes: u64,
    bytes: u64,
    crc: u32,
    is_deflated: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// The files of a request's archive in the order of its directory: folders and what holds nothing are left out.
pub(super) fn entries(
    request: &ReadRequest,
    runtime: &Handle,
    is_wanted: &dyn Fn() -> bool,
) -> std::result::Result<Vec<Entry>, StorageError> {
    let archive = Arc::new(Seekable::packed(request, runtime, is_wanted)?);
    listed(&archive, runtime).map_err(|error| StorageError::file(request.file(), error))
}

/// What resource forks of files are kept in by some archivers: no data.
const RESOURCES: &str = "__MACOSX/";

fn listed(archive: &Arc<Seekable>, runtime: &Handle) -> Result<Vec<Entry>> {
    let size = archive.size()?;
    let reader = Cursor {
        archive,
        runtime,
        size,
        position: 0,
        piece: Vec::new(),
        piece_start: 0,
    };
    let zip = ZipArchive::new(reader).map_err(Error::other)?;
    let mut entries = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(Error::other)?;
        let name = entry.name().map_err(Error::other)?.into_owned();
        if entry.is_dir() || entry.size() == 0 || name.starts_with(RESOURCES) {
            continue;
        }
        if entry.encrypted() {
            return Err(unsupported(&name, "is encrypted"));
        }
        let is_deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                return Err(unsupported(
                    &name,
                    &format!("is compressed by {other}, not deflate"),
                ));
            }
        };
        entries.push(Entry {
            archive: Arc::clone(archive),
            header: entry.header_start(),
            packed_bytes: entry.compressed_size(),
            bytes: entry.size(),
            crc: entry.crc32(),
            is_deflated,
            name,
        });
    }
    Ok(entries)
}

fn unsupported(name: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("its entry [{name}] {reason}"))
}

/// Bytes of an entry's own header before its name.
const HEADER_BYTES: usize = 30;

impl Entry {
    /// Its bytes as they were before they were packed; those of the archive are counted.
    pub(super) fn open(
        &self,
        counters: &Arc<ReadCounters>,
        runtime: &Handle,
    ) -> Result<Box<dyn Read + Send>> {
        let mut header = [0; HEADER_BYTES];
        let end = self.header + HEADER_BYTES as u64;
        self.archive
            .read_from((self.header, end), runtime)?
            .read_exact(&mut header)?;
        let [.., n0, n1, e0, e1] = header;
        let names = u64::from(u16::from_le_bytes([n0, n1])) + u64::from(u16::from_le_bytes([e0, e1]));
        let start = end + names;
        let packed = self
            .archive
            .read_from((start, start + self.packed_bytes), runtime)?;
        let packed = super::bytes_source::Counted {
            inner: packed.take(self.packed_bytes),
            counters: Arc::clone(counters),
        };
        let packed = BufReader::with_capacity(256 << 10, packed);
        let plain: Box<dyn Read + Send> = match self.is_deflated {
            true => Box::new(DeflateDecoder::new(packed)),
            false => Box::new(packed),
        };
        Ok(Box::new(Checked {
            // One more tells that there are too many.
            inner: plain.take(self.bytes + 1),
            entry: self.clone(),
            crc: Crc::new(),
            read: 0,
        }))
    }
}

/// An entry's bytes, which must be those that its archive promises.
struct Checked<R> {
    inner: R,
    entry: Entry,
    crc: Crc,
    read: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        self.read += count as u64;
        let is_at_end = count == 0 && !buffer.is_empty();
        let is_whole = self.read == self.entry.bytes && self.crc.sum() == self.entry.crc;
        if self.read > self.entry.bytes || (is_at_end && !is_whole) {
            let reason = "is damaged: it does not have the bytes that the archive's directory says";
            return Err(unsupported(&self.entry.name, reason));
        }
        Ok(count)
    }
}

/// Bytes that are read at once of an archive's directory.
const PIECE_BYTES: u64 = 64 << 10;

/// Moves around in an archive to read its directory.
struct Cursor<'a> {
    archive: &'a Seekable,
    runtime: &'a Handle,
    size: u64,
    position: u64,
    piece: Vec<u8>,
    piece_start: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let piece_end = self.piece_start + self.piece.len() as u64;
        if !(self.piece_start..piece_end).contains(&self.position) {
            let end = self.size.min(self.position + PIECE_BYTES);
            self.piece.clear();
            self.piece_start = self.position;
            if self.position < end {
                self.archive
                    .read_from((self.position, end), self.runtime)?
                    .take(end - self.position)
                    .read_to_end(&mut self.piece)?;
            }
        }
        let offset = usize::try_from(self.position - self.piece_start).map_err(Error::other)?;
        let available = self.piece.get(offset..).unwrap_or_default();
        for (target, byte) in buffer.iter_mut().zip(available) {
            *target = *byte;
        }
        let count = available.len().min(buffer.len());
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
