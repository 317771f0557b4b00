//! TLS between nodes: every node has a certificate of one CA, shows it and asks for that of whoever calls.
//!
//! A certificate also says which role its node plays, by one of its DNS names (`worker.nodes.sarsen.internal`), so that
//! the certificate of a gateway opens nothing that only controllers may call ([`crate::access`]).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::v1::Role;

/// Flags of every role that talks to other processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TlsOptions {
    /// Certificate of this node (PEM): nodes talk TLS, and show each other certificates. Addresses are https:// then.
    #[arg(long, env = "SARSEN_TLS_CERT", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Private key of this node's certificate (PEM, PKCS#8).
    #[arg(long, env = "SARSEN_TLS_KEY", requires_all = ["tls_cert", "tls_ca"])]
    pub tls_key: Option<PathBuf>,
    /// The CA whose certificates other nodes must show (PEM).
    #[arg(long, env = "SARSEN_TLS_CA", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{flags} are given together or not at all")]
    Incomplete { flags: &'static str },
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("the certificate {cert}, its key and the CA {ca} do not go together: {reason}")]
    Unusable {
        cert: String,
        ca: String,
        reason: String,
    },
}

/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a node shows and whom it trusts.
#[derive(Clone)]
pub struct NodeTls {
    pub(crate) client: ClientTlsConfig,
    pub(crate) server: ServerTlsConfig,
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeTls")
    }
}

impl TlsOptions {
    /// Reads the files; `None` when TLS is off.
    ///
    /// # Errors
    /// [`TlsError`] names the file that cannot be used.
    pub fn load(&self) -> Result<Option<Arc<NodeTls>>, TlsError> {
        let (cert, key, ca) = match (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            (None, None, None) => return Ok(None),
            (Some(cert), Some(key), Some(ca)) => (cert, key, ca),
            _ => {
                return Err(TlsError::Incomplete {
                    flags: "--tls-cert, --tls-key and --tls-ca",
                });
            }
        };
        warn_if_readable(key);
        let identity = Identity::from_pem(read(cert)?, read(key)?);
        let trusted = Certificate::from_pem(read(ca)?);
        let tls = NodeTls {
            client: ClientTlsConfig::new()
                .identity(identity.clone())
                .ca_certificate(trusted.clone())
                .timeout(HANDSHAKE),
            server: ServerTlsConfig::new()
                .identity(identity)
                .client_ca_root(trusted)
                .timeout(HANDSHAKE),
        };
        let unusable = |error: tonic::transport::Error| TlsError::Unusable {
            cert: cert.display().to_string(),
            ca: ca.display().to_string(),
            reason: innermost(&error),
        };
        tonic::transport::Server::builder()
            .tls_config(tls.server.clone())
            .map_err(unusable)?;
        tonic::transport::Endpoint::from_static("https://localhost")
            .tls_config(tls.client.clone())
            .map_err(unusable)?;
        Ok(Some(Arc::new(tls)))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

/// Reads a file of certificates or keys.
///
/// # Errors
/// [`TlsError::Read`].
pub fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read {
        path: path.display().to_string(),
        error,
    })
}

/// Says so when everybody may read a private key; its group may, where files are mounted for one.
pub fn warn_if_readable(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o007 != 0 {
        tracing::warn!(path = %key.display(), "a private key can be read by everybody");
    }
}

/// Roles that a node may have.
pub const ROLES: [Role; 4] = [Role::Overlord, Role::Controller, Role::Worker, Role::Gateway];

/// The role's word in flags and certificates.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Overlord => "overlord",
        Role::Controller => "controller",
        Role::Worker => "worker",
        Role::Gateway => "gateway",
        Role::Unspecified => "unspecified",
    }
}

/// The DNS name by which a certificate says that its node plays a role.
pub fn role_dns_name(role: Role) -> String {
    format!("{}.nodes.sarsen.internal", role_name(role))
}

/// Roles that a verified certificate names.
pub fn roles_of(certificate: &CertificateDer<'_>) -> Vec<Role> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else {
        return Vec::new();
    };
    let plays = |role: &Role| {
        ServerName::try_from(role_dns_name(*role))
            .is_ok_and(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
    };
    ROLES.into_iter().filter(plays).collect()
}
