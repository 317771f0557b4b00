//! Uploads: small objects at once, large ones in parts, several at a time. What is not completed is taken back.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, Result};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::settings::pause;

/// Bytes of a part: the least that S3 takes is 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A store takes ten thousand parts: from this one on they are larger.
const SMALL_PARTS: usize = 1_000;
const LARGE_PART_BYTES: usize = 64 << 20;

/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// Further tries to end an upload that was given up.
const ABORT_RETRIES: usize = 5;

/// Gathers bytes into parts.
#[derive(Debug, Default)]
struct Parts {
    buffer: BytesMut,
    /// Parts that were taken.
    count: usize,
    bytes: u64,
}

impl Parts {
    fn part_bytes(&self) -> usize {
        if self.count < SMALL_PARTS {
            PART_BYTES
        } else {
            LARGE_PART_BYTES
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
    }

    /// A part that is full.
    fn full(&mut self) -> Option<Bytes> {
        let size = self.part_bytes();
        (self.buffer.len() >= size).then(|| {
            self.count += 1;
            self.buffer.split_to(size).freeze()
        })
    }

    fn rest(&mut self) -> Bytes {
        self.count += 1;
        std::mem::take(&mut self.buffer).freeze()
    }
}

/// One object that is being written. It is there once [`Upload::finish`] says so; dropped before, nothing of it stays.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Parts,
    open: Option<Box<dyn MultipartUpload>>,
    sending: JoinSet<Result<()>>,
}

impl Upload {
    /// Nothing is sent yet.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Upload {
            store,
            path,
            parts: Parts::default(),
            open: None,
            sending: JoinSet::new(),
        }
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.parts.bytes
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When a part cannot be sent.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.parts.push(bytes);
        while let Some(part) = self.parts.full() {
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.store.put_multipart(&self.path).await?),
        };
        let sent = open.put_part(PutPayload::from(part));
        self.sending.spawn(sent);
        while self.sending.len() > PARTS_AT_ONCE {
            joined(self.sending.join_next().await)?;
        }
        Ok(())
    }

    /// Completes the object; answers its bytes.
    ///
    /// # Errors
    /// When it cannot be completed; then nothing of it stays.
    pub async fn finish(mut self) -> Result<u64> {
        let rest = self.parts.rest();
        if self.open.is_none() {
            self.store.put(&self.path, PutPayload::from(rest)).await?;
            return Ok(self.parts.bytes);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while let Some(sent) = self.sending.join_next().await {
            joined(Some(sent))?;
        }
        if let Some(open) = &mut self.open {
            let completed = open.complete().await.map(|_| ());
            settle(self.store.as_ref(), &self.path, self.parts.bytes, completed).await?;
        }
        self.open = None;
        Ok(self.parts.bytes)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let mut sending = std::mem::take(&mut self.sending);
        let path = self.path.clone();
        // Without a runtime the process ends, and a later one sweeps.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            // A part that arrives after the end of its upload would stay.
            sending.shutdown().await;
            let mut attempt = 0;
            while let Err(error) = open.abort().await {
                attempt += 1;
                if attempt > ABORT_RETRIES || matches!(error, Error::NotFound { .. }) {
                    tracing::warn!(%path, %error, "an upload that was given up may stay behind");
                    return;
                }
                tokio::time::sleep(pause(attempt)).await;
            }
        });
    }
}

/// An answer to a completion may be lost after the store has done it; a repetition is then told that there is no such
/// upload. Whether the object is there with its size says what happened.
async fn settle(store: &dyn ObjectStore, path: &Path, bytes: u64, completed: Result<()>) -> Result<()> {
    match completed {
        Err(error @ Error::NotFound { .. }) => match store.head(path).await {
            Ok(found) if found.size == bytes => Ok(()),
            _ => Err(error),
        },
        other => other,
    }
}

fn joined(sent: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match sent {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Error::JoinError { source: error }),
        None => Ok(()),
    }
}

