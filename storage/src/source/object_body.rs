//! An object's bytes from any place on, read in ranges ahead of the reader.

use std::collections::VecDeque;
use std::io::{Error, Read, Result};
use std::ops::Range;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::ObjectFile;

/// Bytes of one request.
const PIECE_BYTES: u64 = 4 << 20;

/// Requests on their way or waiting to be read.
const PIECES_AHEAD: usize = 3;

/// Bytes that are asked for behind the end of a range: the rest of a line.
const TAIL_BYTES: u64 = 256 << 10;

/// See the module. Its requests run on the runtime; reading blocks.
pub(super) struct ObjectBody {
    file: ObjectFile,
    runtime: Handle,
    /// Where the next request begins.
    next: u64,
    /// Up to here everything will be read; behind it little.
    wanted: u64,
    ahead: VecDeque<JoinHandle<object_store::Result<Bytes>>>,
    piece: Bytes,
}

impl ObjectBody {
    pub(super) fn new(file: ObjectFile, range: Option<(u64, u64)>, runtime: &Handle) -> Self {
        let (start, end) = range.unwrap_or((0, file.size));
        let mut body = ObjectBody {
            next: start,
            wanted: end.min(file.size),
            file,
            runtime: runtime.clone(),
            ahead: VecDeque::new(),
            piece: Bytes::new(),
        };
        body.ask();
        body
    }

    /// Keeps requests under way, as long as they are for bytes that will be read.
    fn ask(&mut self) {
        while self.next < self.wanted && self.ahead.len() < PIECES_AHEAD {
            self.request(self.wanted.min(self.next + PIECE_BYTES));
        }
        if self.ahead.is_empty() && self.next < self.file.size {
            self.request(self.file.size.min(self.next + TAIL_BYTES));
        }
    }

    fn request(&mut self, end: u64) {
        let range: Range<u64> = self.next..end;
        self.next = end;
        let file = self.file.clone();
        self.ahead.push_back(
            self.runtime
                .spawn(async move { file.store.get_range(&file.path, range).await }),
        );
    }
}

impl Read for ObjectBody {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.piece.is_empty() {
            self.ask();
            let Some(asked) = self.ahead.pop_front() else {
                return Ok(0);
            };
            let answered = self.runtime.block_on(asked).map_err(Error::other)?;
            self.piece = answered.map_err(|error| Error::other(super::list::reason(&error)))?;
            // The next ones are on their way while this one is read; behind the end, only when they are needed.
            if self.next < self.wanted {
                self.ask();
            }
        }
        let count = self.piece.len().min(buffer.len());
        let taken = self.piece.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

impl Drop for ObjectBody {
    fn drop(&mut self) {
        for asked in &self.ahead {
            asked.abort();
        }
    }
}
