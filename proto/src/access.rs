//! Which role may call what, where nodes show certificates. Without TLS whoever reaches a port may call it: nodes then
//! belong on a network of their own.

use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use crate::tls::{role_name, roles_of};
use crate::v1::Role;

/// Roles that the caller's certificate names; among a request's extensions where nodes show certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerRoles(pub Vec<Role>);

/// Who may call a method; nobody, one that is not listed here.
fn callers(path: &str) -> &'static [Role] {
    use Role::{Controller, Gateway, Overlord, Worker};
    let Some((service, method)) = path.trim_start_matches('/').split_once('/') else {
        return &[];
    };
    match (service, method) {
        ("sarsen.v1.Overlord", "Heartbeat" | "Goodbye") => &[Controller, Worker, Gateway],
        ("sarsen.v1.Overlord", "Introduce") => &[Overlord, Controller, Worker, Gateway],
        ("sarsen.v1.Overlord", "ListNodes" | "GetCatalog" | "ListSegments") => &[Gateway, Controller],
        (
            "sarsen.v1.Overlord",
            "SubmitTask" | "GetTask" | "WaitTask" | "ListTasks" | "GetReport" | "ShutdownTask"
            | "GetSecurity" | "ChangeSecurity" | "RecordRefusals" | "GetCluster" | "ListLocks"
            | "PageSegments" | "FindSegment" | "PageIntervals" | "ListDatasources" | "MarkSegments"
            | "GetConfigs" | "PutConfigs" | "GetConfigHistory" | "GetTaskLog",
        ) => &[Gateway],
        (
            "sarsen.v1.Overlord",
            "AcquireWorkers" | "ReleaseWorkers" | "PutCheckpoint" | "AllocateSegments" | "Publish"
            | "CompleteTask",
        ) => &[Controller],
        ("sarsen.v1.Controller", _) => &[Overlord],
        ("sarsen.v1.Worker", _) => &[Controller],
        ("arrow.flight.protocol.FlightService", _) => &[Worker, Controller],
        _ => &[],
    }
}

/// Refuses calls by other roles than [`callers`] names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckCaller;

impl<S> Layer<S> for CheckCaller {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Checked<S> {
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Checked<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let roles = caller_roles(request.extensions());
        let path = request.uri().path();
        if callers(path).iter().any(|role| roles.contains(role)) {
            request.extensions_mut().insert(CallerRoles(roles));
            return Box::pin(self.inner.call(request));
        }
        let names: Vec<&str> = roles.into_iter().map(role_name).collect();
        tracing::warn!(path, roles = ?names, "refused a call: the caller's certificate is for other roles");
        let refusal = tonic::Status::permission_denied(format!(
            "a certificate for the roles {names:?} may not call {path}"
        ));
        Box::pin(async move { Ok(refusal.into_http()) })
    }
}

fn caller_roles(extensions: &http::Extensions) -> Vec<Role> {
    let certificates = extensions
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .and_then(TlsConnectInfo::peer_certs);
    certificates
        .as_ref()
        .and_then(|certificates| certificates.first())
        .map(roles_of)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_callers() {
        for (service, text) in [
            ("Overlord", include_str!("../proto/sarsen/v1/overlord.proto")),
            ("Controller", include_str!("../proto/sarsen/v1/controller.proto")),
            ("Worker", include_str!("../proto/sarsen/v1/worker.proto")),
        ] {
            let methods = text.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
            for method in methods.filter_map(|rest| rest.split('(').next()) {
                let path = format!("/sarsen.v1.{service}/{method}");
                assert!(!callers(&path).is_empty(), "{path} has no callers");
            }
        }
        assert!(callers("/sarsen.v1.Overlord/Unknown").is_empty());
        assert_eq!(callers("/sarsen.v1.Overlord/Publish"), [Role::Controller]);
    }
}
