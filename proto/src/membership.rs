//! How a node tells the Overlord that it is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sarsen_kernel::secret::without_userinfo;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::transport::Network;
use crate::v1;
use crate::v1::overlord_client::OverlordClient;

/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// A client of the Overlord at `address`.
///
/// # Errors
/// For a malformed address.
pub fn overlord(
    network: &Network,
    address: &str,
) -> Result<OverlordClient<crate::transport::VersionedChannel>, crate::transport::ConnectError> {
    let client = OverlordClient::new(network.channel(address)?);
    Ok(client
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

/// Bytes of a message at the most: reports and catalogues are the large ones.
pub const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Where others reach a node that is bound to `bound` (`http://HOST:PORT`): what its `--advertise` says (`HOST:PORT` or
/// a URL), or where it is bound.
///
/// # Errors
/// When it is bound to all addresses and says nothing: nobody could call it there. When it says http and is reached over
/// TLS, or the other way round.
pub fn advertised(advertise: Option<&str>, bound: &str) -> std::io::Result<String> {
    let (scheme, place) = bound.split_once("://").unwrap_or(("http", bound));
    match advertise {
        Some(url) if url.contains("://") && !url.starts_with(&format!("{scheme}://")) => {
            let words = format!("--advertise {url}: this node is reached at {scheme}:// addresses");
            Err(std::io::Error::other(words))
        }
        Some(url) if url.contains("://") => Ok(url.trim_end_matches('/').to_owned()),
        Some(place) => Ok(format!("{scheme}://{place}")),
        None if place.starts_with("0.0.0.0:") || place.starts_with("[::]:") => Err(std::io::Error::other(
            "others cannot call this address: give --advertise HOST:PORT too",
        )),
        None => Ok(bound.to_owned()),
    }
}

/// Whether a node has been heard by the Overlord lately.
#[derive(Debug, Clone, Default)]
pub struct Joined(Arc<AtomicBool>);

impl Joined {
    /// # Errors
    /// What is missing.
    pub fn check(&self) -> Result<(), String> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no Overlord answers its heartbeats".to_owned()),
        }
    }
}

/// Sends heartbeats until `cancel`, and waits in between; an Overlord that is away or refuses is only logged. Where the
/// Overlord is found in a directory, the node is in it too.
pub async fn announce(
    network: Network,
    overlord_address: String,
    node: v1::Node,
    joined: Joined,
    cancel: CancellationToken,
) {
    match Directory::parse(&overlord_address) {
        Some(directory) => {
            tokio::join!(
                directory.register(&node, &cancel),
                beat(&network, &overlord_address, &node, &joined, &cancel)
            );
        }
        None => beat(&network, &overlord_address, &node, &joined, &cancel).await,
    }
    joined.0.store(false, Ordering::Relaxed);
}

async fn beat(
    network: &Network,
    overlord_address: &str,
    node: &v1::Node,
    joined: &Joined,
    cancel: &CancellationToken,
) {
    let mut was_known = false;
    let shown = without_userinfo(overlord_address);
    while !cancel.is_cancelled() {
        let answer = match overlord(network, overlord_address) {
            Ok(mut client) => client
                .heartbeat(v1::HeartbeatRequest {
                    node: Some(node.clone()),
                })
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        joined.0.store(answer.is_ok(), Ordering::Relaxed);
        match answer {
            Ok(_) if !was_known => {
                was_known = true;
                tracing::info!(overlord = shown, "joined the cluster");
            }
            Ok(_) => {}
            Err(error) if was_known => {
                was_known = false;
                tracing::warn!(overlord = shown, error, "lost the Overlord, will keep trying");
            }
            Err(error) => tracing::debug!(overlord = shown, error, "no Overlord yet"),
        }
        let pause = if was_known { HEARTBEAT } else { HEARTBEAT / 5 };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::advertised;

    #[test]
    fn a_node_is_called_where_it_says_or_where_it_is_bound() {
        assert_eq!(
            advertised(None, "http://127.0.0.1:80").unwrap(),
            "http://127.0.0.1:80"
        );
        assert_eq!(
            advertised(Some("host:81"), "https://0.0.0.0:80").unwrap(),
            "https://host:81"
        );
        assert_eq!(
            advertised(Some("http://host:81/"), "http://0.0.0.0:80").unwrap(),
            "http://host:81"
        );
        assert!(advertised(None, "http://0.0.0.0:80").is_err());
        assert!(advertised(Some("http://host:81"), "https://0.0.0.0:80").is_err());
        assert!(advertised(None, "http://[::]:80").is_err());
    }
}
