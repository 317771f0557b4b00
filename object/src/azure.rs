//! Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use crate::error::chain;
use crate::stores::{Bucket, Cloud, Opening};

/// Credentials come from the source, from `AZURE_…` variables, or from the managed identity.
pub(crate) fn open(opening: &Opening<'_>) -> Result<Bucket, String> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&opening.location.bucket)
        .with_client_options(opening.settings.client())
        .with_retry(opening.settings.retry());
    let account = opening
        .location
        .account
        .as_ref()
        .or(opening.settings.azure_account.as_ref());
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    let endpoint = opening
        .access
        .endpoint
        .as_ref()
        .or(opening.settings.azure_endpoint.as_ref());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let azure = &opening.access.azure;
    let given = [
        (AzureConfigKey::AccessKey, &azure.key),
        (AzureConfigKey::SasKey, &azure.sas_token),
        (AzureConfigKey::ClientId, &azure.client_id),
        (AzureConfigKey::ClientSecret, &azure.client_secret),
        (AzureConfigKey::AuthorityId, &azure.tenant_id),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            builder = builder.with_config(key, value.trim_start_matches('?'));
        }
    }
    builder = builder.with_http_connector(opening.connector());
    let store = Arc::new(builder.build().map_err(|error| chain(&error))?);
    Ok(Bucket {
        store: Arc::clone(&store) as _,
        cloud: Some(Cloud {
            multipart: Arc::clone(&store) as _,
            pages: store,
            // Blocks that were never committed end by themselves after a week.
            uploads: None,
        }),
    })
}
