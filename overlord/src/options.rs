//! How an Overlord process is set up.

use std::path::PathBuf;

use clap::Args;
use sarsen_kernel::secret::Secret;
use sarsen_object::ObjectSettings;
use sarsen_proto::directory::Directory;
use sarsen_proto::labels::LabelOptions;
use sarsen_proto::secret;
use sarsen_proto::tls::TlsOptions;

use crate::coordination::{Coordination, Fixed, Heartbeats};
use crate::error::OverlordError;
use crate::metadata::MetadataUrl;
use crate::quotas::Quotas;

/// Connections to PostgreSQL, unless the flag says otherwise.
pub const METADATA_CONNECTIONS: u32 = 8;

/// Flags of `sarsen overlord`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder for everything this process keeps.
    #[arg(long, env = "SARSEN_DATA_DIR", default_value = "./sarsen-data")]
    pub data_dir: PathBuf,
    /// Where gRPC listens.
    #[arg(long, env = "SARSEN_GRPC_ADDR", default_value = "127.0.0.1:8081")]
    pub grpc_addr: String,
    /// Metadata store: sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE, or @FILE that holds one of these
    /// [default: sqlite:DATA_DIR/metadata.db].
    #[arg(long, env = "SARSEN_METADATA", hide_env_values = true, value_parser = secret::parse)]
    pub metadata: Option<Secret>,
    /// Connections to PostgreSQL at the most; SQLite has one that writes and four that read.
    #[arg(long, env = "SARSEN_METADATA_CONNECTIONS", default_value_t = METADATA_CONNECTIONS)]
    pub metadata_connections: u32,
    /// Where segments and reports are kept: a folder, s3://BUCKET/PREFIX, gs://… or azure://… [default: DATA_DIR/deep-storage].
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Address of a controller or worker that may take part (HOST:PORT); may be repeated. Given any, membership is fixed:
    /// others are refused, and a member that is silent stays one. Without, whoever sends heartbeats is a member.
    #[arg(long = "member", env = "SARSEN_MEMBERS", value_delimiter = ',')]
    pub members: Vec<String>,
    /// Address of the Overlord that leads, where that is another one: this one refuses every call and names it.
    #[arg(long, env = "SARSEN_LEADER")]
    pub leader: Option<String>,
    /// Several Overlords elect the one that leads in etcd: etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PREFIX]. They
    /// share a PostgreSQL metadata store and deep storage; other roles take the same address as their --overlord.
    /// Over TLS it is etcds://…[?ca=PATH][&cert=PATH&key=PATH].
    #[arg(long, env = "SARSEN_ETCD", hide_env_values = true, conflicts_with_all = ["members", "leader"])]
    pub etcd: Option<String>,
    /// Where others reach this Overlord, HOST:PORT [default: where it listens].
    #[arg(long, env = "SARSEN_ADVERTISE")]
    pub advertise: Option<String>,
    #[command(flatten)]
    pub labels: LabelOptions,
    #[command(flatten)]
    pub quotas: Quotas,
    #[command(flatten)]
    pub retention: Retention,
    /// Accepted by every role; the Overlord needs little.
    #[arg(long, env = "SARSEN_MEMORY_LIMIT")]
    pub memory_limit: Option<String>,
    /// Accepted by every role; the Overlord reads no external data.
    #[arg(long, env = "SARSEN_EXTERN_ALLOW", value_delimiter = ',')]
    pub extern_allow: Vec<String>,
    /// Accepted by every role; the Overlord spills nothing.
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsOptions,
    #[command(flatten)]
    pub security: SecurityOptions,
    /// Accepted by every role; the Overlord exports nothing.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
}

/// Flags of whoever removes what is kept for a time only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Retention {
    /// Hours for which the pages of durable results are kept after their query has ended.
    #[arg(long, env = "SARSEN_DURABLE_RESULTS_HOURS", default_value_t = DURABLE_RESULTS_HOURS)]
    pub durable_results_hours: u64,
}

/// As long as Druid keeps them (Druid: DurableStorageCleanerConfig).
const DURABLE_RESULTS_HOURS: u64 = 6;

impl Default for Retention {
    fn default() -> Self {
        Retention {
            durable_results_hours: DURABLE_RESULTS_HOURS,
        }
    }
}

/// Flags of whoever keeps users and writes the audit log.
#[derive(Debug, Clone, Default, Args)]
pub struct SecurityOptions {
    /// Password of the user `admin`, who is made with all rights when there is none: @FILE, or better in the environment.
    #[arg(long, env = "SARSEN_INITIAL_ADMIN_PASSWORD", hide_env_values = true, value_parser = secret::parse)]
    pub initial_admin_password: Option<Secret>,
    /// File to which every write is appended, a line of JSON each: who, when, what, with which result.
    #[arg(long, env = "SARSEN_AUDIT_LOG")]
    pub audit_log: Option<PathBuf>,
}

impl Options {
    /// Who takes part and who leads.
    pub fn coordination(&self) -> Box<dyn Coordination> {
        if self.members.is_empty() && self.leader.is_none() {
            Box::new(Heartbeats::default())
        } else {
            Box::new(Fixed::new(self.members.iter().cloned(), self.leader.clone()))
        }
    }

    /// The directory in which Overlords elect one of them.
    ///
    /// # Errors
    /// [`OverlordError::Setting`] when its address is malformed.
    pub fn directory(&self) -> Result<Option<Directory>, OverlordError> {
        let Some(address) = &self.etcd else {
            return Ok(None);
        };
        let directory = Directory::parse(address).ok_or_else(|| OverlordError::Setting {
            setting: "--etcd",
            reason: "expected etcd[s]://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PREFIX][?ca=PATH]".to_owned(),
        })?;
        Ok(Some(directory))
    }

    /// Where the metadata store is.
    ///
    /// # Errors
    /// [`OverlordError::Setting`] for another kind of store.
    pub fn metadata_url(&self) -> Result<MetadataUrl, OverlordError> {
        let Some(url) = &self.metadata else {
            return Ok(MetadataUrl::Sqlite(self.data_dir.join("metadata.db")));
        };
        MetadataUrl::parse(url.expose()).ok_or_else(|| OverlordError::Setting {
            setting: "--metadata",
            reason: "expected sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
        })
    }

    /// Deep storage as set or by default.
    pub fn deep_storage(&self) -> String {
        self.deep_storage
            .clone()
            .unwrap_or_else(|| self.data_dir.join("deep-storage").to_string_lossy().into_owned())
    }
}
