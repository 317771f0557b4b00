//! Removes segment files that were never published.

use std::collections::HashSet;

use sarsen_proto::membership::overlord;
use sarsen_proto::v1;
use sarsen_storage::segment::DataSegment;

use crate::task::TaskEnvironment;

/// Segment files that a query's workers told of, and whether some may have written without telling.
#[derive(Debug, Default)]
pub struct Leftovers {
    pub told: Vec<v1::SegmentOutput>,
    pub published: HashSet<String>,
    /// A worker or an earlier controller died: there may be files that nobody told of.
    pub may_hide: bool,
}

impl Leftovers {
    /// Deletes what was not published. What cannot be deleted is logged: nothing refers to it.
    pub async fn remove(&self, environment: &TaskEnvironment, datasource: &str, query_id: &str) {
        let deep_storage = &environment.deep_storage;
        for segment in self
            .told
            .iter()
            .filter(|segment| !self.published.contains(&segment.path))
        {
            if let Err(error) = deep_storage.delete(&segment.path).await {
                tracing::warn!(path = segment.path, %error, "an unpublished segment stays behind");
            }
        }
        if !self.may_hide {
            if let Err(error) = deep_storage.abort_begun(datasource, query_id).await {
                tracing::warn!(%error, "uploads may stay behind");
            }
            return;
        }
        // What the metadata store names is published, by whichever controller of the task.
        match published_paths(environment, datasource).await {
            Ok(published) => {
                if let Err(error) = deep_storage
                    .delete_unpublished(datasource, query_id, &published)
                    .await
                {
                    tracing::warn!(%error, "files of lost workers may stay behind");
                }
            }
            Err(error) => tracing::warn!(error, "files of lost workers may stay behind"),
        }
    }
}

async fn published_paths(environment: &TaskEnvironment, datasource: &str) -> Result<HashSet<String>, String> {
    let mut client =
        overlord(&environment.network, &environment.overlord).map_err(|error| error.to_string())?;
    let request = v1::SegmentsRequest {
        datasource: datasource.to_owned(),
        intervals: Vec::new(),
        task_id: String::new(),
    };
    let segments = client
        .list_segments(request)
        .await
        .map_err(|status| status.to_string())?
        .into_inner();
    segments
        .payload_json
        .iter()
        .map(|payload| {
            let segment: DataSegment = serde_json::from_str(payload).map_err(|error| error.to_string())?;
            Ok(segment.path().unwrap_or_default().to_owned())
        })
        .collect()
}
