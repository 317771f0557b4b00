//! Answers of any length: written while they are read, a few pages of them in memory.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::ApiError;

/// Bytes that are sent together.
const CHUNK: usize = 64 << 10;

/// Where an answer is written to.
#[derive(Debug)]
pub struct Out {
    sender: mpsc::Sender<Result<Bytes, ApiError>>,
    buffer: String,
    /// The next element of the innermost list is its first.
    first: bool,
}

impl Out {
    /// # Errors
    /// When the client has gone away.
    pub async fn write(&mut self, text: &str) -> Result<(), ApiError> {
        self.buffer.push_str(text);
        if self.buffer.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    /// Begins a list or an object.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn open(&mut self, text: &str) -> Result<(), ApiError> {
        self.first = true;
        self.write(text).await
    }

    /// Ends a list or an object, which is itself an element of another.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn close(&mut self, text: &str) -> Result<(), ApiError> {
        self.first = false;
        self.write(text).await
    }

    /// Before each element but the first.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn separate(&mut self) -> Result<(), ApiError> {
        let comma = if self.first { "" } else { "," };
        self.first = false;
        self.write(comma).await
    }

    /// An element of a list.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn element(&mut self, value: &Value) -> Result<(), ApiError> {
        self.separate().await?;
        self.write(&value.to_string()).await
    }

    /// A member of an object.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn member(&mut self, name: &str, value: &Value) -> Result<(), ApiError> {
        self.separate().await?;
        self.write(&format!("{}:{value}", Value::from(name))).await
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// As [`Out::write`].
    pub async fn end(mut self) -> Result<(), ApiError> {
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ApiError> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.send(Ok(chunk)).await.map_err(|_| ApiError::Internal {
            message: "the client has gone away".to_owned(),
        })
    }
}

/// A 200 with the JSON that `write` writes. An error before its first bytes are sent is answered as such; a later one
/// breaks the answer off.
///
/// # Errors
/// Those of `write`.
pub async fn json_stream<F, Fut>(write: F) -> Result<Response, ApiError>
where
    F: FnOnce(Out) -> Fut,
    Fut: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(2);
    let out = Out {
        sender: sender.clone(),
        buffer: String::new(),
        first: true,
    };
    let writing = write(out);
    tokio::spawn(async move {
        if let Err(error) = writing.await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let first = match receiver.recv().await {
        Some(first) => first?,
        None => Bytes::new(),
    };
    let rest = ReceiverStream::new(receiver);
    let rest = rest.map(|chunk| chunk.map_err(|_| std::io::Error::other("the answer breaks off")));
    let chunks = futures::stream::iter([Ok(first)]).chain(rest);
    Ok((
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(chunks),
    )
        .into_response())
}

/// A 200 with the list whose elements `write` writes; `write` gives its `Out` back.
///
/// # Errors
/// As [`json_stream`].
pub async fn json_list<F, Fut>(write: F) -> Result<Response, ApiError>
where
    F: FnOnce(Out) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Out, ApiError>> + Send + 'static,
{
    json_stream(|mut out| async move {
        out.open("[").await?;
        let mut out = write(out).await?;
        out.close("]").await?;
        out.end().await
    })
    .await
}
