//! The sender's version, which every call carries, and who may talk to whom.

use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Version of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Header that carries it.
pub const VERSION_HEADER: &str = "x-sarsen-version";

/// Adds the version to outgoing calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct StampVersion;

impl Interceptor for StampVersion {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert(VERSION_HEADER, MetadataValue::from_static(VERSION));
        Ok(request)
    }
}

/// Refuses incoming calls of another minor version.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckVersion;

impl Interceptor for CheckVersion {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let theirs = request
            .metadata()
            .get(VERSION_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("none");
        if is_compatible(VERSION, theirs) {
            return Ok(request);
        }
        tracing::warn!(theirs, ours = VERSION, peer = ?request.remote_addr(), "refused a node of another version");
        Err(Status::failed_precondition(format!(
            "this node runs Sarsen {VERSION} and talks only to the same major.minor version; the caller's is {theirs}"
        )))
    }
}

/// Whether two versions share major and minor number.
pub fn is_compatible(ours: &str, theirs: &str) -> bool {
    let minor = |version: &str| {
        let mut parts = version.split('.');
        Some((
            parts.next()?.parse::<u32>().ok()?,
            parts.next()?.parse::<u32>().ok()?,
        ))
    };
    minor(ours).is_some() && minor(ours) == minor(theirs)
}

#[cfg(test)]
mod tests {
    use super::is_compatible;

    #[test]
    fn only_the_patch_number_may_differ() {
        assert!(is_compatible("0.1.0", "0.1.7"));
        assert!(!is_compatible("0.1.0", "0.2.0"));
        assert!(!is_compatible("0.1.0", "1.1.0"));
        assert!(!is_compatible("0.1.0", "none"));
    }
}
