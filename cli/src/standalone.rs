//! Every role in one process, over the same messages.

use std::path::PathBuf;

use clap::Args;
use sarsen_kernel::secret::Secret;
use sarsen_object::ObjectSettings;
use sarsen_proto::tls::TlsOptions;
use sarsen_proto::transport::Network;
use sarsen_worker::MemorySize;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// Flags of `sarsen standalone`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder for everything this process keeps.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data")]
    pub data_dir: PathBuf,
    /// Where the HTTP API listens.
    #[arg(long, env = "SARSEN_HTTP_ADDR", default_value = "127.0.0.1:8888")]
    pub http_addr: String,
    /// Workers: each has its own slots, memory and shuffle store, and fetches rows from the others as over a network.
    #[arg(long, env = "SARSEN_WORKERS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// Worker tasks that each worker runs at once.
    #[arg(long, env = "SARSEN_SLOTS", default_value_t = 4)]
    pub slots: u32,
    /// Prefix of paths or URLs that EXTERN may read; may be given several times. Any of them without.
    #[arg(long, env = "SARSEN_EXTERN_ALLOW", value_delimiter = ',')]
    pub extern_allow: Vec<String>,
    /// Memory of the process (512M, 4G, 80%); by default three quarters of what the machine or container allows.
    #[arg(long, env = "SARSEN_MEMORY_LIMIT")]
    pub memory_limit: Option<MemorySize>,
    /// Where segments and reports are kept: a folder, s3://BUCKET/PREFIX, gs://… or azure://… [default: DATA_DIR/deep-storage].
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Where rows go that do not fit into memory [default: DATA_DIR/spill].
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Metadata store: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE [default: sqlite:DATA_DIR/metadata.db].
    #[arg(long, env = "SARSEN_METADATA", hide_env_values = true, value_parser = sarsen_proto::secret::parse)]
    pub metadata: Option<Secret>,
    /// Connections to PostgreSQL at the most.
    #[arg(long, env = "SARSEN_METADATA_CONNECTIONS", default_value_t = sarsen_overlord::METADATA_CONNECTIONS)]
    pub metadata_connections: u32,
    #[command(flatten)]
    pub quotas: sarsen_overlord::Quotas,
    #[command(flatten)]
    pub retention: sarsen_overlord::Retention,
    #[command(flatten)]
    pub http: sarsen_gateway::HttpOptions,
    #[command(flatten)]
    pub security: sarsen_overlord::SecurityOptions,
    /// Prefix of paths or URLs that exports may write below; may be given several times. Any of them without.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
}

impl Options {
    /// A worker that has all the memory, as the only one has.
    pub fn one_worker(&self) -> sarsen_worker::Options {
        let alone = Options {
            workers: 1,
            ..self.clone()
        };
        worker(&alone, &[], &[], 0)
    }
}

const OVERLORD: &str = "inproc://overlord";

/// Runs all roles until `shutdown`.
///
/// # Errors
/// When one of them cannot start or fails.
pub async fn run(options: Options, shutdown: CancellationToken) -> Outcome {
    let started = start(options, shutdown).await?;
    crate::logging::say(&format!("Sarsen is up: {}", started.url));
    started.wait().await
}

/// Roles that run.
pub struct Started {
    /// Where the HTTP API is.
    pub url: String,
    roles: Vec<tokio::task::JoinHandle<Outcome>>,
}