/// An object all of whose bytes lie in its store, but which is not there before somebody completes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// In the bucket.
    pub key: String,
    pub upload_id: String,
    pub parts: Vec<String>,
    pub bytes: u64,
}

/// An object that is being staged; dropped before [`StagedUpload::finish`], nothing of it stays.
pub struct StagedUpload {
    store: Arc<dyn MultipartStore>,
    path: Path,
    parts: Parts,
    id: Option<String>,
    sending: JoinSet<Result<(usize, String)>>,
    sent: Vec<(usize, String)>,
}

impl StagedUpload {
    /// Nothing is sent yet.
    pub fn new(store: Arc<dyn MultipartStore>, path: Path) -> Self {
        StagedUpload {
            store,
            path,
            parts: Parts::default(),
            id: None,
            sending: JoinSet::new(),
            sent: Vec::new(),
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When a part cannot be sent.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.parts.push(bytes);
        while let Some(part) = self.parts.full() {
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self
                .id
                .insert(self.store.create_multipart(&self.path).await?)
                .clone(),
        };
        let (store, path, index) = (Arc::clone(&self.store), self.path.clone(), self.parts.count - 1);
        self.sending.spawn(async move {
            let sent = store.put_part(&path, &id, index, PutPayload::from(part)).await?;
            Ok((index, sent.content_id))
        });
        while self.sending.len() > PARTS_AT_ONCE {
            self.take_sent().await?;
        }
        Ok(())
    }

    async fn take_sent(&mut self) -> Result<()> {
        match self.sending.join_next().await {
            Some(Ok(sent)) => self.sent.push(sent?),
            Some(Err(error)) => return Err(Error::JoinError { source: error }),
            None => {}
        }
        Ok(())
    }

    /// All bytes lie in the store.
    ///
    /// # Errors
    /// When the last of them cannot be sent.
    pub async fn finish(mut self) -> Result<Staged> {
        let rest = self.parts.rest();
        if self.id.is_none() || !rest.is_empty() {
            self.send(rest).await?;
        }
        while !self.sending.is_empty() {
            self.take_sent().await?;
        }
        self.sent.sort_unstable();
        Ok(Staged {
            key: self.path.to_string(),
            upload_id: self.id.take().unwrap_or_default(),
            parts: std::mem::take(&mut self.sent)
                .into_iter()
                .map(|(_, part)| part)
                .collect(),
            bytes: self.parts.bytes,
        })
    }
}

impl Drop for StagedUpload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let mut sending = std::mem::take(&mut self.sending);
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            sending.shutdown().await;
            abort(store.as_ref(), &path, &id).await;
        });
    }
}

impl Staged {
    /// Puts the object where it belongs.
    ///
    /// # Errors
    /// When the store cannot.
    pub async fn complete(&self, multipart: &dyn MultipartStore, store: &dyn ObjectStore) -> Result<()> {
        let path = Path::parse(&self.key)?;
        let parts = self.parts.iter().map(|part| PartId {
            content_id: part.clone(),
        });
        let completed = multipart
            .complete_multipart(&path, &self.upload_id, parts.collect())
            .await
            .map(|_| ());
        settle(store, &path, self.bytes, completed).await
    }

    /// Takes it back.
    pub async fn abort(&self, multipart: &dyn MultipartStore) {
        if let Ok(path) = Path::parse(&self.key) {
            abort(multipart, &path, &self.upload_id).await;
        }
    }
}

async fn abort(store: &dyn MultipartStore, path: &Path, id: &String) {
    let mut attempt = 0;
    loop {
        match store.abort_multipart(path, id).await {
            Ok(()) | Err(Error::NotFound { .. }) => return,
            Err(error) if attempt >= ABORT_RETRIES => {
                tracing::warn!(%path, %error, "an upload that was given up may stay behind");
                return;
            }
            Err(_) => {
                attempt += 1;
                tokio::time::sleep(pause(attempt)).await;
            }
        }
    }
}
