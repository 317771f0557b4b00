//! The admin port.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{catalogue, registry};

/// Why the admin port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("--admin-addr {address}: {error}")]
pub struct AdminError {
    address: String,
    error: std::io::Error,
}

/// Serves the admin port until `shutdown`; answers once it listens.
///
/// # Errors
/// When the address cannot be used.
pub async fn serve(address: &str, shutdown: CancellationToken) -> Result<(), AdminError> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| AdminError {
            address: address.to_owned(),
            error,
        })?;
    tracing::info!(address, "metrics, health and debug are served");
    tokio::spawn(async move {
        // Probes go on while the process drains: only its end ends them.
        let served = axum::serve(listener, router()).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = served.await {
            tracing::warn!(%error, "the admin port has failed");
        }
    });
    Ok(())
}

fn router() -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/status/health", get(|| async { Json(true) }))
        .route("/status/ready", get(ready))
        .route("/debug/queries", get(queries))
        .route("/debug/queries/{query_id}", get(dump))
}

/// All metrics, as Prometheus reads them.
pub async fn metrics_page() -> Response {
    for role in registry::roles() {
        role.measure();
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, catalogue::render()).into_response()
}

async fn ready() -> Response {
    let reasons: Map<String, Value> = registry::roles()
        .iter()
        .filter_map(|role| Some((role.role().to_owned(), Value::String(role.ready().err()?))))
        .collect();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"ready": reasons.is_empty(), "reasons": reasons})),
    )
        .into_response()
}

async fn queries() -> Json<Value> {
    let mut queries = Map::new();
    for role in registry::roles() {
        for query in role.queries() {
            let roles = queries.entry(query).or_insert_with(|| json!([]));
            if let Some(roles) = roles.as_array_mut() {
                roles.push(json!(role.role()));
            }
        }
    }
    Json(Value::Object(queries))
}

async fn dump(Path(query_id): Path<String>) -> Response {
    let mut parts = Vec::new();
    for role in registry::roles() {
        if let Some(part) = role.dump(&query_id).await {
            parts.push(json!({"role": role.role(), "state": part}));
        }
    }
    if parts.is_empty() {
        let told = json!({"error": format!("query {query_id} has no part in this process")});
        return (StatusCode::NOT_FOUND, Json(told)).into_response();
    }
    Json(json!({"queryId": query_id, "parts": parts})).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::Request;
    use futures::future::BoxFuture;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::registry::{Observed, observe};

    struct Fake;

    impl Observed for Fake {
        fn role(&self) -> &'static str {
            "fake"
        }

        fn measure(&self) {
            metrics::gauge!("druid_task_running_count").set(3.0);
        }

        fn ready(&self) -> Result<(), String> {
            Err("no Overlord".to_owned())
        }

        fn queries(&self) -> Vec<String> {
            vec!["q1".to_owned()]
        }

        fn dump(&self, query_id: &str) -> BoxFuture<'static, Option<Value>> {
            let known = query_id == "q1";
            Box::pin(async move { known.then(|| json!({"phase": "running"})) })
        }
    }

    async fn asked(path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_role_tells_of_itself_as_long_as_it_lives() {
        catalogue::install();
        let role: Arc<dyn Observed> = Arc::new(Fake);
        observe(&role);
        let (status, page) = asked("/metrics").await;
        assert_eq!(status, 200);
        assert!(
            page.contains("# TYPE druid_task_running_count gauge\ndruid_task_running_count 3"),
            "{page}"
        );
        assert!(page.contains("process_resident_memory_bytes"), "{page}");
        let reason = r#"{"ready":false,"reasons":{"fake":"no Overlord"}}"#;
        assert_eq!(asked("/status/ready").await, (503, reason.to_owned()));
        assert_eq!(
            asked("/debug/queries").await,
            (200, r#"{"q1":["fake"]}"#.to_owned())
        );
        let part = r#"{"queryId":"q1","parts":[{"role":"fake","state":{"phase":"running"}}]}"#;
        assert_eq!(asked("/debug/queries/q1").await, (200, part.to_owned()));
        assert_eq!(asked("/debug/queries/q2").await.0, 404);
        drop(role);
        assert_eq!(asked("/status/ready").await.0, 200);
    }
}
