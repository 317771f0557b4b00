//! Files that are read from their end, or from several places: a stream and what is compressed become a temporary file.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileExt;

use tokio::runtime::Handle;

use super::ReadRequest;
use crate::StorageError;
use crate::decompress::{Compression, MAGIC_BYTES, decompress};
use crate::source::{ObjectFile, Opened};

/// A file that can be read from any place on.
pub(super) enum Seekable {
    File(File),
    Object(ObjectFile),
}

impl Seekable {
    /// Opens the file of a request. A copy of it is made only as long as it is wanted.
    pub(super) fn open(
        request: &ReadRequest,
        runtime: &Handle,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Self, StorageError> {
        let failed = |error: std::io::Error| StorageError::file(request.file(), error);
        let stream: Box<dyn Read + Send> = match request.open(0, runtime)? {
            Opened::Object(object) if Compression::of_name(&request.file()).is_none() => {
                return Ok(Seekable::Object(object));
            }
            Opened::Object(object) => object.body(None, runtime),
            Opened::Local(mut file) => {
                let mut first = Vec::new();
                let begin = Read::by_ref(&mut file).take(MAGIC_BYTES).read_to_end(&mut first);
                begin.and_then(|_| file.rewind()).map_err(failed)?;
                if Compression::of_bytes(&first).is_none() {
                    return Ok(Seekable::File(file));
                }
                Box::new(file)
            }
            Opened::Stream(stream) => stream,
        };
        let plain = decompress(stream, &request.file()).map_err(failed)?;
        copy_of(plain, is_wanted).map(Seekable::File).map_err(failed)
    }

    /// Opens the file of a request as it is, compressed or not.
    pub(super) fn packed(
        request: &ReadRequest,
        runtime: &Handle,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Self, StorageError> {
        Ok(match request.open(0, runtime)? {
            Opened::Object(object) => Seekable::Object(object),
            Opened::Local(file) => Seekable::File(file),
            Opened::Stream(stream) => {
                let copy = copy_of(stream, is_wanted);
                Seekable::File(copy.map_err(|error| StorageError::file(request.file(), error))?)
            }
        })
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> std::io::Result<u64> {
        match self {
            Seekable::File(file) => Ok(file.metadata()?.len()),
            Seekable::Object(object) => Ok(object.size),
        }
    }

    /// Its bytes from `start` up to `end`, and more if they are read.
    pub(super) fn read_from(
        &self,
        (start, end): (u64, u64),
        runtime: &Handle,
    ) -> std::io::Result<Box<dyn Read + Send>> {
        match self {
            Seekable::File(file) => Ok(Box::new(FileFrom {
                file: file.try_clone()?,
                position: start,
            })),
            Seekable::Object(object) => Ok(object.clone().body(Some((start, end)), runtime)),
        }
    }
}

/// Reads a file from a place of its own: clones of a file share theirs.
struct FileFrom {
    file: File,
    position: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A copy of a stream in a temporary file; an error once nobody wants it any more.
fn copy_of(mut stream: Box<dyn Read + Send>, is_wanted: &dyn Fn() -> bool) -> std::io::Result<File> {
    let mut copy = unnamed_file()?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if !is_wanted() {
            return Err(std::io::Error::other("nobody waits for its rows"));
        }
        match stream.read(&mut buffer)? {
            0 => break,
            count => copy.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
    copy.rewind()?;
    Ok(copy)
}

/// A file that is gone once it is closed.
fn unnamed_file() -> std::io::Result<File> {
    let path = std::env::temp_dir().join(format!("sarsen-{}.copy", uuid::Uuid::new_v4()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_copy_that_nobody_wants_any_more_ends() {
        let left = Cell::new(3);
        let is_wanted = || left.replace(left.get() - 1) > 0;
        let error = copy_of(Box::new(std::io::repeat(7)), &is_wanted).unwrap_err();
        assert!(error.to_string().contains("nobody waits"), "{error}");
        let copy = copy_of(Box::new(std::io::repeat(7).take(9)), &|| true).unwrap();
        assert_eq!(copy.metadata().unwrap().len(), 9);
    }
}
