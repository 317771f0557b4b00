//! Credentials of AWS that `object_store` does not know: the shared files and assumed roles.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::{CredentialProvider, Error, Result};
use tokio::sync::Mutex;

use crate::access::Keys;
use crate::settings::pause;
use crate::uploads::xml_text;

/// Keys of the profile that AWS_PROFILE names, or of the default one, in `~/.aws/credentials` and `~/.aws/config`.
pub fn shared_profile() -> Option<Keys> {
    let profile = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let place = |variable: &str, name: &str| match std::env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None => home.as_ref().map(|home| home.join(".aws").join(name)),
    };
    let read = |path: Option<PathBuf>| path.and_then(|path: PathBuf| read_file(&path));
    let of_credentials =
        read(place("AWS_SHARED_CREDENTIALS_FILE", "credentials")).and_then(|text| keys_of(&text, &profile));
    of_credentials.or_else(|| {
        let text = read(place("AWS_CONFIG_FILE", "config"))?;
        // In the configuration file all profiles but the default one have a word before their names.
        keys_of(&text, &format!("profile {profile}")).or_else(|| keys_of(&text, &profile))
    })
}

fn read_file(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Keys of one section of an INI file.
fn keys_of(text: &str, section: &str) -> Option<Keys> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == section;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let value = Some(value.trim().to_owned());
        match key.trim() {
            "aws_access_key_id" => id = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(Keys {
        id: id?,
        secret: secret?,
        token,
    })
}

/// A role to assume.
#[derive(Debug, Clone)]
pub struct AssumeRole {
    pub arn: String,
    pub external_id: Option<String>,
    pub region: String,
    /// Of the token service.
    pub endpoint: String,
}

/// Credentials of an assumed role, which are asked for anew before they end.
#[derive(Debug)]
pub struct RoleProvider {
    role: AssumeRole,
    base: AwsCredentialProvider,
    client: HttpClient,
    retries: usize,
    known: Mutex<Option<(Arc<AwsCredential>, DateTime<Utc>)>>,
}

/// Credentials that end sooner are not used any more.
const LEAST_LIFE: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// Name of the session in AWS's logs.
const SESSION: &str = "sarsen";

impl RoleProvider {
    /// `base` signs the request for the role's credentials.
    pub fn new(role: AssumeRole, base: AwsCredentialProvider, client: HttpClient, retries: usize) -> Self {
        RoleProvider {
            role,
            base,
            client,
            retries,
            known: Mutex::default(),
        }
    }

    async fn assume(&self) -> Result<(Arc<AwsCredential>, DateTime<Utc>)> {
        let mut url = url::Url::parse(&self.role.endpoint).map_err(|error| refused(&error.to_string()))?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("Action", "AssumeRole")
                .append_pair("Version", "2011-06-15")
                .append_pair("RoleArn", &self.role.arn)
                .append_pair("RoleSessionName", SESSION);
            if let Some(external_id) = &self.role.external_id {
                query.append_pair("ExternalId", external_id);
            }
        }
        let base = self.base.get_credential().await?;
        let authorizer = AwsAuthorizer::new(&base, "sts", &self.role.region);
        let answer = send(
            &self.client,
            http::Method::GET,
            url.as_str(),
            &authorizer,
            self.retries,
        )
        .await?;
        let field = |name: &str| {
            xml_text(&answer, name)
                .ok_or_else(|| refused(&format!("the answer for role {} has no {name}", self.role.arn)))
        };
        let credential = AwsCredential {
            key_id: field("AccessKeyId")?,
            secret_key: field("SecretAccessKey")?,
            token: Some(field("SessionToken")?),
        };
        let ends = DateTime::parse_from_rfc3339(&field("Expiration")?)
            .map_err(|error| refused(&error.to_string()))?
            .to_utc();
        Ok((Arc::new(credential), ends))
    }
}

#[async_trait]
impl CredentialProvider for RoleProvider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        // The lock is held over the request: all who wait want its answer.
        let mut known = self.known.lock().await;
        if let Some((credential, ends)) = known.as_ref()
            && *ends - Utc::now() > LEAST_LIFE
        {
            return Ok(Arc::clone(credential));
        }
        let (credential, ends) = self.assume().await?;
        *known = Some((Arc::clone(&credential), ends));
        Ok(credential)
    }
}

fn refused(reason: &str) -> Error {
    Error::Generic {
        store: "S3",
        source: reason.into(),
    }
}

/// Sends a signed request without a body until it is answered, and gives back the answer's text.
///
/// # Errors
/// A 4xx at once; a 5xx, 429 or a broken connection after `retries` repetitions.
pub(crate) async fn send(
    client: &HttpClient,
    method: http::Method,
    url: &str,
    authorizer: &AwsAuthorizer<'_>,
    retries: usize,
) -> Result<String> {
    let mut attempt = 0;
    loop {
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(url)
            .body(HttpRequestBody::empty())
            .map_err(|error| refused(&error.to_string()))?;
        authorizer.authorize(&mut request, None);
        let reason = match answer(client, request).await {
            Ok((status, text)) if status.is_success() => return Ok(text),
            Ok((status, text)) => {
                let reason = format!("{status}: {text}");
                if !status.is_server_error() && status != http::StatusCode::TOO_MANY_REQUESTS {
                    return Err(refused(&reason));
                }
                reason
            }
            Err(error) => error.to_string(),
        };
        attempt += 1;
        if attempt > retries {
            return Err(refused(&reason));
        }
        tokio::time::sleep(pause(attempt).max(Duration::from_millis(1))).await;
    }
}

async fn answer(
    client: &HttpClient,
    request: http::Request<HttpRequestBody>,
) -> Result<(http::StatusCode, String), object_store::client::HttpError> {
    let response = client.execute(request).await?;
    let status = response.status();
    let body = response.into_body().bytes().await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_profile_has_its_own_keys() {
        let text = "[default]\naws_access_key_id=a\naws_secret_access_key = b\n\n[ profile x ]\nregion=r\n\
                    aws_access_key_id = c\naws_secret_access_key=d==\naws_session_token=t\n";
        let default = keys_of(text, "default").unwrap();
        assert_eq!((default.id.as_str(), default.secret.as_str()), ("a", "b"));
        assert!(default.token.is_none());
        let other = keys_of(text, "profile x").unwrap();
        assert_eq!(
            (other.secret.as_str(), other.token.as_deref()),
            ("d==", Some("t"))
        );
        assert!(keys_of(text, "y").is_none());
    }
}
