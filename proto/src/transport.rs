//! How processes reach each other: TCP between processes, duplex pipes within one. The messages and the services
//! above are the same.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use sarsen_kernel::secret::without_userinfo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::access::CheckCaller;
use crate::directory::{Directory, is_directory};
use crate::leader::{Overlords, following};
use crate::repeat::{CallFailed, LayeredChannel, once, repeating};
use crate::tls::NodeTls;
use crate::version::{StampVersion, Version};

/// A channel whose calls carry our version, have a deadline and are repeated while the other side is away.
pub type VersionedChannel = tonic::service::interceptor::InterceptedService<LayeredChannel, StampVersion>;

/// Scheme of addresses within one process.
pub const IN_PROCESS: &str = "inproc://";

const PIPE_BYTES: usize = 1 << 20;
const WAITING_CONNECTIONS: usize = 64;

/// Limits that every connection is made with.
#[derive(Debug, Clone)]
pub struct ChannelOptions {
    pub connect_timeout: Duration,
    /// Deadline of a unary call; streams set their own.
    pub call_timeout: Option<Duration>,
    /// Calls in flight on one connection.
    pub concurrency: usize,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        ChannelOptions {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Some(Duration::from_secs(60)),
            concurrency: 256,
        }
    }
}

impl ChannelOptions {
    /// For channels that carry long-lived streams: no deadline on a call.
    pub fn streaming() -> Self {
        ChannelOptions {
            call_timeout: None,
            ..Self::default()
        }
    }
}

/// Why no channel could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("`{address}` is not an address: expected http://HOST:PORT")]
    BadAddress { address: String },
    #[error(
        "`{address}` is not a directory: expected etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PREFIX]"
    )]
    BadDirectory { address: String },
    #[error("nothing listens at `{address}` in this process")]
    NoListener { address: String },
    #[error(
        "`{address}` is not an address of a node that talks TLS, as this one does: expected https://HOST:PORT"
    )]
    Plain { address: String },
    #[error(
        "`{address}` is an address of a node that talks TLS: give this one --tls-cert, --tls-key and --tls-ca"
    )]
    NoTls { address: String },
    #[error("TLS to `{address}`: {reason}")]
    Tls { address: String, reason: String },
}

/// Makes channels, and remembers them: one connection per pair of processes.
#[derive(Debug, Clone, Default)]
pub struct Network {
    inner: Arc<Mutex<Inner>>,
    tls: Option<Arc<NodeTls>>,
    version: Version,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Calls {
    Unary,
    /// Unary calls that somebody else repeats.
    Once,
    Streams,
}

/// Whether an address is that of several Overlords of which one leads.
fn names_several(address: &str) -> bool {
    address.contains(',') || is_directory(address)
}

#[derive(Debug, Default)]
struct Inner {
    listeners: HashMap<String, mpsc::Sender<DuplexStream>>,
    channels: HashMap<(String, Calls), LayeredChannel>,
}

impl Network {
    /// Connections to other processes, and theirs to this one, are TLS where it is given; those within this process are
    /// pipes all the same.
    pub fn with_tls(tls: Option<Arc<NodeTls>>) -> Self {
        Network {
            tls,
            ..Network::default()
        }
    }

    /// The same connections, whose calls say that they are of another version: for tests of upgrades within a process.
    #[must_use]
    pub fn announcing(&self, version: Version) -> Self {
        Network {
            version,
            ..self.clone()
        }
    }

    /// What this process says its version is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a listener at `inproc://name`; what it yields is served with `serve_with_incoming`.
    pub fn listen(&self, name: &str) -> (String, PipeListener) {
        let address = format!("{IN_PROCESS}{name}");
        let (sender, receiver) = mpsc::channel(WAITING_CONNECTIONS);
        self.lock().listeners.insert(address.clone(), sender);
        (address, PipeListener { receiver })
    }

    /// A channel to `address` for unary calls. It connects when it is first used and again after a loss. Several
    /// addresses with commas between them, or a directory's, are those of Overlords of which one leads.
    ///
    /// # Errors
    /// [`ConnectError`] for a malformed address; an unreachable one shows only when the channel is used.
    pub fn channel(&self, address: &str) -> Result<VersionedChannel, ConnectError> {
        self.shared(address, Calls::Unary)
    }

    /// A channel to `address` for streams, which have no deadline.
    ///
    /// # Errors
    /// As [`Network::channel`].
    pub fn streaming_channel(&self, address: &str) -> Result<VersionedChannel, ConnectError> {
        self.shared(address, Calls::Streams)
    }

    /// A channel to the Overlord that leads among several.
    fn leader(&self, addresses: &str) -> Result<LayeredChannel, ConnectError> {
        let overlords = if is_directory(addresses) {
            let directory = Directory::parse(addresses).ok_or_else(|| ConnectError::BadDirectory {
                address: without_userinfo(addresses),
            })?;
            Overlords::Told(directory.watch_leader())
        } else {
            let addresses = addresses.split(',').map(|address| address.trim().to_owned());
            Overlords::Listed(addresses.filter(|address| !address.is_empty()).collect())
        };
        let inner = Arc::downgrade(&self.inner);
        let (tls, version) = (self.tls.clone(), self.version.clone());
        Ok(following(overlords, move |address| {
            let network = Network {
                inner: inner
                    .upgrade()
                    .ok_or_else(|| CallFailed("this process ends".into()))?,
                tls: tls.clone(),
                version: version.clone(),
            };
            network
                .layered(address, Calls::Once)
                .map_err(|error| CallFailed(error.into()))
        }))
    }

    /// Drops the connections to a process that is gone.
    pub fn forget(&self, address: &str) {
        self.lock().channels.retain(|(known, _), _| known != address);
    }

