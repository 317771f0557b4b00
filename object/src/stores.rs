//! Opened buckets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use tokio::runtime::Handle;

use crate::connector::Connector;
use crate::uploads::UploadLister;
use crate::{Access, Location, ObjectError, ObjectSettings, StoreKind, azure, google, s3};

/// A bucket that can be used: a store of its keys.
#[derive(Clone)]
pub struct Bucket {
    pub store: Arc<dyn ObjectStore>,
    /// `None` for a local folder.
    pub cloud: Option<Cloud>,
}

/// What only the clouds' stores can.
#[derive(Clone)]
pub struct Cloud {
    /// Uploads that one process begins and another completes.
    pub multipart: Arc<dyn MultipartStore>,
    /// Listings by any prefix, page by page.
    pub pages: Arc<dyn PaginatedListStore>,
    /// Uploads that were begun; `None` where a store does not tell, or ends them by itself.
    pub uploads: Option<Arc<UploadLister>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.store)
    }
}

/// Opens buckets, each once.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    settings: ObjectSettings,
    /// Requests run here, so that busy threads of the caller do not hold them up.
    runtime: Option<Handle>,
    opened: Mutex<HashMap<Key, Bucket>>,
}

/// Kind, account, bucket, what was set for it, and whether a client was given.
type Key = (StoreKind, Option<String>, String, Access, bool);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Stores {
    /// Requests will run on the runtime that calls this, if there is one.
    pub fn new(settings: ObjectSettings) -> Self {
        Stores {
            inner: Arc::new(Inner {
                settings,
                runtime: Handle::try_current().ok(),
                opened: Mutex::default(),
            }),
        }
    }

    /// The bucket of a location; its key does not matter, but for a local folder, which it names and which is made when
    /// it is missing.
    ///
    /// # Errors
    /// When settings or credentials are incomplete. Nothing is asked of the store yet.
    pub fn open(&self, location: &Location, access: &Access) -> Result<Bucket, ObjectError> {
        self.opened(location, access, None)
    }

    /// As [`Stores::open`], with requests sent by this client: one that goes only where it may.
    ///
    /// # Errors
    /// As [`Stores::open`].
    pub fn open_with(
        &self,
        location: &Location,
        access: &Access,
        client: reqwest::Client,
    ) -> Result<Bucket, ObjectError> {
        self.opened(location, access, Some(client))
    }

    fn opened(
        &self,
        location: &Location,
        access: &Access,
        client: Option<reqwest::Client>,
    ) -> Result<Bucket, ObjectError> {
        if location.kind == StoreKind::Local {
            return open_folder(&location.key);
        }
        let key = (
            location.kind,
            location.account.clone(),
            location.bucket.clone(),
            access.clone(),
            client.is_some(),
        );
        let mut opened = self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = opened.get(&key) {
            return Ok(bucket.clone());
        }
        let context = Opening {
            location,
            access,
            settings: &self.inner.settings,
            runtime: self.inner.runtime.clone(),
            client,
        };
        let bucket = match location.kind {
            StoreKind::S3 => s3::open(&context),
            StoreKind::Google => google::open(&context),
            StoreKind::Azure | StoreKind::Local => azure::open(&context),
        };
        let bucket = bucket.map_err(|reason| ObjectError::Open {
            place: location.to_string(),
            reason,
        })?;
        opened.insert(key, bucket.clone());
        Ok(bucket)
    }
}

/// What a bucket is opened with.
pub(crate) struct Opening<'a> {
    pub location: &'a Location,
    pub access: &'a Access,
    pub settings: &'a ObjectSettings,
    runtime: Option<Handle>,
    client: Option<reqwest::Client>,
}

impl Opening<'_> {
    /// How its requests are sent.
    pub fn connector(&self) -> Connector {
        Connector {
            runtime: self.runtime.clone(),
            client: self.client.clone(),
        }
    }
}

fn open_folder(path: &str) -> Result<Bucket, ObjectError> {
    let failed = |reason: String| ObjectError::Open {
        place: path.to_owned(),
        reason,
    };
    std::fs::create_dir_all(path).map_err(|error| failed(error.to_string()))?;
    let folder = std::path::Path::new(path)
        .canonicalize()
        .map_err(|error| failed(error.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(error.to_string()))?;
    Ok(Bucket {
        store: Arc::new(store.with_automatic_cleanup(true)),
        cloud: None,
    })
}
