//! How a gateway process is set up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use sarsen_object::ObjectSettings;
use sarsen_proto::tls::TlsOptions;

/// Flags of `sarsen gateway`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Accepted on every role; a gateway keeps nothing.
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
    /// Where durable results are read; statements with `selectDestination: durableStorage` are refused without.
    #[arg(long, env = "SARSEN_DEEP_STORAGE")]
    pub deep_storage: Option<String>,
    /// Accepted on every role; a gateway spills nothing.
    #[arg(long, env = "SARSEN_SPILL_DIR")]
    pub spill_dir: Option<PathBuf>,
    #[command(flatten)]
    pub tls: TlsOptions,
    #[command(flatten)]
    pub http: HttpOptions,
    /// Accepted on every role; a gateway exports nothing.
    #[arg(long, env = "SARSEN_EXPORT_ALLOW", value_delimiter = ',')]
    pub export_allow: Vec<String>,
    #[command(flatten)]
    pub objects: ObjectSettings,
}

impl Options {
    /// Settings as Druid's properties, and ours under `sarsen.`; none of them is secret.
    pub fn properties(&self, url: &str) -> BTreeMap<String, String> {
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let tls = url.starts_with("https://");
        // Credentials of etcd may stand before its host.
        let overlord = self.overlord.rsplit('@').next().unwrap_or_default().to_owned();
        [
            ("druid.host", host.to_owned()),
            (
                if tls {
                    "druid.tlsPort"
                } else {
                    "druid.plaintextPort"
                },
                port.to_owned(),
            ),
            ("druid.enablePlaintextPort", (!tls).to_string()),
            ("druid.enableTlsPort", tls.to_string()),
            ("druid.service", "druid/router".to_owned()),
            ("sarsen.version", sarsen_proto::version::VERSION.to_owned()),
            ("sarsen.overlord", overlord),
            (
                "sarsen.auth",
                format!("{:?}", self.http.auth).to_ascii_lowercase(),
            ),
            ("sarsen.authenticatorName", self.http.authenticator_name.clone()),
            ("sarsen.authorizerName", self.http.authorizer_name.clone()),
            ("sarsen.externAllow", self.extern_allow.join(",")),
            ("sarsen.drainSeconds", self.drain_seconds.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

/// Flags of whoever serves the HTTP API: who may use it, and how it is reached.
#[derive(Debug, Clone, Default, Args)]
pub struct HttpOptions {
    /// Certificate of the HTTP API (PEM, with its chain): it speaks https then.
    #[arg(long, env = "SARSEN_HTTP_TLS_CERT", requires = "http_tls_key")]
    pub http_tls_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    #[arg(long, env = "SARSEN_HTTP_TLS_KEY", requires = "http_tls_cert")]
    pub http_tls_key: Option<PathBuf>,
    /// Who may use the HTTP API: everybody, or users with a password or token and the roles that they have.
    #[arg(long, env = "SARSEN_AUTH", value_enum, default_value_t)]
    pub auth: AuthMode,
    /// Name of the authenticator in /druid-ext/basic-security/authentication/db/NAME.
    #[arg(long, env = "SARSEN_AUTHENTICATOR_NAME", default_value = "basic")]
    pub authenticator_name: String,
    /// Name of the authorizer in /druid-ext/basic-security/authorization/db/NAME.
    #[arg(long, env = "SARSEN_AUTHORIZER_NAME", default_value = "basic")]
    pub authorizer_name: String,
    /// EXTERN needs the right to read the EXTERNAL resource of its input source's type, rather than that of all.
    #[arg(long, env = "SARSEN_INPUT_SOURCE_SECURITY")]
    pub enable_input_source_security: bool,
    /// Each context parameter of a query needs the right to write that QUERY_CONTEXT resource.
    #[arg(long, env = "SARSEN_AUTHORIZE_QUERY_CONTEXT")]
    pub authorize_query_context_params: bool,
    /// Context parameters that nobody needs a right for.
    #[arg(long, env = "SARSEN_UNSECURED_CONTEXT_KEYS", value_delimiter = ',')]
    pub unsecured_context_keys: Vec<String>,
    /// Given any, the only context parameters that need a right.
    #[arg(long, env = "SARSEN_SECURED_CONTEXT_KEYS", value_delimiter = ',')]
    pub secured_context_keys: Vec<String>,
}

/// How the HTTP API knows its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum AuthMode {
    /// It does not: everybody may do everything.
    #[default]
    None,
    /// Basic and bearer authentication by users that the Overlord keeps, and role-based authorisation.
    Basic,
}
