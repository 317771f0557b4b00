//! The layer that repeats unary calls which did not get through. Every call of ours may be repeated: tasks, epochs and
//! attempts name what is asked for, so that a second time changes nothing.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tower::retry::Policy;
use tower::util::{BoxCloneSyncService, ServiceExt};
use tower::{BoxError, Service};

/// A connection with its layers.
pub type LayeredChannel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, CallFailed>;

/// A call that got no answer; its source is the transport's own error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CallFailed(#[source] pub(crate) BoxError);

/// Pause before the first repetition; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How often a call is tried before its caller hears of it. Who wants to wait longer repeats above this layer.
const ATTEMPTS: u32 = 3;

/// A channel whose calls have to be answered within `deadline`, from when they are made.
pub(crate) fn within<S>(
    deadline: Duration,
    channel: S,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = BoxError, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    tower::service_fn(move |request| {
        let call = channel.clone().oneshot(request);
        async move {
            match tokio::time::timeout(deadline, call).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(BoxError::from(tonic::TimeoutExpired(()))),
            }
        }
    })
}

/// A channel whose calls are made once.
pub(crate) fn once<S>(channel: S) -> LayeredChannel
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    BoxCloneSyncService::new(channel.map_err(|error| CallFailed(error.into())))
}

/// A channel for unary calls.
pub(crate) fn repeating<S>(channel: S) -> LayeredChannel
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let send = once(channel).map_request(|request: http::Request<Full<Bytes>>| request.map(Body::new));
    let repeat = tower::retry::Retry::new(Repeat { attempt: 1 }, send);
    BoxCloneSyncService::new(tower::service_fn(move |request: http::Request<Body>| {
        let repeat = repeat.clone();
        async move { repeat.oneshot(repeatable(request).await?).await }
    }))
}

/// A request with its whole body at hand, so that it can be sent again.
pub(crate) async fn repeatable(
    request: http::Request<Body>,
) -> Result<http::Request<Full<Bytes>>, CallFailed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| CallFailed(error.into()))?;
    Ok(http::Request::from_parts(head, Full::new(body.to_bytes())))
}

#[derive(Debug, Clone, Copy)]
struct Repeat {
    attempt: u32,
}

impl Policy<http::Request<Full<Bytes>>, http::Response<Body>, CallFailed> for Repeat {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        request: &mut http::Request<Full<Bytes>>,
        result: &mut Result<http::Response<Body>, CallFailed>,
    ) -> Option<Self::Future> {
        let failure = failure(result)?;
        if self.attempt >= ATTEMPTS {
            return None;
        }
        tracing::debug!(
            call = request.uri().path(),
            failure,
            attempt = self.attempt,
            "will be repeated"
        );
        let pause = FIRST_PAUSE * 2_u32.pow(self.attempt - 1);
        self.attempt += 1;
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, request: &http::Request<Full<Bytes>>) -> Option<http::Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

/// Why a call is worth repeating: it did not get through, or the other side said that it is not there yet. A call that
/// took too long is not.
pub(crate) fn failure(result: &Result<http::Response<Body>, CallFailed>) -> Option<String> {
    match result {
        Err(CallFailed(error)) if error.is::<tonic::TimeoutExpired>() => None,
        Err(CallFailed(error)) => Some(error.to_string()),
        Ok(response) => {
            let status = tonic::Status::from_header_map(response.headers())?;
            (status.code() == tonic::Code::Unavailable).then(|| status.message().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A channel that refuses the first calls; answers how often it was called and what it answered last.
    async fn called(refusals: u32, refusal: fn() -> Result<http::Response<Body>, BoxError>) -> (u32, bool) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let channel = repeating(tower::service_fn(move |request: http::Request<Body>| {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                assert_eq!(&body[..], b"asked");
                if call < refusals {
                    refusal()
                } else {
                    Ok(http::Response::new(Body::empty()))
                }
            }
        }));
        let request = http::Request::new(Body::new(Full::new(Bytes::from_static(b"asked"))));
        let answer = channel.oneshot(request).await;
        let good = answer.is_ok_and(|answer| answer.headers().is_empty());
        (calls.load(Ordering::SeqCst), good)
    }

    fn not_there() -> Result<http::Response<Body>, BoxError> {
        Ok(tonic::Status::unavailable("starting").into_http())
    }

    #[tokio::test]
    async fn a_call_that_did_not_get_through_is_repeated_with_the_same_body() {
        assert_eq!(called(2, || Err("connection refused".into())).await, (3, true));
        assert_eq!(called(1, not_there).await, (2, true));
    }

    #[tokio::test]
    async fn the_caller_hears_of_it_after_three_attempts() {
        assert_eq!(called(9, not_there).await, (3, false));
    }

    #[tokio::test]
    async fn a_call_that_took_too_long_is_not_repeated() {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let never = tower::service_fn(move |_: http::Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<http::Response<Body>, BoxError>>()
        });
        let channel = repeating(within(Duration::from_millis(20), never));
        let refusal = channel
            .oneshot(http::Request::new(Body::empty()))
            .await
            .unwrap_err();
        let status = tonic::Status::from_error(Box::new(refusal));
        assert!(status.message().contains("Timeout expired"), "{status}");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_answer_is_an_answer() {
        let refused = || Ok(tonic::Status::not_found("no such task").into_http());
        assert_eq!(called(9, refused).await, (1, false));
    }
}
