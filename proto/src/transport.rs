//! How processes reach each other: TCP between processes, duplex pipes within one. The messages and the services
//! above are the same.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use sarsen_kernel::secret::without_userinfo;
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::ServiceExt;
use tower::{BoxError, service_fn};

use crate::access::CheckCaller;
use crate::directory::{Directory, is_directory};
use crate::flow::{CONNECTION_WINDOW, OpenPull, Pulls, STREAM_WINDOW};
use crate::leader::{Overlords, following};
use crate::pipe::{self, PipeListener, PipeSender};
use crate::repeat::{CallFailed, LayeredChannel, once, repeating, within};
use crate::tls::NodeTls;
use crate::version::{StampVersion, Version};

/// A channel whose calls carry our version, have a deadline and are repeated while the other side is away.
pub type VersionedChannel = tonic::service::interceptor::InterceptedService<LayeredChannel, StampVersion>;

/// Scheme of addresses within one process.
pub const IN_PROCESS: &str = "inproc://";

/// Time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Deadline of a unary call; streams set their own.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls on one connection that have yet to be answered.
const CONCURRENCY: usize = 1024;

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

/// Makes channels, and remembers their connections: one from this process to another, which all calls and streams
/// share. What differs between calls (a deadline, repetition, the version that they say) is a layer around it.
#[derive(Debug, Clone, Default)]
pub struct Network {
    inner: Arc<Mutex<Inner>>,
    pulls: Pulls,
    tls: Option<Arc<NodeTls>>,
    version: Version,
}

/// What differs between the calls of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    listeners: HashMap<String, PipeSender>,
    /// By address.
    connections: HashMap<String, Channel>,
    /// Channels to the one that leads, by the addresses of all.
    leaders: HashMap<String, LayeredChannel>,
    /// Where connections are served, whoever asks for them first: not where fragments keep every thread busy.
    runtime: Option<Handle>,
}

