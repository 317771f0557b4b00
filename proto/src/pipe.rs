//! Connections within one process: duplex pipes that a gRPC server takes as it takes sockets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;

const PIPE_BYTES: usize = 1 << 20;
const WAITING_CONNECTIONS: usize = 64;

/// Takes connections to a [`PipeListener`].
pub(crate) type PipeSender = mpsc::Sender<DuplexStream>;

/// A listener, and what connects to it.
pub(crate) fn listener() -> (PipeSender, PipeListener) {
    let (sender, receiver) = mpsc::channel(WAITING_CONNECTIONS);
    (sender, PipeListener { receiver })
}

/// Opens a connection.
///
/// # Errors
/// Refused, when nobody listens any more.
pub(crate) async fn connect(listener: Option<PipeSender>) -> io::Result<DuplexStream> {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    listener
        .ok_or_else(refused)?
        .send(theirs)
        .await
        .map_err(|_| refused())?;
    Ok(ours)
}

/// Incoming in-process connections.
#[derive(Debug)]
pub struct PipeListener {
    receiver: mpsc::Receiver<DuplexStream>,
}

impl tokio_stream::Stream for PipeListener {
    type Item = Result<Pipe, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver
            .poll_recv(cx)
            .map(|pipe| pipe.map(|pipe| Ok(Pipe(pipe))))
    }
}

/// The server's end of an in-process connection.
#[derive(Debug)]
pub struct Pipe(DuplexStream);

impl Connected for Pipe {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
