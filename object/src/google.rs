//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;

use crate::error::chain;
use crate::stores::{Bucket, Cloud, Opening};

/// Credentials come from `GOOGLE_…` variables, the application default credentials, or instance metadata.
pub(crate) fn open(opening: &Opening<'_>) -> Result<Bucket, String> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&opening.location.bucket)
        .with_client_options(opening.settings.client())
        .with_retry(opening.settings.retry());
    let endpoint = opening
        .access
        .endpoint
        .as_ref()
        .or(opening.settings.google_endpoint.as_ref());
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    builder = builder.with_http_connector(opening.connector());
    let store = Arc::new(builder.build().map_err(|error| chain(&error))?);
    Ok(Bucket {
        store: Arc::clone(&store) as _,
        cloud: Some(Cloud {
            multipart: Arc::clone(&store) as _,
            pages: store,
            uploads: None,
        }),
    })
}
