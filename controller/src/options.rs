//! How a controller process is set up.

use std::path::PathBuf;

use clap::Args;
use sarsen_object::ObjectSettings;
use sarsen_proto::labels::LabelOptions;
use sarsen_proto::tls::TlsOptions;

/// Flags of `sarsen controller`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder for everything this process keeps.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data")]
    pub data_dir: PathBuf,
    /// Address of the Overlord.
    #[arg(
        long,
        env = "SARSEN_OVERLORD",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8081"
    )]
    pub overlord: String,
    /// Where gRPC listens; others reach this process here unless it is told otherwise.
    #[arg(long, env = "SARSEN_GRPC_ADDR", default_value = "127.0.0.1:8082")]
    pub grpc_addr: String,
    /// Where others reach this process, HOST:PORT [default: where it listens].
    #[arg(long, env = "SARSEN_ADVERTISE")]
    pub advertise: Option<String>,
    /// Controller tasks that run at once.
    #[arg(long, env = "SARSEN_CONTROLLER_TASKS", default_value_t = 64)]
    pub tasks: u32,
    /// Memory of this process; a controller holds reports and results only, so this is for the sake of one set of flags.
    #[arg(long, env = "SARSEN_MEMORY_LIMIT")]
    pub memory_limit: Option<String>,
    /// Where segments and reports are kept: a folder, s3://BUCKET/PREFIX, gs://… or azure://… [default: DATA_DIR/deep-storage].
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Accepted on every role; a controller spills nothing.
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Prefix of paths or URLs that EXTERN may read; may be given several times.
    #[arg(long, env = "SARSEN_EXTERN_ALLOW", value_delimiter = ',')]
    pub extern_allow: Vec<String>,
    /// Prefix of paths or URLs that exports may write below; may be given several times.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
    /// Seconds that running tasks have to end after SIGTERM; what is left then goes to another controller.
    #[arg(long, env = "SARSEN_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    #[command(flatten)]
    pub labels: LabelOptions,
    #[command(flatten)]
    pub tls: TlsOptions,
}

impl Options {
    /// Deep storage as set or by default.
    pub fn deep_storage(&self) -> String {
        self.deep_storage
            .clone()
            .unwrap_or_else(|| self.data_dir.join("deep-storage").to_string_lossy().into_owned())
    }
}
