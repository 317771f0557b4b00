//! The directory of a cluster in etcd: who leads, and who takes part. `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PREFIX]`
//! (over TLS `etcds://…[?ca=PATH][&cert=PATH&key=PATH]`) names one wherever an Overlord's address is asked for. What is in it is found there and believed only so far: a node
//! that etcd has lost goes on, and so does everyone while etcd itself is away.

use std::fmt;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, Identity, PutOptions, SortOrder, SortTarget,
    TlsOptions, WatchOptions,
};
use sarsen_kernel::secret::Secret;
use tokio::sync::watch;

use crate::membership::Departure;
use crate::tls::TlsError;
use crate::v1;

/// Scheme of a directory's address.
pub const ETCD: &str = "etcd://";

/// Scheme of the address of one that is reached over TLS.
pub const ETCD_TLS: &str = "etcds://";

/// Whether an address is that of a directory.
pub fn is_directory(address: &str) -> bool {
    address.starts_with(ETCD) || address.starts_with(ETCD_TLS)
}

/// Seconds without a sign of life after which etcd forgets a node.
pub const LEASE_SECONDS: i64 = 3;

/// Time between two signs of life.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_PREFIX: &str = "sarsen";

/// Where a directory is.
#[derive(Clone, PartialEq, Eq)]
pub struct Directory {
    endpoints: Vec<String>,
    credentials: Option<(String, Secret)>,
    prefix: String,
    tls: Option<EtcdTls>,
}

/// Files of an `etcds://` address; without a CA, those of the web are trusted.
#[derive(Clone, Default, PartialEq, Eq)]
struct EtcdTls {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Directory {
    /// Reads an `etcd://` or `etcds://` address; `None` when it is not one.
    pub fn parse(address: &str) -> Option<Directory> {
        let (scheme, rest, tls) = match address.strip_prefix(ETCD_TLS) {
            Some(rest) => {
                let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
                ("https", rest, Some(EtcdTls::parse(query)?))
            }
            None => ("http", address.strip_prefix(ETCD)?, None),
        };
        let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match place.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials.split_once(':')?), hosts),
            None => (None, place),
        };
        let endpoints: Vec<String> = hosts
            .split(',')
            .filter(|host| !host.is_empty())
            .map(|host| format!("{scheme}://{host}"))
            .collect();
        let prefix = prefix.trim_matches('/');
        (!endpoints.is_empty()).then(|| Directory {
            endpoints,
            credentials: credentials.map(|(user, password)| (user.to_owned(), Secret::new(password))),
            prefix: if prefix.is_empty() { DEFAULT_PREFIX } else { prefix }.to_owned(),
            tls,
        })
    }

    /// A client; it connects when it is used, and again after a loss.
    ///
    /// # Errors
    /// For malformed endpoints and refused credentials.
    pub async fn client(&self) -> Result<Client, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CALL_TIMEOUT)
            .with_keep_alive(Duration::from_secs(1), CALL_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some((user, password)) = &self.credentials {
            options = options.with_user(user, password.expose());
        }
        if let Some(tls) = &self.tls {
            options = options.with_tls(
                tls.options()
                    .map_err(|error| Error::InvalidArgs(error.to_string()))?,
            );
        }
        Client::connect(&self.endpoints, Some(options)).await
    }

    /// Where etcd is, as `http[s]://HOST:PORT`.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Files of an `etcds://` address: the CA, the certificate and its key.
    pub fn tls_files(&self) -> Option<[Option<&str>; 3]> {
        let tls = self.tls.as_ref()?;
        Some([tls.ca.as_deref(), tls.cert.as_deref(), tls.key.as_deref()])
    }

    /// Name of the election of the Overlord that leads.
    pub fn election(&self) -> String {
        format!("/{}/overlord", self.prefix)
    }

    fn node_key(&self, node: &v1::Node) -> String {
        let role = node
            .role()
            .as_str_name()
            .trim_start_matches("ROLE_")
            .to_lowercase();
        format!("/{}/nodes/{role}/{}", self.prefix, node.node_id)
    }

    /// Addresses of the Overlord that leads, one after the other, for as long as anybody listens.
    pub fn watch_leader(&self) -> watch::Receiver<Option<String>> {
        let (sender, receiver) = watch::channel(None);
        let directory = self.clone();
        tokio::spawn(async move {
            while !sender.is_closed() {
                if let Err(error) = directory.follow_leader(&sender).await {
                    tracing::debug!(%directory, %error, "cannot watch who leads, will try again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        receiver
    }

    /// Tells who leads until nobody listens. The last known leader stays told when etcd is away.
    async fn follow_leader(&self, told: &watch::Sender<Option<String>>) -> Result<(), Error> {
        let mut client = self.client().await?;
        let election = format!("{}/", self.election());
        loop {
            let first = GetOptions::new()
                .with_prefix()
                .with_sort(SortTarget::Create, SortOrder::Ascend)
                .with_limit(1);
            let found = in_time(client.get(election.as_str(), Some(first))).await?;
            let leader = found
                .kvs()
                .first()
                .and_then(|kv| kv.value_str().ok())
                .map(str::to_owned);
            told.send_if_modified(|known| {
                let news = leader.is_some() && *known != leader;
                if news {
                    known.clone_from(&leader);
                }
                news
            });
            let since = found.header().map_or(0, |header| header.revision() + 1);
            let options = WatchOptions::new().with_prefix().with_start_revision(since);
            let mut changes = in_time(client.watch(election.as_str(), Some(options))).await?;
            tokio::select! {
                change = changes.message() => {
                    if change?.is_none_or(|change| change.canceled()) {
                        return Err(Error::WatchError("the watch has ended".to_owned()));
                    }
                }
                () = told.closed() => return Ok(()),
            }
        }
    }

    /// Keeps a node in the directory, under a lease, until it is gone; its entry says so from when it drains.
    pub async fn register(&self, node: &v1::Node, departure: &Departure) {
        while !departure.gone.is_cancelled() {
            let registered = self.keep_registered(node, departure).await;
            if let Err(error) = registered {
                tracing::warn!(directory = %self, %error, "cannot stay in the directory, will try again");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = departure.gone.cancelled() => {}
            }
        }
    }

    async fn keep_registered(&self, node: &v1::Node, departure: &Departure) -> Result<(), Error> {
        let mut client = self.client().await?;
        let lease = in_time(client.lease_grant(LEASE_SECONDS, None)).await?.id();
        let mut keeper = client.clone();
        let alive = keep_alive(&mut keeper, lease);
        tokio::pin!(alive);
        loop {
            let draining = departure.draining.is_cancelled();
            let entry = v1::Node {
                draining,
                ..node.clone()
            };
            let options = PutOptions::new().with_lease(lease);
            in_time(client.put(self.node_key(node), describe(&entry), Some(options))).await?;
            tracing::info!(directory = %self, draining, "is in the directory");
            tokio::select! {
                error = &mut alive => return Err(error),
                () = departure.gone.cancelled() => {
                    in_time(client.lease_revoke(lease)).await?;
                    return Ok(());
                }
                () = departure.draining.cancelled(), if !draining => {}
            }
        }
    }
}

impl EtcdTls {
    /// Reads `ca=PATH&cert=PATH&key=PATH`.
    fn parse(query: &str) -> Option<EtcdTls> {
        let mut tls = EtcdTls::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, path) = part.split_once('=')?;
            let file = match name {
                "ca" => &mut tls.ca,
                "cert" => &mut tls.cert,
                "key" => &mut tls.key,
                _ => return None,
            };
            *file = Some(path.to_owned());
        }
        (tls.cert.is_some() == tls.key.is_some()).then_some(tls)
    }

    fn options(&self) -> Result<TlsOptions, TlsError> {
        let read = |path: &String| crate::tls::read(path.as_ref());
        let mut options = match &self.ca {
            Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?)),
            None => TlsOptions::new().with_webpki_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            options = options.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(options)
    }
}

/// Renews a lease until that fails.
pub async fn keep_alive(client: &mut Client, lease: i64) -> Error {
    let renewed = async {
        let (mut keeper, mut answers) = in_time(client.lease_keep_alive(lease)).await?;
        loop {
            keeper.keep_alive().await?;
            let answer = in_time(answers.message()).await?;
            if answer.is_none_or(|answer| answer.ttl() <= 0) {
                return Err::<(), Error>(Error::LeaseKeepAliveError("the lease has run out".to_owned()));
            }
            tokio::time::sleep(LEASE_RENEWAL).await;
        }
    };
    match renewed.await {
        Ok(()) => Error::LeaseKeepAliveError("the lease is not renewed any more".to_owned()),
        Err(error) => error,
    }
}

/// A call that is given up after two seconds.
///
/// # Errors
/// The call's own, or that it took too long.
pub async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| {
            Err(Error::GRpcStatus(tonic::Status::deadline_exceeded(
                "etcd does not answer",
            )))
        })
}

