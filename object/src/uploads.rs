//! Multipart uploads that were begun and not ended: what killed processes leave behind, and cost money for.

use std::sync::Arc;

use object_store::Result;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpClient;
use object_store::path::Path;

use crate::credentials::send;
use crate::stores::Bucket;

/// Asks S3 for a bucket's uploads.
#[derive(Debug)]
pub struct UploadLister {
    bucket_url: String,
    region: String,
    credentials: AwsCredentialProvider,
    client: HttpClient,
    retries: usize,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunUpload {
    pub key: String,
    pub id: String,
}

impl UploadLister {
    pub(crate) fn new(
        bucket_url: String,
        region: String,
        credentials: AwsCredentialProvider,
        client: HttpClient,
        retries: usize,
    ) -> Self {
        UploadLister {
            bucket_url,
            region,
            credentials,
            client,
            retries,
        }
    }

    /// Uploads of keys that begin with `prefix`.
    ///
    /// # Errors
    /// When the store refuses to tell.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BegunUpload>> {
        let mut found = Vec::new();
        let mut markers: Option<(String, String)> = None;
        loop {
            let page = self.page(prefix, markers.as_ref()).await?;
            let uploads = xml_elements(&page, "Upload").filter_map(|upload| {
                Some(BegunUpload {
                    key: xml_text(upload, "Key")?,
                    id: xml_text(upload, "UploadId")?,
                })
            });
            found.extend(uploads);
            let more = xml_text(&page, "IsTruncated").is_some_and(|text| text == "true");
            let next = (
                xml_text(&page, "NextKeyMarker").unwrap_or_default(),
                xml_text(&page, "NextUploadIdMarker").unwrap_or_default(),
            );
            if !more || next.0.is_empty() || Some(&next) == markers.as_ref() {
                return Ok(found);
            }
            markers = Some(next);
        }
    }

    async fn page(&self, prefix: &str, markers: Option<&(String, String)>) -> Result<String> {
        let mut url = url::Url::parse(&self.bucket_url).map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("uploads", "").append_pair("prefix", prefix);
            if let Some((key, id)) = markers {
                query
                    .append_pair("key-marker", key)
                    .append_pair("upload-id-marker", id);
            }
        }
        let credential = self.credentials.get_credential().await?;
        let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region);
        send(
            &self.client,
            http::Method::GET,
            url.as_str(),
            &authorizer,
            self.retries,
        )
        .await
    }
}

impl Bucket {
    /// Ends every upload below `prefix` that `is_abandoned` names; answers how many there were.
    ///
    /// # Errors
    /// When the store refuses to tell of them or to end one.
    pub async fn abort_uploads(&self, prefix: &str, is_abandoned: impl Fn(&str) -> bool) -> Result<usize> {
        let Some(cloud) = &self.cloud else { return Ok(0) };
        let Some(lister) = cloud.uploads.as_ref().map(Arc::clone) else {
            return Ok(0);
        };
        let mut aborted = 0;
        for upload in lister.list(prefix).await? {
            if !is_abandoned(&upload.key) {
                continue;
            }
            let path = Path::parse(&upload.key)?;
            match cloud.multipart.abort_multipart(&path, &upload.id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => aborted += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(aborted)
    }
}

/// The text of the first element of that name.
pub(crate) fn xml_text(xml: &str, name: &str) -> Option<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open)? + open.len();
    let rest = xml.get(start..)?;
    let text = rest.get(..rest.find(&close)?)?;
    Some(
        text.trim()
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&#39;", "'")
            .replace("&amp;", "&"),
    )
}

/// The insides of all elements of that name.
fn xml_elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let after = rest.get(start..)?;
        let end = after.find(&close)?;
        rest = after.get(end + close.len()..)?;
        after.get(..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_with_their_texts() {
        let xml = "<R><Upload><Key>a&amp;b</Key><UploadId>1</UploadId></Upload><Upload>\n<Key> c </Key></Upload></R>";
        let keys: Vec<_> = xml_elements(xml, "Upload")
            .filter_map(|upload| xml_text(upload, "Key"))
            .collect();
        assert_eq!(keys, ["a&b", "c"]);
        assert_eq!(xml_text(xml, "UploadId").as_deref(), Some("1"));
        assert_eq!(xml_text(xml, "Nothing"), None);
    }
}
