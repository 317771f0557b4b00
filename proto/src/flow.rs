//! How much may be on its way between processes: streams of rows that one process reads at once, and the windows of
//! HTTP/2, which hold what they carry, so that no unread stream stalls another one on the same connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams of rows that one process has open as a consumer, whomever they come from.
pub const OPEN_PULLS: usize = 64;

/// Bytes of rows on one of them at the most: a pull that wants more asks again.
pub const MAX_PULL_BYTES: u32 = 8 << 20;

/// Room for the other streams of a connection, those of worker tasks and of unary calls.
pub const OTHER_STREAMS: usize = 64;

/// Bytes of one stream that its reader has yet to take.
pub const STREAM_WINDOW: u32 = 8 << 20;

/// Bytes of all streams of a connection that their readers have yet to take.
pub const CONNECTION_WINDOW: u32 = 1 << 30;

/// The largest window of HTTP/2 (RFC 9113, 6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

const _: () = assert!(
    STREAM_WINDOW >= MAX_PULL_BYTES,
    "a stream's window holds a whole pull"
);
const _: () = assert!(
    CONNECTION_WINDOW as usize >= (OPEN_PULLS + OTHER_STREAMS) * STREAM_WINDOW as usize,
    "a connection's window is as large as those of all its streams"
);
const _: () = assert!(CONNECTION_WINDOW <= LARGEST_WINDOW);

/// The streams of rows that a process may open.
#[derive(Debug, Clone)]
pub(crate) struct Pulls(Arc<Semaphore>);

impl Default for Pulls {
    fn default() -> Self {
        Pulls(Arc::new(Semaphore::new(OPEN_PULLS)))
    }
}

/// One of a process's [`OPEN_PULLS`], until it is dropped.
#[derive(Debug)]
pub struct OpenPull {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pulls {
    /// In the order of asking.
    pub(crate) async fn begin(&self) -> OpenPull {
        OpenPull {
            // The semaphore is never closed.
            _permit: Arc::clone(&self.0).acquire_owned().await.ok(),
        }
    }

    /// Those that are open.
    pub(crate) fn open(&self) -> usize {
        OPEN_PULLS - self.0.available_permits()
    }
}
