//! Tables: what there is, and what ingestions add to them.

use std::sync::Arc;

use sarsen_proto::v1;

use crate::error::RequestError;
use crate::ids::TaskId;
use crate::locks::{is_concurrent_replace, replaced};
use crate::metadata::{AllocationMode, Publication, Published, StoreError};
use crate::overlord::Overlord;
use crate::time::{Interval, now_ms};

/// An ingestion, as far as a publish needs it.
struct Ingestion {
    spec: Arc<v1::TaskSpec>,
    locked_ms: i64,
}

fn reply(published: Published) -> v1::PublishReply {
    v1::PublishReply {
        metadata_version: published.metadata_version,
        repeated: published.repeated,
    }
}

impl Overlord {
    fn ingestion(&self, task: &TaskId, epoch: u64) -> Result<Ingestion, RequestError> {
        let mut state = self.state();
        let entry = Overlord::fence(&mut state, task, epoch)?;
        let kind = entry.spec.kind();
        match (kind, entry.locked_ms) {
            (v1::StatementKind::Insert | v1::StatementKind::Replace, Some(locked_ms)) => Ok(Ingestion {
                spec: Arc::clone(&entry.spec),
                locked_ms,
            }),
            _ if entry.preempted => Err(RequestError::LockPreempted),
            (v1::StatementKind::Insert | v1::StatementKind::Replace, None) => Err(RequestError::Conflict(
                format!("task [{task}] does not hold its locks"),
            )),
            _ => Err(RequestError::Invalid(format!(
                "task [{task}] is no ingestion and publishes nothing"
            ))),
        }
    }

    /// From here on the task keeps its locks.
    fn begin_publish(&self, task: &TaskId, epoch: u64) -> Result<Arc<v1::TaskSpec>, RequestError> {
        let ingestion = self.ingestion(task, epoch)?;
        if self.state().begin_publish(task) {
            Ok(ingestion.spec)
        } else {
            Err(RequestError::LockPreempted)
        }
    }

    pub(crate) async fn allocate(
        self: Arc<Self>,
        request: v1::AllocateSegmentsRequest,
    ) -> Result<v1::AllocateSegmentsReply, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let ingestion = self.ingestion(&id, request.epoch)?;
        let mode = match ingestion.spec.kind() {
            v1::StatementKind::Replace => AllocationMode::Replace {
                locked_ms: ingestion.locked_ms,
            },
            _ => AllocationMode::Append,
        };
        let mut chunks = Vec::with_capacity(request.chunks.len());
        for chunk in &request.chunks {
            let Some(interval) = &chunk.interval else {
                return Err(RequestError::Invalid(
                    "a chunk to allocate has an interval".to_owned(),
                ));
            };
            chunks.push((Interval::from(interval), chunk.segments));
        }
        let chunks = self
            .store
            .allocate(&id, &ingestion.spec.datasource, mode, &chunks)
            .await?;
        Ok(v1::AllocateSegmentsReply { chunks })
    }

    pub(crate) async fn publish(
        self: Arc<Self>,
        request: v1::PublishRequest,
    ) -> Result<v1::PublishReply, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let spec = match self.begin_publish(&id, request.epoch) {
            // It may have published before it lost its locks.
            Err(RequestError::LockPreempted) => {
                return match self.store.published(&id).await? {
                    Some(published) => Ok(reply(published)),
                    None => Err(RequestError::LockPreempted),
                };
            }
            begun => begun?,
        };
        let segments = request.segments.len();
        let rows: u64 = request.segments.iter().map(|segment| segment.rows).sum();
        let published = self.store.publish(Publication {
            task_id: &id,
            epoch: (!spec.synchronous).then_some(request.epoch),
            datasource: &spec.datasource,
            replaced: (spec.kind() == v1::StatementKind::Replace).then(|| replaced(&spec)),
            segments: request.segments,
        });
        let published = published.await.inspect_err(|error| {
            // Of any other failure nobody knows whether the store has committed.
            if matches!(error, StoreError::Conflict(_) | StoreError::Superseded(_)) {
                self.state().end_publish(&id, now_ms());
            }
        });
        // Somebody of higher priority may have waited for the end of a publish that was refused.
        self.dispatch();
        let published = published?;
        let (version, repeated) = (published.metadata_version, published.repeated);
        tracing::info!(task = %id, datasource = spec.datasource, segments, version, repeated, "published");
        if !repeated {
            let datasource = spec.datasource.clone();
            metrics::counter!("druid_ingest_rows_published", "dataSource" => datasource.clone())
                .increment(rows);
            metrics::counter!("druid_ingest_segments_count", "dataSource" => datasource)
                .increment(u64::try_from(segments).unwrap_or(u64::MAX));
            self.audit.task(
                "publish",
                &spec,
                None,
                &format!("{segments} segments, version {version}"),
            );
        }
        Ok(reply(published))
    }

    pub(crate) async fn put_checkpoint(
        self: Arc<Self>,
        request: v1::Checkpoint,
    ) -> Result<v1::Empty, RequestError> {
        let id = TaskId::from(request.task_id.as_str());
        let synchronous = Overlord::fence(&mut self.state(), &id, request.epoch)?
            .spec
            .synchronous;
        // A synchronous task does not outlive this process.
        if !synchronous {
            self.store
                .put_checkpoint(&id, request.epoch, &request.state)
                .await?;
        }
        Ok(v1::Empty {})
    }

    pub(crate) async fn get_catalog(&self, request: v1::CatalogRequest) -> Result<v1::Catalog, RequestError> {
        Ok(self.store.catalog(&request.datasources).await?)
    }

    pub(crate) async fn list_segments(
        &self,
        request: v1::SegmentsRequest,
    ) -> Result<v1::SegmentList, RequestError> {
        let intervals: Vec<Interval> = request.intervals.iter().map(Interval::from).collect();
        let id = TaskId::from(request.task_id.as_str());
        let spec = self.state().tasks.get(&id).map(|entry| Arc::clone(&entry.spec));
        let overwritten = spec
            .filter(|spec| is_concurrent_replace(spec) && spec.datasource == request.datasource)
            .map(|spec| replaced(&spec));
        let reader = overwritten.as_ref().map(|intervals| (&id, intervals.as_slice()));
        let payload_json = self
            .store
            .segment_payloads_for(&request.datasource, &intervals, reader)
            .await?;
        Ok(v1::SegmentList { payload_json })
    }
}
