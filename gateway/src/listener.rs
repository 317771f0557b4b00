//! Where the HTTP API is listened for: plain or over TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use sarsen_proto::tls::{self, TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::options::HttpOptions;

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once, and connections that wait to be served.
const WAITING: usize = 1024;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, HttpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        Peer(*stream.remote_addr())
    }
}

/// Accepts connections.
pub enum HttpListener {
    Plain(TcpListener),
    Tls {
        address: SocketAddr,
        accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
        _accepting: AbortOnDrop,
    },
}

/// Ends a task with its owner.
pub struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the certificate and key of the HTTP API; `None` when it is plain.
///
/// # Errors
/// [`TlsError`] names the file that cannot be used.
pub fn acceptor(options: &HttpOptions) -> Result<Option<TlsAcceptor>, TlsError> {
    let (cert, key) = match (&options.http_tls_cert, &options.http_tls_key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => {
            return Err(TlsError::Incomplete {
                flags: "--http-tls-cert and --http-tls-key",
            });
        }
    };
    tls::warn_if_readable(key);
    let unusable = |reason: String| TlsError::Unusable {
        cert: cert.display().to_string(),
        ca: "none".to_owned(),
        reason,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&tls::read(cert)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&tls::read(key)?).map_err(|error| unusable(error.to_string()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

impl HttpListener {
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> io::Result<HttpListener> {
        let Some(acceptor) = acceptor else {
            return Ok(HttpListener::Plain(listener));
        };
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel(WAITING);
        Ok(HttpListener::Tls {
            address,
            accepted,
            _accepting: AbortOnDrop(tokio::spawn(accept(listener, acceptor, sender))),
        })
    }
}

/// Shakes hands aside: whoever is slow at it holds up nobody else.
async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        while handshakes.len() >= WAITING {
            handshakes.join_next().await;
        }
        while handshakes.try_join_next().is_some() {}
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}

impl Listener for HttpListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self {
            HttpListener::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Connection::Plain(stream), peer)
            }
            HttpListener::Tls { accepted, .. } => match accepted.recv().await {
                Some((stream, peer)) => (Connection::Tls(Box::new(stream)), peer),
                // The accepting task lives as long as this.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            HttpListener::Plain(listener) => listener.local_addr(),
            HttpListener::Tls { address, .. } => Ok(*address),
        }
    }
}

/// A connection of either kind.
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Connection::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Connection::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Connection::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
