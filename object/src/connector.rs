//! How requests are sent: on the process's own runtime, and so that `object_store` repeats what breaks off.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector, SpawnedReqwestConnector,
};
use tokio::runtime::Handle;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub runtime: Option<Handle>,
    /// A client that is used instead of one of our own.
    pub client: Option<reqwest::Client>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = match (&self.client, &self.runtime) {
            (Some(client), _) => HttpClient::new(client.clone()),
            (None, Some(runtime)) => SpawnedReqwestConnector::new(runtime.clone()).connect(options)?,
            (None, None) => ReqwestConnector::default().connect(options)?,
        };
        Ok(HttpClient::new(WholeAnswers(client)))
    }
}

/// Reads answers to their end before they count as answers: one that breaks off is a request that failed, which is
/// repeated. The contents of objects are streams all the same, which `object_store` continues where they broke off.
#[derive(Debug)]
struct WholeAnswers(HttpClient);

#[async_trait]
impl HttpService for WholeAnswers {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let streams = *request.method() == http::Method::GET && !is_listing(request.uri().query());
        let response = self.0.execute(request).await?;
        if streams && response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.bytes().await;
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// Whether a GET is for names rather than for an object: S3 and Google, and Azure.
fn is_listing(query: Option<&str>) -> bool {
    let names = query.into_iter().flat_map(|query| query.split('&'));
    names
        .map(|pair| pair.split('=').next().unwrap_or(pair))
        .any(|name| matches!(name, "list-type" | "uploads" | "comp" | "Action"))
}