    fn shared(&self, address: &str, calls: Calls) -> Result<VersionedChannel, ConnectError> {
        Ok(tonic::service::interceptor::InterceptedService::new(
            self.layered(address, calls)?,
            StampVersion(self.version.clone()),
        ))
    }

    fn layered(&self, address: &str, calls: Calls) -> Result<LayeredChannel, ConnectError> {
        let key = (address.to_owned(), calls);
        let mut inner = self.lock();
        if let Some(channel) = inner.channels.get(&key) {
            return Ok(channel.clone());
        }
        let channel = match calls {
            Calls::Unary if names_several(address) => self.leader(address)?,
            Calls::Unary => repeating(self.connect(&inner, address, &ChannelOptions::default())?),
            Calls::Once => once(self.connect(&inner, address, &ChannelOptions::default())?),
            Calls::Streams => once(self.connect(&inner, address, &ChannelOptions::streaming())?),
        };
        inner.channels.insert(key, channel.clone());
        Ok(channel)
    }

    fn connect(
        &self,
        inner: &Inner,
        address: &str,
        options: &ChannelOptions,
    ) -> Result<Channel, ConnectError> {
        if !address.starts_with(IN_PROCESS) {
            let endpoint = self.secured(endpoint(address, options)?, address)?;
            return Ok(endpoint.connect_lazy());
        }
        let Some(listener) = inner.listeners.get(address).cloned() else {
            return Err(ConnectError::NoListener {
                address: address.to_owned(),
            });
        };
        let endpoint = endpoint("http://in.process", options)?;
        Ok(
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                let listener = listener.clone();
                async move {
                    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
                    listener
                        .send(theirs)
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                    Ok::<_, io::Error>(TokioIo::new(ours))
                }
            })),
        )
    }

    /// The endpoint with TLS where this network talks it; neither side can be talked into less.
    fn secured(&self, endpoint: Endpoint, address: &str) -> Result<Endpoint, ConnectError> {
        let address = || address.to_owned();
        let is_tls = endpoint.uri().scheme_str() == Some("https");
        match (&self.tls, is_tls) {
            (None, false) => Ok(endpoint),
            (None, true) => Err(ConnectError::NoTls { address: address() }),
            (Some(_), false) => Err(ConnectError::Plain { address: address() }),
            (Some(tls), true) => endpoint
                .tls_config(tls.client.clone())
                .map_err(|error| ConnectError::Tls {
                    address: address(),
                    reason: error.to_string(),
                }),
        }
    }
}

/// Flow-control windows: a connection's is as large as several streams' together, so that one unread stream cannot
/// stall the rest.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 256 << 20;

fn endpoint(address: &str, options: &ChannelOptions) -> Result<Endpoint, ConnectError> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| ConnectError::BadAddress {
            address: without_userinfo(address),
        })?
        .connect_timeout(options.connect_timeout)
        .concurrency_limit(options.concurrency)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(10));
    Ok(match options.call_timeout {
        Some(timeout) => endpoint.timeout(timeout),
        None => endpoint,
    })
}

/// A server with our limits and a span per call.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .concurrency_limit_per_connection(1024)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .trace_fn(|request| tracing::debug_span!("rpc", path = request.uri().path()))
}

/// Where a process takes calls.
#[derive(Debug)]
pub enum Binding {
    /// With TLS where this network talks it.
    Tcp(tokio::net::TcpListener, Option<Arc<NodeTls>>),
    Pipe(PipeListener),
}

impl Network {
    /// Binds `HOST:PORT` (port 0: any free one) or `inproc://NAME`; answers the address for others to call.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(&self, address: &str) -> io::Result<(String, Binding)> {
        if let Some(name) = address.strip_prefix(IN_PROCESS) {
            let (address, listener) = self.listen(name);
            return Ok((address, Binding::Pipe(listener)));
        }
        let listener = tokio::net::TcpListener::bind(address).await?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{host}:{}", listener.local_addr()?.port());
        Ok((address, Binding::Tcp(listener, self.tls.clone())))
    }
}

/// Serves `routes` until `shutdown`; calls in flight then end first.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    binding: Binding,
    routes: tonic::service::Routes,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let done = async move { shutdown.cancelled().await };
    let incoming = |listener| tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    match binding {
        Binding::Tcp(listener, Some(tls)) => {
            let mut server = server().tls_config(tls.server.clone())?.layer(CheckCaller);
            let router = server.add_routes(routes);
            router
                .serve_with_incoming_shutdown(incoming(listener), done)
                .await
        }
        Binding::Tcp(listener, None) => {
            let router = server().add_routes(routes);
            router
                .serve_with_incoming_shutdown(incoming(listener), done)
                .await
        }
        Binding::Pipe(listener) => {
            let router = server().add_routes(routes);
            router.serve_with_incoming_shutdown(listener, done).await
        }
    }
}

/// Repeats a call that is safe to repeat while the other side is away, with doubling pauses, at most `attempts` times.
///
/// # Errors
/// The last status, once the attempts are spent or at once for one that would not change (`is_transient`).
pub async fn retry<T, F>(attempts: u32, mut call: impl FnMut() -> F) -> Result<T, tonic::Status>
where
    F: Future<Output = Result<T, tonic::Status>>,
{
    let mut pause = Duration::from_millis(20);
    let mut attempt = 1;
    loop {
        match call().await {
            Err(status) if attempt < attempts && is_transient(&status) => {
                tracing::debug!(%status, attempt, "call failed, will be repeated");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Whether a call that ended so may succeed when it is repeated.
pub fn is_transient(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Unavailable
            | tonic::Code::Aborted
            | tonic::Code::DeadlineExceeded
            | tonic::Code::ResourceExhausted
    ) || (status.code() == tonic::Code::Unknown && status.message().contains("transport"))
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
