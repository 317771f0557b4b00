//! The sender's version, which every call carries, and who may talk to whom.
//!
//! Gateways, Overlords, controllers and workers of neighbouring minor versions talk about tasks, so that a cluster can be
//! upgraded process by process. What belongs to one query crosses between processes of one version only: the bytes of
//! keys and fragments are not promised across releases.

use std::env::VarError;
use std::fmt;
use std::sync::LazyLock;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Version of this binary.
pub const VERSION: &str = sarsen_kernel::shuffle::RELEASE;

/// Header that carries it.
pub const VERSION_HEADER: &str = "x-sarsen-version";

/// For tests of upgrades only: the version that a process announces in place of [`VERSION`].
pub const ANNOUNCED_VARIABLE: &str = "SARSEN_TEST_ANNOUNCED_VERSION";

/// A version that a process announces.
#[derive(Clone, PartialEq, Eq)]
pub struct Version(MetadataValue<Ascii>);

impl Version {
    /// # Errors
    /// When it is not MAJOR.MINOR.PATCH.
    pub fn parse(text: &str) -> Result<Version, String> {
        let refuse = || format!("`{text}` is not a version: expected MAJOR.MINOR.PATCH");
        release(text).ok_or_else(refuse)?;
        text.parse().map(Version).map_err(|_| refuse())
    }

    /// This binary's, or what [`ANNOUNCED_VARIABLE`] says; the variable is read here and nowhere else.
    ///
    /// # Errors
    /// When the variable holds no version.
    pub fn announced() -> Result<Version, String> {
        match std::env::var(ANNOUNCED_VARIABLE) {
            Ok(text) => Version::parse(&text).map_err(|reason| format!("{ANNOUNCED_VARIABLE}: {reason}")),
            Err(VarError::NotPresent) => Ok(Version(MetadataValue::from_static(VERSION))),
            Err(error) => Err(format!("{ANNOUNCED_VARIABLE}: {error}")),
        }
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or(VERSION)
    }
}

impl Default for Version {
    /// [`Version::announced`] at the first time, or this binary's where that is none: a process that serves has refused to
    /// start then.
    fn default() -> Self {
        static ANNOUNCED: LazyLock<Version> = LazyLock::new(|| {
            let own = |_| Version(MetadataValue::from_static(VERSION));
            Version::announced().unwrap_or_else(own)
        });
        ANNOUNCED.clone()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Adds the version to outgoing calls.
#[derive(Debug, Clone, Default)]
pub struct StampVersion(pub Version);

impl Interceptor for StampVersion {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(VERSION_HEADER, self.0.0.clone());
        Ok(request)
    }
}

/// Version of whoever sent a call that was let in; among the call's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerVersion(pub String);

/// Which versions a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// The same major version and a minor one that differs by one at the most: talk about tasks.
    Neighbours,
    /// The very same version: what belongs to a query.
    Identical,
}

impl Accepts {
    fn allows(self, ours: &str, theirs: &str) -> bool {
        match self {
            Accepts::Neighbours => are_neighbours(ours, theirs),
            Accepts::Identical => ours == theirs,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Accepts::Neighbours => {
                "talks to the same major version with the same, the previous or the next minor version only"
            }
            Accepts::Identical => "takes part in queries of the very same version only",
        }
    }
}

/// Refuses incoming calls of versions that a service does not speak.
#[derive(Debug, Clone)]
pub struct CheckVersion {
    ours: Version,
    accepts: Accepts,
}

impl CheckVersion {
    pub fn new(ours: Version, accepts: Accepts) -> Self {
        CheckVersion { ours, accepts }
    }
}

impl Interceptor for CheckVersion {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let theirs = request
            .metadata()
            .get(VERSION_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("none")
            .to_owned();
        if self.accepts.allows(self.ours.as_str(), &theirs) {
            request.extensions_mut().insert(CallerVersion(theirs));
            return Ok(request);
        }
        tracing::warn!(theirs, ours = %self.ours, peer = ?request.remote_addr(), "refused a node of another version");
        Err(Status::failed_precondition(format!(
            "this node runs Sarsen {} and {}; the caller's is {theirs}",
            self.ours,
            self.accepts.words()
        )))
    }
}

/// Major and minor number of MAJOR.MINOR.PATCH.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    if patch.is_empty() {
        return None;
    }
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether two versions share the major number, and their minor ones differ by one at the most.
pub fn are_neighbours(ours: &str, theirs: &str) -> bool {
    match (release(ours), release(theirs)) {
        (Some((major, minor)), Some((their_major, their_minor))) => {
            major == their_major && minor.abs_diff(their_minor) <= 1
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn asked(ours: &str, accepts: Accepts, theirs: &str) -> Result<Request<()>, Status> {
        let request = StampVersion(Version::parse(theirs).unwrap()).call(Request::new(()))?;
        CheckVersion::new(Version::parse(ours).unwrap(), accepts).call(request)
    }

    #[test]
    fn neighbouring_minor_versions_talk_about_tasks() {
        for theirs in ["0.4.0", "0.4.9", "0.5.0", "0.5.3", "0.6.0"] {
            let let_in = asked("0.5.1", Accepts::Neighbours, theirs).unwrap();
            assert_eq!(let_in.extensions().get(), Some(&CallerVersion(theirs.to_owned())));
        }
        for theirs in ["0.3.9", "0.7.0", "1.5.0"] {
            let refusal = asked("0.5.1", Accepts::Neighbours, theirs).unwrap_err();
            assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
            let words = refusal.message();
            assert!(words.contains("0.5.1") && words.contains(theirs), "{words}");
        }
    }

    #[test]
    fn queries_stay_within_one_version() {
        assert!(asked("0.5.1", Accepts::Identical, "0.5.1").is_ok());
        for theirs in ["0.5.0", "0.5.2", "0.4.1", "0.6.1"] {
            let refusal = asked("0.5.1", Accepts::Identical, theirs).unwrap_err();
            assert!(refusal.message().contains(theirs), "{refusal}");
        }
    }

    #[test]
    fn a_caller_without_a_version_is_refused() {
        let mut check = CheckVersion::new(Version::default(), Accepts::Neighbours);
        assert!(check.call(Request::new(())).is_err());
        assert!(Version::parse("1.x.0").is_err() && Version::parse("1.2").is_err());
    }
}
