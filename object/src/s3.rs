//! S3 and what speaks like it.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector};

use crate::credentials::{AssumeRole, RoleProvider, shared_profile};
use crate::error::chain;
use crate::stores::{Bucket, Cloud, Opening};
use crate::uploads::UploadLister;

pub(crate) fn open(opening: &Opening<'_>) -> Result<Bucket, String> {
    let endpoint = endpoint(opening);
    let builder = builder(opening, &endpoint);
    let region = endpoint.region.clone();
    let store = builder.clone().build().map_err(|error| chain(&error))?;
    let credentials = Arc::clone(store.credentials());
    let (store, credentials) = match assumed_role(opening, &region) {
        None => (store, credentials),
        Some(role) => {
            let provider: AwsCredentialProvider = Arc::new(RoleProvider::new(
                role,
                credentials,
                client(opening)?,
                opening.settings.object_retries,
            ));
            let store = builder
                .with_credentials(Arc::clone(&provider))
                .build()
                .map_err(|error| chain(&error))?;
            (store, provider)
        }
    };
    let lister = UploadLister::new(
        endpoint.bucket_url,
        region,
        credentials,
        client(opening)?,
        opening.settings.object_retries,
    );
    let store: Arc<AmazonS3> = Arc::new(store);
    Ok(Bucket {
        store: Arc::clone(&store) as _,
        cloud: Some(Cloud {
            multipart: Arc::clone(&store) as _,
            pages: store,
            uploads: Some(Arc::new(lister)),
        }),
    })
}

fn client(opening: &Opening<'_>) -> Result<HttpClient, String> {
    let client = opening.connector().connect(&opening.settings.client());
    client.map_err(|error| chain(&error))
}

fn assumed_role(opening: &Opening<'_>, region: &str) -> Option<AssumeRole> {
    let (arn, external_id) = match &opening.access.assume_role_arn {
        Some(arn) => (arn, &opening.access.assume_role_external_id),
        None => (
            opening.settings.s3_assume_role_arn.as_ref()?,
            &opening.settings.s3_assume_role_external_id,
        ),
    };
    let endpoint = opening.settings.sts_endpoint.clone();
    let endpoint = endpoint.or_else(|| std::env::var("AWS_ENDPOINT_URL_STS").ok());
    Some(AssumeRole {
        arn: arn.clone(),
        external_id: external_id.clone(),
        region: region.to_owned(),
        endpoint: endpoint.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com")),
    })
}

/// Where a bucket is.
struct Endpoint {
    region: String,
    /// Of another server than AWS.
    url: Option<String>,
    path_style: bool,
    bucket_url: String,
}

fn endpoint(opening: &Opening<'_>) -> Endpoint {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let bucket = &opening.location.bucket;
    let region = opening.access.region.clone();
    let region = region
        .or_else(|| opening.settings.s3_region.clone())
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".to_owned());
    let url = opening.access.endpoint.clone();
    let url = url
        .or_else(|| opening.settings.s3_endpoint.clone())
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"))
        .or_else(|| variable("AWS_ENDPOINT"))
        .map(|url| url.trim_end_matches('/').to_owned());
    // A certificate for *.s3.amazonaws.com does not hold for a bucket with dots in its name.
    let path_style = opening
        .access
        .path_style
        .or(opening.settings.s3_path_style)
        .unwrap_or(url.is_some() || bucket.contains('.'));
    let bucket_url = match (&url, path_style) {
        (Some(url), true) => format!("{url}/{bucket}"),
        (Some(url), false) => match url.split_once("://") {
            Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
            None => format!("https://{bucket}.{url}"),
        },
        (None, true) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        (None, false) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    };
    Endpoint {
        region,
        url,
        path_style,
        bucket_url,
    }
}

fn builder(opening: &Opening<'_>, endpoint: &Endpoint) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&opening.location.bucket)
        .with_region(&endpoint.region)
        .with_virtual_hosted_style_request(!endpoint.path_style)
        .with_client_options(opening.settings.client())
        .with_retry(opening.settings.retry());
    // The key that outweighs every other, whatever the environment says.
    match (&endpoint.url, endpoint.path_style) {
        (Some(url), true) => builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, url),
        (Some(_), false) => {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, &endpoint.bucket_url)
        }
        (None, _) => {}
    }
    let keys = match &opening.access.keys {
        Some(keys) => Some(keys.clone()),
        None if needs_profile(&builder) => shared_profile(),
        None => None,
    };
    if let Some(keys) = keys {
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: keys.id,
            secret_key: keys.secret,
            token: keys.token,
        })));
    }
    builder = builder.with_http_connector(opening.connector());
    builder
}

/// Whether the environment names no credentials, so that those of the shared files are next in AWS's order.
fn needs_profile(builder: &AmazonS3Builder) -> bool {
    let keys = [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
    ];
    keys.iter().all(|key| builder.get_config_value(key).is_none())
}
