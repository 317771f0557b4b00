//! Whether a prefix can be used as it has to be: a small object of a name of its own is written, read, listed and removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};

use crate::error::chain;
use crate::{Access, Location, ObjectError, Stores};

/// Time to remove the object after all else.
const REMOVAL: Duration = Duration::from_millis(1_500);

/// Folder of such objects below the prefix.
const FOLDER: &str = "doctor";

const CONTENT: &[u8] = b"written by sarsen doctor, and removed by it";

/// What kind of trouble an object store makes, as far as its answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There are none, or they are not known there, or have ended.
    Credentials,
    /// Known, but they may not do this.
    Forbidden,
    /// The bucket is not there.
    NoBucket,
    /// Nobody answers at the endpoint.
    Unreachable,
    /// The clocks of both sides differ too much for signatures.
    Clock,
    /// It did not answer in time.
    Slow,
    Other,
}

/// Which step went wrong, and how.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct ProbeError {
    pub step: &'static str,
    pub trouble: Trouble,
    pub reason: String,
}

impl ProbeError {
    fn new(step: &'static str, error: &Error) -> Self {
        let reason = chain(error);
        ProbeError {
            step,
            trouble: trouble(error, &reason),
            reason,
        }
    }
}

fn trouble(error: &Error, reason: &str) -> Trouble {
    let says = |words: &[&str]| {
        let reason = reason.to_ascii_lowercase();
        words.iter().any(|word| reason.contains(word))
    };
    if says(&["requesttimetooskewed"]) {
        return Trouble::Clock;
    }
    if says(&[
        "invalidaccesskeyid",
        "signaturedoesnotmatch",
        "expiredtoken",
        "invalidtoken",
        "169.254.",
        "metadata.google",
        "credential",
    ]) {
        return Trouble::Credentials;
    }
    match error {
        Error::Unauthenticated { .. } => Trouble::Credentials,
        Error::PermissionDenied { .. } => Trouble::Forbidden,
        Error::NotFound { .. } => Trouble::NoBucket,
        _ if says(&["accessdenied", "permission denied"]) => Trouble::Forbidden,
        _ if says(&["nosuchbucket"]) => Trouble::NoBucket,
        _ if says(&["dns error", "connect", "error sending request"]) => Trouble::Unreachable,
        _ => Trouble::Other,
    }
}

/// Writes, reads, lists and removes a small object below `location`, all within `limit`. The object is removed whatever
/// became of the rest.
///
/// # Errors
/// [`ProbeError`] for the first step that went wrong.
pub async fn round_trip(stores: &Stores, location: &Location, limit: Duration) -> Result<(), ProbeError> {
    let cannot_open = |error: ObjectError| ProbeError {
        step: "open",
        trouble: Trouble::Other,
        reason: error.to_string(),
    };
    let bucket = stores.open(location, &Access::default()).map_err(cannot_open)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{FOLDER}/{}-{}", std::process::id(), since.as_nanos());
    let key = match bucket.cloud {
        // The store of a folder names what is in it.
        None => Path::parse(&name).map_err(|error| cannot_open(location.malformed(&error.to_string())))?,
        Some(_) => location.join(&name).path().map_err(cannot_open)?,
    };
    let slow = |step: &'static str| ProbeError {
        step,
        trouble: Trouble::Slow,
        reason: "no answer in time".to_owned(),
    };
    let steps = tokio::time::timeout(limit.saturating_sub(REMOVAL), steps(&*bucket.store, &key));
    let done = steps.await.unwrap_or_else(|_| Err(slow("write, read and list")));
    let removed = match tokio::time::timeout(REMOVAL, bucket.store.delete(&key)).await {
        Err(_) => Err(slow("delete")),
        Ok(Err(error)) => Err(ProbeError::new("delete", &error)),
        Ok(Ok(())) => Ok(()),
    };
    done.and(removed)
}

async fn steps(store: &dyn ObjectStore, key: &Path) -> Result<(), ProbeError> {
    store
        .put(key, PutPayload::from_static(CONTENT))
        .await
        .map_err(|error| ProbeError::new("write", &error))?;
    let read = async { store.get(key).await?.bytes().await };
    let read = read.await.map_err(|error| ProbeError::new("read", &error))?;
    let other = |step: &'static str, reason: &str| ProbeError {
        step,
        trouble: Trouble::Other,
        reason: reason.to_owned(),
    };
    if read != CONTENT {
        return Err(other("read", "what was read is not what was written"));
    }
    let parts: Vec<_> = key.parts().collect();
    let folder: Path = parts
        .iter()
        .take(parts.len().saturating_sub(1))
        .cloned()
        .collect();
    let listed: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|error| ProbeError::new("list", &error))?;
    if !listed.iter().any(|object| object.location == *key) {
        return Err(other("list", "what was written is not listed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ObjectSettings;

    #[tokio::test]
    async fn a_folder_is_as_it_was_after_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let location: Location = folder.path().to_string_lossy().parse().unwrap();
        let stores = Stores::new(ObjectSettings::default());
        round_trip(&stores, &location, Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn nobody_at_the_endpoint_is_unreachable() {
        let settings = ObjectSettings {
            s3_endpoint: Some("http://127.0.0.1:9".to_owned()),
            object_retries: 0,
            ..ObjectSettings::default()
        };
        let stores = Stores::new(settings);
        let mut access = stores
            .open(&"s3://b/p".parse().unwrap(), &Access::default())
            .unwrap();
        access.cloud = None;
        let error = steps(&*access.store, &Path::from("p/doctor/x"))
            .await
            .unwrap_err();
        assert_eq!(error.step, "write");
        assert!(
            matches!(error.trouble, Trouble::Unreachable | Trouble::Credentials),
            "{error}"
        );
    }
}
