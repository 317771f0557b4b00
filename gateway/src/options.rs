//! How a gateway process is set up.

use std::path::PathBuf;

use clap::Args;
use sarsen_object::ObjectSettings;

/// Flags of `sarsen gateway`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Accepted on every role; a gateway keeps nothing.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data")]
    pub data_dir: PathBuf,
    /// Address of the Overlord.
    #[arg(long, env = "SARSEN_OVERLORD", default_value = "http://127.0.0.1:8081")]
    pub overlord: String,
    /// Where the HTTP API listens.
    #[arg(long, env = "SARSEN_HTTP_ADDR", default_value = "127.0.0.1:8888")]
    pub http_addr: String,
    /// Prefix of paths or URLs that EXTERN may read; may be given several times.
    #[arg(long, env = "SARSEN_EXTERN_ALLOW", value_delimiter = ',')]
    pub extern_allow: Vec<String>,
    /// Seconds that requests have to end after SIGTERM.
    #[arg(long, env = "SARSEN_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    /// Accepted on every role; a gateway holds the results of one request at a time.
    #[arg(long, env = "SARSEN_MEMORY_LIMIT")]
    pub memory_limit: Option<String>,
    /// Accepted on every role; a gateway reads no deep storage.
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Accepted on every role; a gateway spills nothing.
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    /// Accepted on every role; a gateway exports nothing.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
}
