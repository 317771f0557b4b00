//! The bytes of a file. Everything here blocks and belongs on a thread of its own.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sarsen_object::Location;
use tokio::runtime::Handle;

use sarsen_kernel::secret::Secret;

use super::access::{is_denied, shown_url};
use super::list::reason;
use super::object_body::ObjectBody;
use super::{HttpSource, InputSource, ObjectSource, SourceContext};
use crate::StorageError;

/// An opened file.
pub enum Opened {
    Local(File),
    Stream(Box<dyn Read + Send>),
    Object(ObjectFile),
}

/// An object that can be read from any place on.
#[derive(Debug, Clone)]
pub struct ObjectFile {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
    pub size: u64,
}

impl ObjectFile {
    /// Its bytes from the start of `range` on, read ahead up to the end of it; all of them without one.
    pub fn body(self, range: Option<(u64, u64)>, runtime: &Handle) -> Box<dyn Read + Send> {
        Box::new(ObjectBody::new(self, range, runtime))
    }
}

/// Opens a file of a source, at `start` if it is local.
///
/// # Errors
/// When it may not or cannot be read. A 4xx fails at once, a 5xx and a broken connection after some repetitions.
pub fn open(
    source: &InputSource,
    location: &str,
    start: u64,
    context: &SourceContext,
    runtime: &Handle,
) -> Result<Opened, StorageError> {
    match source {
        InputSource::Inline { data } => Ok(Opened::Stream(Box::new(Cursor::new(data.clone().into_bytes())))),
        InputSource::Local(..) => {
            let mut file = context.open_file(location)?;
            file.seek(SeekFrom::Start(start))
                .map_err(|error| StorageError::file(location, error))?;
            Ok(Opened::Local(file))
        }
        InputSource::Objects(objects) => {
            let object = runtime.block_on(object(objects, location, context))?;
            Ok(Opened::Object(object))
        }
        InputSource::Http(http) => {
            context.check_url(location)?;
            let body = runtime.block_on(request(http, location, 0, context))?;
            Ok(Opened::Stream(Box::new(HttpBody {
                http: http.clone(),
                url: location.to_owned(),
                client: context.client(http),
                runtime: runtime.clone(),
                body,
                chunk: Bytes::new(),
                position: 0,
                resumed: 0,
            })))
        }
    }
}

async fn object(
    source: &ObjectSource,
    url: &str,
    context: &SourceContext,
) -> Result<ObjectFile, StorageError> {
    let failed = |reason: String| StorageError::Object {
        place: url.to_owned(),
        reason,
    };
    let location: Location = url
        .parse()
        .map_err(|error: sarsen_object::ObjectError| failed(error.to_string()))?;
    let store = source.bucket(&location, context)?.store;
    let path = location.path().map_err(|error| failed(error.to_string()))?;
    let size = store
        .head(&path)
        .await
        .map_err(|error| failed(reason(&error)))?
        .size;
    Ok(ObjectFile { store, path, size })
}

type Body = std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Repetitions of a request, with doubling pauses from [`FIRST_PAUSE`].
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

async fn request(
    http: &HttpSource,
    url: &str,
    from: u64,
    context: &SourceContext,
) -> Result<Body, StorageError> {
    send(http, url, from, &context.client(http)).await
}

async fn send(
    http: &HttpSource,
    url: &str,
    from: u64,
    client: &reqwest::Client,
) -> Result<Body, StorageError> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let mut request = client.get(url);
        if let Some(username) = &http.username {
            request = request.basic_auth(username, http.password.as_ref().map(Secret::expose));
        }
        for (name, value) in &http.headers {
            request = request.header(name, value);
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let error = match request.send().await {
            Ok(response) if response.status().is_success() => {
                if from > 0 && response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
                    let reason =
                        "the connection broke and the server cannot continue from the middle".to_owned();
                    return Err(StorageError::Http {
                        url: shown_url(url),
                        reason,
                    });
                }
                return Ok(Box::pin(response.bytes_stream()));
            }
            Ok(response) => {
                let status = response.status();
                let error = StorageError::HttpStatus {
                    url: shown_url(url),
                    status: status.as_u16(),
                };
                if !status.is_server_error() && status.as_u16() != 429 {
                    return Err(error);
                }
                error
            }
            Err(error) => {
                let failed = StorageError::Http {
                    url: shown_url(url),
                    reason: root_cause(&error),
                };
                if is_denied(&error) {
                    return Err(failed);
                }
                failed
            }
        };
        if attempt >= ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => root_cause(source),
        None => error.to_string(),
    }
}

/// A response body that continues after a broken connection.
struct HttpBody {
    http: HttpSource,
    url: String,
    client: reqwest::Client,
    runtime: Handle,
    body: Body,
    chunk: Bytes,
    position: u64,
    resumed: u32,
}

impl Read for HttpBody {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.clone().block_on(self.body.next()) {
                None => return Ok(0),
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) if self.resumed < ATTEMPTS => {
                    tracing::debug!(
                        url = shown_url(&self.url),
                        error = root_cause(&error),
                        "the body broke off, will be continued"
                    );
                    self.resumed += 1;
                    let again = send(&self.http, &self.url, self.position, &self.client);
                    self.body = self
                        .runtime
                        .clone()
                        .block_on(again)
                        .map_err(std::io::Error::other)?;
                }
                Some(Err(error)) => return Err(std::io::Error::other(root_cause(&error))),
            }
        }
        let count = self.chunk.len().min(buffer.len());
        let taken = self.chunk.split_to(count);
        if let Some(target) = buffer.get_mut(..count) {
            target.copy_from_slice(&taken);
        }
        self.position += count as u64;
        Ok(count)
    }
}
