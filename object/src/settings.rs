//! How a process reaches object stores.

use std::time::Duration;

use clap::Args;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// Flags of every role. What they leave open is taken from the environment that the clouds' own tools read (`AWS_…`,
/// `GOOGLE_…`, `AZURE_…`), from AWS's shared files, from web identity tokens and from instance metadata.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ObjectSettings {
    /// Endpoint of S3, http://HOST:PORT for another server than AWS.
    #[arg(long, env = "SARSEN_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// Region of S3 [default: AWS_REGION, then us-east-1].
    #[arg(long, env = "SARSEN_S3_REGION")]
    pub s3_region: Option<String>,
    /// Whether the bucket stands in the path rather than in the host's name [default: true with an --s3-endpoint].
    #[arg(long, env = "SARSEN_S3_PATH_STYLE", num_args = 0..=1, default_missing_value = "true")]
    pub s3_path_style: Option<bool>,
    /// Role that is assumed for everything in S3 that names no other.
    #[arg(long, env = "SARSEN_S3_ASSUME_ROLE_ARN")]
    pub s3_assume_role_arn: Option<String>,
    /// External id for assuming it.
    #[arg(long, env = "SARSEN_S3_ASSUME_ROLE_EXTERNAL_ID")]
    pub s3_assume_role_external_id: Option<String>,
    /// Endpoint of AWS's token service [default: https://sts.REGION.amazonaws.com].
    #[arg(long, env = "SARSEN_STS_ENDPOINT")]
    pub sts_endpoint: Option<String>,
    /// Endpoint of Google Cloud Storage, for another server than Google's.
    #[arg(long, env = "SARSEN_GOOGLE_ENDPOINT")]
    pub google_endpoint: Option<String>,
    /// Storage account of Azure where a URL names none [default: AZURE_STORAGE_ACCOUNT_NAME].
    #[arg(long, env = "SARSEN_AZURE_ACCOUNT")]
    pub azure_account: Option<String>,
    /// Endpoint of Azure Blob Storage, for another server than Azure's.
    #[arg(long, env = "SARSEN_AZURE_ENDPOINT")]
    pub azure_endpoint: Option<String>,
    /// Repetitions of a request to an object store that failed by a 5xx, 429, timeout or broken connection, with growing
    /// pauses.
    #[arg(long, env = "SARSEN_OBJECT_RETRIES", default_value_t = RETRIES)]
    pub object_retries: usize,
    /// Seconds for one request to an object store.
    #[arg(long, env = "SARSEN_OBJECT_TIMEOUT", default_value_t = TIMEOUT_SECONDS)]
    pub object_timeout: u64,
}

const RETRIES: usize = 10;

/// Enough for a part of an upload over a slow line.
const TIMEOUT_SECONDS: u64 = 60;

/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No request is repeated after this time: credentials and their signatures end.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// First and longest pause before a repetition; each is twice the one before, less a random part.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Default for ObjectSettings {
    fn default() -> Self {
        ObjectSettings {
            s3_endpoint: None,
            s3_region: None,
            s3_path_style: None,
            s3_assume_role_arn: None,
            s3_assume_role_external_id: None,
            sts_endpoint: None,
            google_endpoint: None,
            azure_account: None,
            azure_endpoint: None,
            object_retries: RETRIES,
            object_timeout: TIMEOUT_SECONDS,
        }
    }
}

impl ObjectSettings {
    pub(crate) fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: PAUSES.0,
                max_backoff: PAUSES.1,
                base: 2.0,
            },
            max_retries: self.object_retries,
            retry_timeout: RETRY_TIMEOUT,
        }
    }

    pub(crate) fn client(&self) -> ClientOptions {
        // An endpoint says by its scheme whether it is to be spoken to in the clear.
        ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(Duration::from_secs(self.object_timeout.max(1)))
    }
}

/// Pause before repetition `attempt`, counted from 1.
pub fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(10);
    (PAUSES.0 * 2_u32.pow(doublings)).min(PAUSES.1)
}