fn lock(inner: &Mutex<Inner>) -> std::sync::MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Opens a listener at `inproc://name`; what it yields is served with `serve_with_incoming`.
    pub fn listen(&self, name: &str) -> (String, PipeListener) {
        let address = format!("{IN_PROCESS}{name}");
        let (sender, listener) = pipe::listener();
        lock(&self.inner).listeners.insert(address.clone(), sender);
        (address, listener)
    }

    /// A channel to `address` for unary calls. It connects when it is first used and again after a loss. Several
    /// addresses with commas between them, or a directory's, are those of Overlords of which one leads.
    ///
    /// # Errors
    /// [`ConnectError`] for a malformed address; an unreachable one shows only when the channel is used.
    pub fn channel(&self, address: &str) -> Result<VersionedChannel, ConnectError> {
        Ok(self.stamped(match names_several(address) {
            true => self.leader(address)?,
            false => self.layered(address, Calls::Unary)?,
        }))
    }

    /// A channel to `address` for streams, which have no deadline and are not repeated, since nobody else may know how
    /// far a stream has come.
    ///
    /// # Errors
    /// As [`Network::channel`].
    pub fn streaming_channel(&self, address: &str) -> Result<VersionedChannel, ConnectError> {
        Ok(self.stamped(self.layered(address, Calls::Streams)?))
    }

    /// Waits until this process may have one more stream of rows open. Who holds it may wait for the producer, and for
    /// nothing else.
    pub async fn begin_pull(&self) -> OpenPull {
        self.pulls.begin().await
    }

    /// Streams of rows that this process has open.
    pub fn open_pulls(&self) -> usize {
        self.pulls.open()
    }

    /// Later calls to a process go over a new connection, since the old one is no good or the process is gone. Calls
    /// and streams under way go on over the old one, which is closed once they have ended.
    pub fn forget(&self, address: &str) {
        lock(&self.inner).connections.remove(address);
    }

    fn stamped(&self, channel: LayeredChannel) -> VersionedChannel {
        VersionedChannel::new(channel, StampVersion(self.version.clone()))
    }

    /// A channel to the Overlord that leads among several.
    fn leader(&self, addresses: &str) -> Result<LayeredChannel, ConnectError> {
        let mut inner = lock(&self.inner);
        if let Some(channel) = inner.leaders.get(addresses) {
            return Ok(channel.clone());
        }
        let overlords = if is_directory(addresses) {
            let directory = Directory::parse(addresses).ok_or_else(|| ConnectError::BadDirectory {
                address: without_userinfo(addresses),
            })?;
            Overlords::Told(directory.watch_leader())
        } else {
            let addresses = addresses.split(',').map(|address| address.trim().to_owned());
            Overlords::Listed(addresses.filter(|address| !address.is_empty()).collect())
        };
        let network = self.downgrade();
        let channel = following(overlords, move |address| {
            let network = network().ok_or_else(|| CallFailed("this process ends".into()))?;
            network
                .layered(address, Calls::Once)
                .map_err(|error| CallFailed(error.into()))
        });
        inner.leaders.insert(addresses.to_owned(), channel.clone());
        Ok(channel)
    }

    /// This network, for what the network itself keeps.
    fn downgrade(&self) -> impl Fn() -> Option<Network> + Clone + Send + Sync + 'static {
        let inner = Arc::downgrade(&self.inner);
        let (pulls, tls, version) = (self.pulls.clone(), self.tls.clone(), self.version.clone());
        move || {
            Some(Network {
                inner: Weak::upgrade(&inner)?,
                pulls: pulls.clone(),
                tls: tls.clone(),
                version: version.clone(),
            })
        }
    }

    /// The connection to `address`, asked for anew at each call, so that a channel outlives its connection.
    fn layered(&self, address: &str, calls: Calls) -> Result<LayeredChannel, ConnectError> {
        self.connection(address)?;
        let (network, address) = (self.clone(), address.to_owned());
        let shared = service_fn(move |request: http::Request<Body>| {
            let connection = network.connection(&address);
            async move { Ok::<_, BoxError>(connection?.oneshot(request).await?) }
        });
        Ok(match calls {
            Calls::Unary => repeating(within(CALL_TIMEOUT, shared)),
            Calls::Once => once(within(CALL_TIMEOUT, shared)),
            Calls::Streams => once(shared),
        })
    }

    /// The one connection to `address` for now.
    fn connection(&self, address: &str) -> Result<Channel, ConnectError> {
        let mut inner = lock(&self.inner);
        if let Some(connection) = inner.connections.get(address) {
            return Ok(connection.clone());
        }
        let connection = self.connect(&inner, address)?;
        inner.connections.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn connect(&self, inner: &Inner, address: &str) -> Result<Channel, ConnectError> {
        let _served_there = inner.runtime.as_ref().map(Handle::enter);
        if !address.starts_with(IN_PROCESS) {
            let endpoint = self.secured(endpoint(address)?, address)?;
            return Ok(endpoint.connect_lazy());
        }
        if !inner.listeners.contains_key(address) {
            return Err(ConnectError::NoListener {
                address: address.to_owned(),
            });
        }
        // Whoever listens when it connects: another may have taken the first one's place.
        let (known, address) = (Arc::downgrade(&self.inner), address.to_owned());
        let connector = service_fn(move |_: http::Uri| {
            let listener = known
                .upgrade()
                .and_then(|inner| lock(&inner).listeners.get(&address).cloned());
            async move { pipe::connect(listener).await.map(TokioIo::new) }
        });
        Ok(endpoint("http://in.process")?.connect_with_connector_lazy(connector))
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

fn endpoint(address: &str) -> Result<Endpoint, ConnectError> {
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| ConnectError::BadAddress {
        address: without_userinfo(address),
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .concurrency_limit(CONCURRENCY)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(10)))
}

/// A server with our limits and a span per call.
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .concurrency_limit_per_connection(CONCURRENCY)
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
        lock(&self.inner).runtime.get_or_insert_with(Handle::current);
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

#[cfg(test)]
mod tests;
