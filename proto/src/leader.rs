//! The layer that finds, among several Overlords, the one that leads: a call goes to who led last, then to whoever an
//! answer names, then to each in turn, until one leads or patience ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic::body::Body;
use tower::service_fn;
use tower::util::{BoxCloneSyncService, ServiceExt};

use crate::repeat::{CallFailed, LayeredChannel, failure, repeatable};

/// Metadata of a refusal by an Overlord that does not lead: the address of the one that does.
pub const LEADER_HEADER: &str = "sarsen-leader";

/// How long a call looks for a leader: longer than leadership takes to move.
const PATIENCE: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Where the Overlords are.
#[derive(Debug)]
pub(crate) enum Overlords {
    /// At these addresses.
    Listed(Vec<String>),
    /// A directory tells which one leads.
    Told(watch::Receiver<Option<String>>),
}

impl Overlords {
    /// Whom to ask after `asked` has failed; `named` by an answer.
    fn after(&self, asked: Option<&str>, named: Option<&str>) -> Option<String> {
        match self {
            Overlords::Told(leader) => leader.borrow().clone(),
            Overlords::Listed(addresses) => {
                let position = |wanted: &str| addresses.iter().position(|address| address == wanted);
                let next = match (named.and_then(position), asked.and_then(position)) {
                    (Some(named), _) => named,
                    (None, Some(asked)) => (asked + 1) % addresses.len(),
                    (None, None) => 0,
                };
                addresses.get(next).cloned()
            }
        }
    }
}

/// One channel to whichever Overlord leads; all calls may be repeated, as in [`crate::repeat`].
pub(crate) fn following(
    overlords: Overlords,
    connect: impl Fn(&str) -> Result<LayeredChannel, CallFailed> + Send + Sync + 'static,
) -> LayeredChannel {
    let follower = Arc::new(Follower {
        leader: Mutex::new(overlords.after(None, None)),
        overlords,
        connect,
    });
    BoxCloneSyncService::new(service_fn(move |request| {
        let follower = Arc::clone(&follower);
        async move { follower.call(request).await }
    }))
}

struct Follower<C> {
    overlords: Overlords,
    connect: C,
    /// Address of the one that is asked first.
    leader: Mutex<Option<String>>,
}

impl<C: Fn(&str) -> Result<LayeredChannel, CallFailed>> Follower<C> {
    async fn call(&self, request: http::Request<Body>) -> Result<http::Response<Body>, CallFailed> {
        let request = repeatable(request).await?;
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = self.leader().clone();
            let result = self.ask(asked.as_deref(), request.clone().map(Body::new)).await;
            let Some(failure) = failure(&result) else {
                return result;
            };
            if begin.elapsed() >= PATIENCE {
                return result;
            }
            tracing::debug!(asked, failure, "does not lead");
            self.look_elsewhere(asked, leader_of(&result));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask(
        &self,
        address: Option<&str>,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, CallFailed> {
        let address = address.ok_or_else(|| CallFailed("no Overlord leads yet".into()))?;
        (self.connect)(address)?.oneshot(request).await
    }

    fn look_elsewhere(&self, asked: Option<String>, named: Option<&str>) {
        let mut leader = self.leader();
        // Another call may have found the leader meanwhile.
        if *leader == asked {
            *leader = self.overlords.after(asked.as_deref(), named);
        }
    }

    fn leader(&self) -> MutexGuard<'_, Option<String>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leader_of(result: &Result<http::Response<Body>, CallFailed>) -> Option<&str> {
    result.as_ref().ok()?.headers().get(LEADER_HEADER)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repeat::once;

    type Calls = Arc<Mutex<Vec<String>>>;

    /// Overlords by name; one leads, and those that `know` name it.
    fn cluster(calls: &Calls, leads: &'static str, know: &'static [&'static str]) -> LayeredChannel {
        let calls = Arc::clone(calls);
        let connect = move |name: &str| {
            let calls = Arc::clone(&calls);
            let name = name.to_owned();
            let answer = move |_: http::Request<Body>| {
                calls.lock().unwrap().push(name.clone());
                let mut refusal = tonic::Status::unavailable("does not lead");
                if know.contains(&name.as_str()) {
                    refusal
                        .metadata_mut()
                        .insert(LEADER_HEADER, leads.parse().unwrap());
                }
                let answer = if name == leads {
                    http::Response::new(Body::empty())
                } else {
                    refusal.into_http()
                };
                async move { Ok::<_, tower::BoxError>(answer) }
            };
            Ok(once(service_fn(answer)))
        };
        let names = ["a", "b", "c"].map(str::to_owned);
        following(Overlords::Listed(names.to_vec()), connect)
    }

    async fn call(channel: &LayeredChannel) -> bool {
        let answer = channel.clone().oneshot(http::Request::new(Body::empty())).await;
        answer.is_ok_and(|answer| answer.headers().is_empty())
    }

    #[tokio::test]
    async fn the_named_leader_is_asked_and_remembered() {
        let calls = Calls::default();
        let channel = cluster(&calls, "c", &["a", "b"]);
        assert!(call(&channel).await);
        assert!(call(&channel).await);
        assert_eq!(*calls.lock().unwrap(), ["a", "c", "c"]);
    }

    #[tokio::test]
    async fn who_names_nobody_is_passed_over() {
        let calls = Calls::default();
        assert!(call(&cluster(&calls, "c", &[])).await);
        assert_eq!(*calls.lock().unwrap(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn who_is_told_asks_nobody_else() {
        let (tell, told) = watch::channel(Some("b".to_owned()));
        let overlords = Overlords::Told(told);
        assert_eq!(overlords.after(None, None).as_deref(), Some("b"));
        tell.send_replace(Some("c".to_owned()));
        assert_eq!(overlords.after(Some("b"), Some("a")).as_deref(), Some("c"));
    }
}
