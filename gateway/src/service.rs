//! The process: router, start and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use sarsen_object::Stores;
use sarsen_observe::Observed;
use sarsen_proto::membership::{self, Joined, announce};
use sarsen_proto::transport::{Network, VersionedChannel};
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use sarsen_storage::segment::DeepStorage;
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

use crate::auth::{Auth, guard};
use crate::error::ApiError;
use crate::listener::{HttpListener, Peer, acceptor};
use crate::options::Options;
use crate::routes;

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("cannot listen at {address}: {error}")]
    Bind { address: String, error: std::io::Error },
    #[error(transparent)]
    Tls(#[from] sarsen_proto::tls::TlsError),
    #[error("the HTTP server failed: {0}")]
    Serve(std::io::Error),
}

/// A gateway that answers.
#[derive(Debug)]
pub struct Started {
    /// Where the HTTP API is: `http://HOST:PORT`, or https.
    pub url: String,
    /// Ends after the shutdown that `start` was given.
    pub done: tokio::task::JoinHandle<Result<(), GatewayError>>,
}

/// What every route has.
#[derive(Debug, Clone)]
pub struct App {
    network: Network,
    overlord_address: Arc<str>,
    pub auth: Arc<Auth>,
    pub extern_allow: Vec<String>,
    /// Where durable results are read, if this gateway reads any.
    pub deep_storage: Option<DeepStorage>,
    /// Where clients reach this gateway.
    pub url: Arc<str>,
    /// What `/status/properties` tells.
    pub properties: Arc<BTreeMap<String, String>>,
}

impl App {
    /// A client of the Overlord.
    ///
    /// # Errors
    /// A 503 when there is none.
    pub fn overlord(&self) -> Result<OverlordClient<VersionedChannel>, ApiError> {
        membership::overlord(&self.network, &self.overlord_address).map_err(|error| ApiError::Unavailable {
            message: format!("The Overlord cannot be reached yet: {error}"),
        })
    }

    /// Live nodes.
    ///
    /// # Errors
    /// A 503 when the Overlord is away.
    pub async fn nodes(&self) -> Result<Vec<v1::Node>, ApiError> {
        let nodes = self
            .overlord()?
            .list_nodes(v1::Empty {})
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        Ok(nodes.into_inner().nodes)
    }

    /// All tables.
    ///
    /// # Errors
    /// As [`App::nodes`].
    pub async fn catalog(&self) -> Result<v1::Catalog, ApiError> {
        let catalog = self
            .overlord()?
            .get_catalog(v1::CatalogRequest {
                datasources: Vec::new(),
            })
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        Ok(catalog.into_inner())
    }
}

/// What a gateway tells of itself: it has no part in a query but its request.
struct Watched(Joined);

impl Observed for Watched {
    fn role(&self) -> &'static str {
        "gateway"
    }

    fn ready(&self) -> Result<(), String> {
        self.0.check()
    }

    fn queries(&self) -> Vec<String> {
        Vec::new()
    }

    fn dump(&self, _: &str) -> BoxFuture<'static, Option<serde_json::Value>> {
        Box::pin(async { None })
    }
}

async fn count(response: axum::response::Response) -> axum::response::Response {
    let status = response.status().as_str().to_owned();
    metrics::counter!("sarsen_http_requests", "status" => status).increment(1);
    response
}

/// Where durable results are; without it all else goes on.
fn deep_storage(options: &Options) -> Option<DeepStorage> {
    let url = options.deep_storage.as_ref()?;
    match DeepStorage::open(url, &Stores::new(options.objects.clone())) {
        Ok(deep_storage) => Some(deep_storage),
        Err(error) => {
            tracing::warn!(%error, "durable results cannot be read here");
            None
        }
    }
}

/// Bytes of a request's body at the most.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Starts the HTTP server.
///
/// # Errors
/// When the address cannot be used.
pub async fn start(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<Started, GatewayError> {
    let bind = |error| GatewayError::Bind {
        address: options.http_addr.clone(),
        error,
    };
    let listener = tokio::net::TcpListener::bind(&options.http_addr)
        .await
        .map_err(bind)?;
    let port = listener.local_addr().map_err(bind)?.port();
    let host = options
        .http_addr
        .rsplit_once(':')
        .map_or(options.http_addr.as_str(), |(host, _)| host);
    let acceptor = acceptor(&options.http)?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{host}:{port}");
    let listener = HttpListener::new(listener, acceptor).map_err(bind)?;
    let deep_storage = deep_storage(&options);
    let app = App {
        network: network.clone(),
        overlord_address: options.overlord.as_str().into(),
        auth: Arc::new(Auth::new(options.http.clone())),
        extern_allow: options.extern_allow.clone(),
        deep_storage,
        url: url.as_str().into(),
        properties: Arc::new(options.properties(&url)),
    };
    let refusals = app.auth.refusals.clone().report(app.clone(), shutdown.clone());
    let refusals = tokio::spawn(refusals);
    let router: Router = routes::router()
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route("/metrics", axum::routing::get(sarsen_observe::metrics_page))
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard))
        .layer(axum::middleware::map_response(count))
        .layer(TraceLayer::new_for_http())
        .with_state(app);
    let node = v1::Node {
        node_id: uuid::Uuid::new_v4().to_string(),
        role: v1::Role::Gateway.into(),
        address: url.clone(),
        version: network.version().to_string(),
        ..Default::default()
    };
    tracing::info!(address = url, auth = ?options.http.auth, "gateway is up");
    let drain = Duration::from_secs(options.drain_seconds);
    let joined = Joined::default();
    let observed: Arc<dyn Observed> = Arc::new(Watched(joined.clone()));
    sarsen_observe::observe(&observed);
    let done = tokio::spawn(async move {
        let _observed = observed;
        let stop = shutdown.clone();
        let service = router.into_make_service_with_connect_info::<Peer>();
        let server =
            axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
        let server = async move { server.await.map_err(GatewayError::Serve) };
        let cut_off = async {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        let work = async {
            tokio::select! {
                result = server => result,
                () = cut_off => Ok(()),
            }
        };
        let overlord = options.overlord.clone();
        let result = announce(network, overlord, node, joined, shutdown.clone(), work).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), refusals).await;
        tracing::info!("gateway has ended");
        result
    });
    Ok(Started { url, done })
}

/// Runs a gateway until `shutdown`.
///
/// # Errors
/// As [`start`], and when the server fails.
pub async fn run(
    options: Options,
    network: Network,
    shutdown: CancellationToken,
) -> Result<(), GatewayError> {
    let started = start(options, network, shutdown).await?;
    started.done.await.unwrap_or(Ok(()))
}