impl Started {
    /// Waits until all roles have ended.
    ///
    /// # Errors
    /// The first error of any.
    pub async fn wait(self) -> Outcome {
        let mut outcome = Ok(());
        for role in self.roles {
            let ended = role.await.map_err(Into::into).and_then(|ended| ended);
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Starts the Overlord, a controller, the workers and a gateway.
///
/// # Errors
/// When one of them cannot start.
pub async fn start(options: Options, shutdown: CancellationToken) -> Outcome<Started> {
    let network = Network::default();
    let allow = if options.extern_allow.is_empty() {
        everything(&["http://", "https://", "env:"])
    } else {
        options.extern_allow.clone()
    };
    let export_allow = if options.export_allow.is_empty() {
        everything(&[])
    } else {
        options.export_allow.clone()
    };
    let overlord = sarsen_overlord::Options {
        data_dir: options.data_dir.clone(),
        grpc_addr: OVERLORD.to_owned(),
        metadata: options.metadata.clone(),
        deep_storage: options.deep_storage.clone(),
        memory_limit: None,
        spill_dir: None,
        extern_allow: Vec::new(),
        members: Vec::new(),
        etcd: None,
        advertise: None,
        labels: Default::default(),
        leader: None,
        quotas: options.quotas,
        retention: options.retention,
        metadata_connections: options.metadata_connections,
        tls: TlsOptions::default(),
        security: options.security.clone(),
        export_allow: Vec::new(),
        objects: options.objects.clone(),
    };
    let controller = sarsen_controller::Options {
        data_dir: options.data_dir.clone(),
        overlord: OVERLORD.to_owned(),
        grpc_addr: "inproc://controller".to_owned(),
        advertise: None,
        tasks: 64,
        drain_seconds: 0,
        labels: Default::default(),
        memory_limit: None,
        deep_storage: options.deep_storage.clone(),
        spill_dir: None,
        extern_allow: allow.clone(),
        tls: TlsOptions::default(),
        export_allow: export_allow.clone(),
        objects: options.objects.clone(),
    };
    let gateway = sarsen_gateway::Options {
        data_dir: options.data_dir.clone(),
        overlord: OVERLORD.to_owned(),
        http_addr: options.http_addr.clone(),
        drain_seconds: 5,
        extern_allow: allow.clone(),
        memory_limit: None,
        deep_storage: Some(options.one_worker().deep_storage()),
        spill_dir: None,
        tls: TlsOptions::default(),
        http: options.http.clone(),
        export_allow: Vec::new(),
        objects: options.objects.clone(),
    };
    let overlord = sarsen_overlord::start(overlord, network.clone(), shutdown.clone()).await?;
    let controller = sarsen_controller::start(controller, network.clone(), shutdown.clone()).await?;
    let mut roles = vec![
        tokio::spawn(async move { Ok(overlord.done.await??) }),
        tokio::spawn(async move { Ok(controller.done.await??) }),
    ];
    for number in 0..options.workers {
        let worker = worker(&options, &allow, &export_allow, number);
        let worker = sarsen_worker::start(worker, network.clone(), shutdown.clone()).await?;
        roles.push(tokio::spawn(async move { Ok(worker.done.await??) }));
    }
    let gateway = sarsen_gateway::start(gateway, network, shutdown).await?;
    roles.push(tokio::spawn(async move { Ok(gateway.done.await??) }));
    Ok(Started {
        url: gateway.url,
        roles,
    })
}

/// All files, all stores, and `more`.
fn everything(more: &[&str]) -> Vec<String> {
    let places = ["/", "s3://", "gs://", "azure://", "azureStorage://"];
    places
        .iter()
        .chain(more)
        .map(|place| (*place).to_owned())
        .collect()
}

/// One of the workers, with its part of the memory and a spill folder of its own.
fn worker(
    options: &Options,
    allow: &[String],
    export_allow: &[String],
    number: u32,
) -> sarsen_worker::Options {
    let mut worker = sarsen_worker::Options {
        data_dir: options.data_dir.clone(),
        overlord: OVERLORD.to_owned(),
        grpc_addr: format!("inproc://worker{number}"),
        advertise: None,
        slots: options.slots,
        memory_limit: options.memory_limit,
        deep_storage: options.deep_storage.clone(),
        spill_dir: options.spill_dir.clone(),
        spill_quota: MemorySize::Bytes(256 << 30),
        extern_allow: allow.to_vec(),
        export_allow: export_allow.to_vec(),
        objects: options.objects.clone(),
        drain_seconds: 0,
        labels: Default::default(),
        tls: TlsOptions::default(),
    };
    if options.workers > 1 {
        worker.memory_limit = Some(MemorySize::Bytes(
            worker.memory_bytes() / u64::from(options.workers),
        ));
        worker.spill_dir = Some(worker.spill_dir().join(format!("worker{number}")));
    }
    worker
}
