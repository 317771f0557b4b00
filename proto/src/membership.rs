//! How a node tells the Overlord that it is alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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

/// Whether a node has been heard by the Overlord lately, and goes on.
#[derive(Debug, Clone, Default)]
pub struct Joined(Arc<Standing>);

#[derive(Debug, Default)]
struct Standing {
    heard: AtomicBool,
    /// The node's shutdown, once it announces itself.
    shutdown: OnceLock<CancellationToken>,
}

impl Joined {
    /// # Errors
    /// Why nothing new should be sent to the node.
    pub fn check(&self) -> Result<(), String> {
        if self.0.shutdown.get().is_some_and(CancellationToken::is_cancelled) {
            return Err("it is shutting down".to_owned());
        }
        match self.0.heard.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no Overlord answers its heartbeats".to_owned()),
        }
    }

    fn set_heard(&self, heard: bool) {
        self.0.heard.store(heard, Ordering::Relaxed);
    }
}

/// When a node takes nothing new any more, and when it has ended what it ran.
#[derive(Debug)]
pub struct Departure {
    pub draining: CancellationToken,
    pub gone: CancellationToken,
}

/// Time for a goodbye: an Overlord that does not hear it finds out by itself.
const GOODBYE: Duration = Duration::from_secs(1);

/// Does a node's `work`, and sends heartbeats meanwhile, which say from `shutdown` on that it is about to end, and then a
/// goodbye; an Overlord that is away or refuses is only logged. Where the Overlord is found in a directory, the node is in it
/// too.
pub async fn announce<T>(
    network: Network,
    overlord_address: String,
    node: v1::Node,
    joined: Joined,
    shutdown: CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    joined.0.shutdown.get_or_init(|| shutdown.clone());
    let departure = Departure {
        draining: shutdown,
        gone: CancellationToken::new(),
    };
    let work = async {
        let result = work.await;
        departure.gone.cancel();
        result
    };
    let heart = beat(&network, &overlord_address, &node, &joined, &departure);
    let (result, ()) = match Directory::parse(&overlord_address) {
        Some(directory) => {
            let registered = directory.register(&node, &departure);
            let (result, (), ()) = tokio::join!(work, heart, registered);
            (result, ())
        }
        None => tokio::join!(work, heart),
    };
    joined.set_heard(false);
    result
}

async fn beat(
    network: &Network,
    overlord_address: &str,
    node: &v1::Node,
    joined: &Joined,
    departure: &Departure,
) {
    let mut was_known = false;
    let mut refusal = String::new();
    let shown = without_userinfo(overlord_address);
    while !departure.gone.is_cancelled() {
        let draining = departure.draining.is_cancelled();
        let answer = match overlord(network, overlord_address) {
            Ok(mut client) => {
                let beating = client.heartbeat(request(node, draining));
                tokio::select! {
                    answer = beating => answer,
                    () = departure.gone.cancelled() => break,
                }
            }
            Err(error) => Err(tonic::Status::unavailable(error.to_string())),
        };
        joined.set_heard(answer.is_ok());
        match answer {
            Ok(_) if !was_known => {
                was_known = true;
                tracing::info!(overlord = shown, "joined the cluster");
            }
            Ok(_) => {}
            Err(error) if was_known => {
                was_known = false;
                tracing::warn!(overlord = shown, %error, "lost the Overlord, will keep trying");
            }
            Err(error) if error.code() == tonic::Code::FailedPrecondition && error.message() != refusal => {
                error.message().clone_into(&mut refusal);
                tracing::warn!(overlord = shown, refusal, "the Overlord refuses this node");
            }
            Err(error) => tracing::debug!(overlord = shown, %error, "no Overlord yet"),
        }
        let pause = if was_known { HEARTBEAT } else { HEARTBEAT / 5 };
        let begins_to_drain = async {
            match draining {
                true => std::future::pending().await,
                false => departure.draining.cancelled().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = begins_to_drain => {}
            () = departure.gone.cancelled() => {}
        }
    }
    if let (true, Ok(mut client)) = (was_known, overlord(network, overlord_address)) {
        let _ = tokio::time::timeout(GOODBYE, client.goodbye(request(node, true))).await;
    }
}

fn request(node: &v1::Node, draining: bool) -> v1::HeartbeatRequest {
    v1::HeartbeatRequest {
        node: Some(v1::Node {
            draining,
            ..node.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_node_that_drains_is_not_ready() {
        let (joined, shutdown, end) = (
            Joined::default(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let announced = tokio::spawn(announce(
            Network::default(),
            "inproc://nobody".to_owned(),
            v1::Node::default(),
            joined.clone(),
            shutdown.clone(),
            end.clone().cancelled_owned(),
        ));
        while joined.0.shutdown.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(joined.check().unwrap_err(), "no Overlord answers its heartbeats");
        joined.set_heard(true);
        joined.check().unwrap();
        shutdown.cancel();
        assert_eq!(joined.check().unwrap_err(), "it is shutting down");
        assert!(!announced.is_finished());
        end.cancel();
        announced.await.unwrap();
    }

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
