//! HTTP clients that hold to the rules.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};

use super::rules::Rules;
use super::shown_url;
use crate::StorageError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 10;

/// Resolves names.
pub trait Lookup: std::fmt::Debug + Send + Sync {
    fn lookup(&self, name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A place that a request would have gone to.
#[derive(Debug, thiserror::Error)]
pub enum DeniedPlace {
    #[error(
        "[{name}] leads to the private address {address}, which is not allowed (--extern-allow net:{address})"
    )]
    Address { name: String, address: IpAddr },
    #[error("it redirects to [{place}], which is under none of the allowed prefixes (--extern-allow)")]
    Redirect { place: String },
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
}

/// Whether a request failed because it may not be made: asking again does not help.
pub fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<DeniedPlace>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Follows redirects to whatever is allowed.
pub(super) fn anywhere(rules: Arc<Rules>, lookup: Arc<dyn Lookup>) -> Result<reqwest::Client, StorageError> {
    let allowed = Arc::clone(&rules);
    let policy = Policy::custom(move |attempt| {
        if allowed.allow_url(attempt.url()) {
            follow(attempt)
        } else {
            refuse(attempt)
        }
    });
    client(rules, lookup, policy)
}

/// Follows redirects to what is allowed at the origin that was asked.
pub(super) fn one_origin(
    rules: Arc<Rules>,
    lookup: Arc<dyn Lookup>,
) -> Result<reqwest::Client, StorageError> {
    let allowed = Arc::clone(&rules);
    let policy = Policy::custom(move |attempt| {
        let first = attempt.previous().first().map(url::Url::origin);
        if first == Some(attempt.url().origin()) && allowed.allow_url(attempt.url()) {
            follow(attempt)
        } else {
            refuse(attempt)
        }
    });
    client(rules, lookup, policy)
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() < MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.error(DeniedPlace::TooManyRedirects)
    }
}

fn refuse(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let place = shown_url(attempt.url().as_str());
    attempt.error(DeniedPlace::Redirect { place })
}

/// No proxy of the environment: it would resolve names in our place.
fn client(
    rules: Arc<Rules>,
    lookup: Arc<dyn Lookup>,
    policy: Policy,
) -> Result<reqwest::Client, StorageError> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(policy)
        .referer(false)
        .no_proxy()
        .dns_resolver(Arc::new(Checked { rules, lookup }))
        .build()
        .map_err(|error| StorageError::Spec(format!("no HTTP client: {error}")))
}

/// Answers only addresses that may be connected to: what was checked is what is connected to, whatever the name leads
/// to a moment later.
#[derive(Debug)]
struct Checked {
    rules: Arc<Rules>,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.rules);
        let lookup = Arc::clone(&self.lookup);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = lookup.lookup(&name).await?;
            let (allowed, denied): (Vec<IpAddr>, Vec<IpAddr>) = found
                .into_iter()
                .partition(|address| rules.allow_address(&name, *address));
            if let (true, Some(address)) = (allowed.is_empty(), denied.first()) {
                return Err(DeniedPlace::Address {
                    name,
                    address: *address,
                }
                .into());
            }
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
