//! Listings that are never held: page by page, each asked for again when it fails.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, Result};

use crate::settings::pause;
use crate::stores::Bucket;

/// Further tries of a page whose answer broke off half way, which `object_store` does not repeat itself.
const PAGE_RETRIES: usize = 6;

impl Bucket {
    /// All objects whose keys begin with `prefix`, which need not end at a slash. A page of a thousand is in memory at a
    /// time; keys come in the order of the store.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        match &self.cloud {
            Some(cloud) => pages(Arc::clone(&cloud.pages), prefix.to_owned()),
            None => folder(Arc::clone(&self.store), prefix),
        }
    }
}

/// The objects of a store that lists in pages.
pub fn pages(store: Arc<dyn PaginatedListStore>, prefix: String) -> BoxStream<'static, Result<ObjectMeta>> {
    let first = Some(None);
    let pages = futures::stream::try_unfold((store, first), move |(store, token)| {
        let prefix = prefix.clone();
        async move {
            let Some(token) = token else {
                return Ok::<_, Error>(None);
            };
            let page = page(store.as_ref(), &prefix, token).await?;
            let next = page.page_token.map(Some);
            let objects = futures::stream::iter(page.result.objects.into_iter().map(Ok));
            Ok(Some((objects, (store, next))))
        }
    });
    futures::TryStreamExt::try_flatten(pages).boxed()
}

async fn page(
    store: &dyn PaginatedListStore,
    prefix: &str,
    token: Option<String>,
) -> Result<object_store::list::PaginatedListResult> {
    let mut attempt = 0;
    loop {
        let options = PaginatedListOptions {
            page_token: token.clone(),
            ..PaginatedListOptions::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        match store.list_paginated(prefix, options).await {
            Err(Error::Generic { store, source }) if attempt < PAGE_RETRIES => {
                attempt += 1;
                tracing::debug!(store, %source, "a page of a listing is asked for again");
                tokio::time::sleep(pause(attempt)).await;
            }
            answered => return answered,
        }
    }
}

/// A local folder lists by whole names of folders only.
fn folder(store: Arc<dyn ObjectStore>, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
    let above = prefix.rsplit_once('/').map_or("", |(above, _)| above);
    let begins_with = prefix.to_owned();
    let above = match Path::parse(above) {
        Ok(above) => above,
        Err(error) => return futures::stream::once(async move { Err(error.into()) }).boxed(),
    };
    let found = store.list(Some(&above));
    let wanted = move |object: &Result<ObjectMeta>| match object {
        Ok(object) => object.location.as_ref().starts_with(&begins_with),
        Err(_) => true,
    };
    found
        .filter(move |object| futures::future::ready(wanted(object)))
        .boxed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures::TryStreamExt;
    use object_store::ListResult;
    use object_store::list::PaginatedListResult;

    use super::*;

    const PAGE: usize = 1_000;

    /// So many objects, made up page by page; one page in ninety-seven fails the first time.
    #[derive(Default)]
    struct Many {
        count: usize,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl PaginatedListStore for Many {
        async fn list_paginated(
            &self,
            prefix: Option<&str>,
            options: PaginatedListOptions,
        ) -> Result<PaginatedListResult> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if asked.is_multiple_of(97) {
                return Err(Error::Generic {
                    store: "many",
                    source: "the answer broke off".into(),
                });
            }
            let first: usize = options.page_token.map_or(0, |token| token.parse().unwrap());
            let end = self.count.min(first + PAGE);
            let objects = (first..end).map(|number| ObjectMeta {
                location: Path::parse(format!("{}part-{number:07}", prefix.unwrap_or_default())).unwrap(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: 1,
                e_tag: None,
                version: None,
            });
            Ok(PaginatedListResult {
                result: ListResult {
                    common_prefixes: Vec::new(),
                    objects: objects.collect(),
                },
                page_token: (end < self.count).then(|| end.to_string()),
            })
        }
    }

    #[tokio::test]
    async fn a_million_objects_are_asked_for_a_page_at_a_time() {
        let store = Arc::new(Many {
            count: 1_000_000,
            ..Many::default()
        });
        let mut listed = pages(Arc::clone(&store) as Arc<dyn PaginatedListStore>, "p/".to_owned());
        let mut count = 0_usize;
        while let Some(object) = listed.try_next().await.unwrap() {
            assert_eq!(object.location.as_ref(), format!("p/part-{count:07}"));
            count += 1;
            // No page is asked for before the one before it was read, but for repetitions.
            let needed = count.div_ceil(PAGE);
            let asked = store.asked.load(Ordering::SeqCst);
            assert!(
                asked <= needed + needed / 90 + 2,
                "{asked} pages asked for, {needed} needed"
            );
        }
        assert_eq!(count, 1_000_000);
    }
}