/// A node as others find it.
fn describe(node: &v1::Node) -> String {
    serde_json::json!({
        "address": node.address,
        "slots": node.slots,
        "version": node.version,
        "labels": node.labels,
        "draining": node.draining,
    })
    .to_string()
}

/// Without the password.
impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                endpoint
                    .split_once("://")
                    .map_or(endpoint.as_str(), |(_, host)| host)
            })
            .collect();
        let scheme = if self.tls.is_some() { ETCD_TLS } else { ETCD };
        write!(f, "{scheme}{}/{}", hosts.join(","), self.prefix)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;

    #[test]
    fn an_address_names_hosts_credentials_and_a_prefix() {
        let directory = Directory::parse("etcd://root:secret@a:2379,b:2379/prod/").unwrap();
        assert_eq!(directory.endpoints, ["http://a:2379", "http://b:2379"]);
        assert_eq!(directory.election(), "/prod/overlord");
        assert_eq!(directory.to_string(), "etcd://a:2379,b:2379/prod");
        assert_eq!(
            Directory::parse("etcd://a:2379").unwrap().election(),
            "/sarsen/overlord"
        );
        assert_eq!(Directory::parse("http://a:2379"), None);
        assert_eq!(Directory::parse("etcd:///x"), None);
        assert!(!format!("{directory:?}").contains("secret"));
    }

    #[test]
    fn a_directory_over_tls_names_its_files() {
        let directory = Directory::parse("etcds://u:secret@a:2379/prod?ca=/ca.pem&cert=/c&key=/k").unwrap();
        assert_eq!(directory.endpoints, ["https://a:2379"]);
        assert_eq!(directory.to_string(), "etcds://a:2379/prod");
        assert!(directory.tls.unwrap().ca.is_some());
        assert_eq!(Directory::parse("etcds://a:2379?cert=/c"), None);
        assert_eq!(Directory::parse("etcds://a:2379?x=/c"), None);
    }
}
