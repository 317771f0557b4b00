//! Avro's container: a header with the schema, then blocks of rows, each followed by the file's marker.
//!
//! Blocks are handed on as bytes, so that a reader may begin behind any marker: large files are read by all workers.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

use memchr::memmem::Finder;

/// What a file begins with.
const MAGIC: &[u8] = b"Obj\x01";

/// Key of the schema in a header.
pub(super) const SCHEMA: &str = "avro.schema";

/// Bytes of a marker.
pub(super) const MARKER_BYTES: usize = 16;

/// Bytes that a header may have.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) marker: [u8; MARKER_BYTES],
    /// Its own length in bytes.
    pub(super) bytes: u64,
}

impl Header {
    /// Reads the beginning of a file.
    pub(super) fn read(reader: impl Read) -> Result<Self> {
        let mut reader = Limited {
            inner: reader.take(MAX_HEADER_BYTES),
        };
        let mut magic = [0; 4];
        reader.inner.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(malformed("it is no Avro object container file"));
        }
        let mut entries = Vec::new();
        loop {
            let count = match reader.long()? {
                0 => break,
                // A negative count is followed by the size of the entries in bytes.
                count if count < 0 => {
                    reader.long()?;
                    count.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            for _ in 0..count {
                entries.push((reader.bytes()?, reader.bytes()?));
            }
        }
        let mut marker = [0; MARKER_BYTES];
        reader.inner.read_exact(&mut marker)?;
        Ok(Header {
            entries,
            marker,
            bytes: MAX_HEADER_BYTES - reader.inner.limit(),
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let mut entries = self.entries.iter();
        let found = entries.find(|(known, _)| known == key.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        for (known, old) in &mut self.entries {
            if known == key.as_bytes() {
                *old = value.as_bytes().to_vec();
            }
        }
    }

    /// The header as a file has it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoded = MAGIC.to_vec();
        if !self.entries.is_empty() {
            put_long(&mut encoded, self.entries.len());
        }
        for text in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            put_long(&mut encoded, text.len());
            encoded.extend_from_slice(text);
        }
        put_long(&mut encoded, 0);
        encoded.extend_from_slice(&self.marker);
        encoded
    }
}

/// Zigzag and seven bits a byte.
fn put_long(encoded: &mut Vec<u8>, value: usize) {
    let mut rest = (value as u64) << 1;
    while rest >= 0x80 {
        encoded.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    encoded.push(rest as u8);
}

fn malformed(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}

/// A header's bytes.
struct Limited<R> {
    inner: std::io::Take<R>,
}

impl<R: Read> Limited<R> {
    fn long(&mut self) -> Result<i64> {
        let mut long = Long::default();
        loop {
            let mut byte = [0];
            self.inner.read_exact(&mut byte)?;
            if let Some(value) = long.push(byte[0])? {
                return Ok(value);
            }
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        let length = u64::try_from(self.long()?).map_err(|_| malformed("a negative length"))?;
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(length).read_to_end(&mut bytes)?;
        match read as u64 == length {
            true => Ok(bytes),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A number that is read byte by byte.
#[derive(Debug, Default)]
struct Long {
    value: u64,
    shift: u32,
}

impl Long {
    /// Takes the next byte; the number once it is whole.
    fn push(&mut self, byte: u8) -> Result<Option<i64>> {
        if self.shift > 63 {
            return Err(malformed("a number of more than ten bytes"));
        }
        self.value |= u64::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let value = (self.value >> 1).cast_signed() ^ -(self.value & 1).cast_signed();
        Ok(Some(value))
    }
}

/// Bytes of blocks in a row, up to the last one that belongs to a range.
pub(super) struct Blocks<R> {
    reader: BufReader<R>,
    marker: [u8; MARKER_BYTES],
    /// Where the reader is in the file.
    position: u64,
    /// Blocks whose preceding marker begins from here on belong to others.
    end: u64,
    /// What is still to be handed on as it is: the beginning of the block, then a marker.
    head: Vec<u8>,
    handed: usize,
    /// Bytes of the block's rows that are still to be handed on.
    left: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Rows,
    Marker,
}

impl<R: Read> Blocks<R> {
    /// `reader` stands at `position`, right behind a marker.
    pub(super) fn new(reader: BufReader<R>, header: &Header, position: u64, end: Option<u64>) -> Self {
        Blocks {
            reader,
            marker: header.marker,
            position,
            end: end.unwrap_or(u64::MAX),
            head: Vec::new(),
            handed: 0,
            left: 0,
            place: Place::Between,
        }
    }

    /// Reads a block's number of rows and of bytes; false behind the last block.
    fn begin(&mut self) -> Result<bool> {
        if self.position.saturating_sub(MARKER_BYTES as u64) >= self.end {
            return Ok(false);
        }
        self.head.clear();
        self.handed = 0;
        if self.reader.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.number()?;
        let size = self.number()?;
        self.left = u64::try_from(size).map_err(|_| malformed("a block of negative size"))?;
        self.position += self.head.len() as u64 + self.left;
        self.place = Place::Rows;
        Ok(true)
    }

    fn number(&mut self) -> Result<i64> {
        let mut long = Long::default();
        loop {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.head.push(byte[0]);
            if let Some(value) = long.push(byte[0])? {
                return Ok(value);
            }
        }
    }

    fn end_block(&mut self) -> Result<()> {
        let mut marker = [0; MARKER_BYTES];
        self.reader.read_exact(&mut marker)?;
        if marker != self.marker {
            return Err(malformed("a block does not end with the marker of the file"));
        }
        self.position += MARKER_BYTES as u64;
        self.head.clear();
        self.handed = 0;
        self.head.extend_from_slice(&marker);
        self.place = Place::Marker;
        Ok(())
    }
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let head = self.head.get(self.handed..).unwrap_or_default();
            if !head.is_empty() {
                let count = head.len().min(buffer.len());
                for (target, byte) in buffer.iter_mut().zip(head) {
                    *target = *byte;
                }
                self.handed += count;
                return Ok(count);
            }
            match self.place {
                Place::Rows if self.left > 0 => {
                    let count = self.reader.by_ref().take(self.left).read(buffer)?;
                    if count == 0 && !buffer.is_empty() {
                        return Err(Error::new(
                            ErrorKind::UnexpectedEof,
                            "the file ends within a block",
                        ));
                    }
                    self.left -= count as u64;
                    return Ok(count);
                }
                Place::Rows => self.end_block()?,
                Place::Between | Place::Marker => {
                    if !self.begin()? {
                        return Ok(0);
                    }
                }
            }
        }
    }
}

/// Reads on behind the next marker; how many bytes that were, or `None` at the end of the file.
pub(super) fn skip_marker(reader: &mut impl BufRead, marker: &[u8]) -> Result<Option<u64>> {
    let finder = Finder::new(marker);
    let mut window: Vec<u8> = Vec::new();
    let mut skipped = 0;
    loop {
        let kept = window.len();
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(None);
        }
        window.extend_from_slice(available);
        let count = available.len();
        if let Some(found) = finder.find(&window) {
            let taken = found + marker.len() - kept;
            reader.consume(taken);
            return Ok(Some(skipped + taken as u64));
        }
        reader.consume(count);
        skipped += count as u64;
        let rest = window.len().saturating_sub(marker.len() - 1);
        window.drain(..rest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn header() -> Header {
        let entries = vec![(b"avro.schema".to_vec(), vec![b'x'; 200])];
        let header = Header {
            entries,
            marker: *b"0123456789abcdef",
            bytes: 0,
        };
        Header::read(header.encode().as_slice()).unwrap()
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let mut header = header();
        assert_eq!(header.get(SCHEMA), Some([b'x'; 200].as_slice()));
        assert_eq!(header.bytes, header.encode().len() as u64);
        header.set(SCHEMA, "y");
        let read = Header::read(header.encode().as_slice()).unwrap();
        assert_eq!(read.get(SCHEMA), Some(b"y".as_slice()));
        for broken in [b"PAR1".as_slice(), b"Obj\x01", b"Obj\x01\x02\x7f"] {
            assert!(Header::read(broken).is_err());
        }
    }

    /// Blocks of 1, 2, … rows with so many bytes.
    fn blocks(marker: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for rows in 1..=5_usize {
            put_long(&mut bytes, rows);
            put_long(&mut bytes, 100 * rows);
            bytes.extend(std::iter::repeat_n(rows as u8, 100 * rows));
            bytes.extend_from_slice(marker);
        }
        bytes
    }

    #[test]
    fn each_block_belongs_to_one_range() {
        let header = header();
        let body = blocks(&header.marker);
        let file = [header.encode(), body.clone()].concat();
        for pieces in 1..40 {
            let mut all = Vec::new();
            let size = file.len() as u64;
            for piece in 0..pieces {
                let (start, end) = (size * piece / pieces, size * (piece + 1) / pieces);
                let mut position = header.bytes;
                let from = if start == 0 { position } else { start };
                let mut reader = BufReader::with_capacity(7, file.get(from as usize..).unwrap());
                if start > 0 {
                    match skip_marker(&mut reader, &header.marker).unwrap() {
                        Some(skipped) => position = start + skipped,
                        None => continue,
                    }
                }
                Blocks::new(reader, &header, position, Some(end))
                    .read_to_end(&mut all)
                    .unwrap();
            }
            assert_eq!(all, body, "{pieces} pieces");
        }
    }

    #[test]
    fn what_is_cut_off_or_overwritten_is_an_error() {
        let header = header();
        let body = blocks(&header.marker);
        let read = |bytes: &[u8]| {
            let mut all = Vec::new();
            Blocks::new(BufReader::new(bytes), &header, header.bytes, None).read_to_end(&mut all)
        };
        assert!(read(&body).is_ok());
        for cut in [1, 50, 110, 130] {
            assert!(read(body.get(..cut).unwrap()).is_err(), "{cut}");
        }
        let mut overwritten = body.clone();
        *overwritten.get_mut(105).unwrap() ^= 1;
        assert!(read(&overwritten).unwrap_err().to_string().contains("marker"));
    }
}
