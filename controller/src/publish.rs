//! Publishes what an ingestion wrote, in one transaction.

use std::collections::BTreeMap;

use sarsen_kernel::fault::Fault;
use sarsen_kernel::query::{ColumnDescriptor, IngestTarget, SegmentGranularity, period_name};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, VersionedChannel, retry};
use sarsen_proto::v1;
use sarsen_proto::v1::overlord_client::OverlordClient;
use sarsen_storage::segment::{DataSegment, DeepStorage, Interval, ShardSpec};

use crate::sharding::Sharding;
use crate::task::OVERLORD_ATTEMPTS;

/// What a publish needs to know of its query.
#[derive(Debug)]
pub struct Publication<'a> {
    pub task_id: &'a str,
    pub epoch: u64,
    pub target: &'a IngestTarget,
    /// Stored columns.
    pub columns: &'a [ColumnDescriptor],
    pub segments: Vec<v1::SegmentOutput>,
    pub sharding: Sharding,
    pub deep_storage: &'a DeepStorage,
    pub fail_on_empty: bool,
    /// Segments of one time chunk at the most.
    pub max_segments_per_chunk: Option<u64>,
}

/// Allocations of one publish at most: another ingestion may take the same partition numbers first.
const ALLOCATIONS: u32 = 5;

/// A publish that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub segments: u64,
    /// An earlier controller of the task had published already: its files count, ours do not.
    pub repeated: bool,
}

/// Publishes the segments.
///
/// # Errors
/// A fault of Druid's: `InsertCannotBeEmpty`, `InsertTimeOutOfBounds`, `InsertCannotAllocateSegment`,
/// `TooManySegmentsInTimeChunk`.
pub async fn publish(
    publication: Publication<'_>,
    network: &Network,
    overlord_address: &str,
) -> Result<Published, Fault> {
    let target = publication.target;
    if publication.segments.is_empty() && publication.fail_on_empty {
        return Err(Fault::InsertCannotBeEmpty {
            data_source: target.datasource.clone(),
        });
    }
    let mut chunks: Chunks = BTreeMap::new();
    for segment in &publication.segments {
        let interval = segment.interval.unwrap_or_default();
        check_bounds((interval.start_ms, interval.end_ms), target)?;
        chunks
            .entry((interval.start_ms, interval.end_ms))
            .or_default()
            .push(segment.clone());
    }
    for segments in chunks.values_mut() {
        segments.sort_by_key(|segment| segment.partition);
    }
    if let Some(most) = publication.max_segments_per_chunk {
        check_chunks(&chunks, most, target)?;
    }
    let client = overlord(network, overlord_address).map_err(|error| unknown(&error))?;
    let mut allocation = 1;
    loop {
        let segments = allocate(&publication, &chunks, &client).await?;
        let count = u64::try_from(segments.len()).unwrap_or(u64::MAX);
        let request = v1::PublishRequest {
            task_id: publication.task_id.to_owned(),
            epoch: publication.epoch,
            segments,
        };
        let published = retry(OVERLORD_ATTEMPTS, || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { Ok(client.publish(request).await?.into_inner()) }
        });
        match published.await {
            Ok(reply) => {
                return Ok(Published {
                    segments: count,
                    repeated: reply.repeated,
                });
            }
            Err(status) if status.code() == tonic::Code::AlreadyExists && allocation < ALLOCATIONS => {
                allocation += 1
            }
            Err(status) => return Err(refused(&status)),
        }
    }
}

type Chunks = BTreeMap<(i64, i64), Vec<v1::SegmentOutput>>;

/// Asks for versions and partition numbers, and makes the records to publish.
async fn allocate(
    publication: &Publication<'_>,
    chunks: &Chunks,
    client: &OverlordClient<VersionedChannel>,
) -> Result<Vec<v1::SegmentRecord>, Fault> {
    let target = publication.target;
    let request = v1::AllocateSegmentsRequest {
        task_id: publication.task_id.to_owned(),
        epoch: publication.epoch,
        chunks: chunks
            .iter()
            .map(|((start_ms, end_ms), segments)| v1::ChunkRequest {
                interval: Some(v1::Interval {
                    start_ms: *start_ms,
                    end_ms: *end_ms,
                }),
                segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            })
            .collect(),
    };
    let allocated = retry(OVERLORD_ATTEMPTS, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.allocate_segments(request).await?.into_inner()) }
    })
    .await
    .map_err(|status| refused(&status))?;

    let mut records = Vec::new();
    for (((start_ms, end_ms), segments), allocation) in chunks.iter().zip(allocated.chunks) {
        let asked = Interval {
            start_ms: *start_ms,
            end_ms: *end_ms,
        };
        let given = allocation.interval.unwrap_or_default();
        let interval = Interval {
            start_ms: given.start_ms,
            end_ms: given.end_ms,
        };
        if interval != asked {
            return Err(Fault::InsertCannotAllocateSegment {
                data_source: target.datasource.clone(),
                interval: asked.to_string(),
                allocated_interval: Some(interval.to_string()),
            });
        }
        let partitions: Vec<u32> = segments.iter().map(|segment| segment.partition).collect();
        let shards = publication.sharding.specs(
            &partitions,
            allocation.first_partition,
            allocation.core_partitions,
        );
        for (segment, shard) in segments.iter().zip(shards) {
            records.push(record(
                publication,
                interval,
                &allocation.version,
                shard,
                segment,
            )?);
        }
    }
    Ok(records)
}

fn check_chunks(chunks: &Chunks, most: u64, target: &IngestTarget) -> Result<(), Fault> {
    let counted = chunks
        .iter()
        .map(|((start, _), segments)| (*start, u64::try_from(segments.len()).unwrap_or(u64::MAX)));
    match counted.into_iter().find(|(_, segments)| *segments > most) {
        None => Ok(()),
        Some((start_ms, num_segments)) => {
            let chunk = Interval {
                start_ms,
                end_ms: start_ms,
            }
            .to_string();
            Err(Fault::TooManySegmentsInTimeChunk {
                time_chunk: chunk.split('/').next().unwrap_or_default().to_owned(),
                num_segments,
                max_num_segments: most,
                segment_granularity: granularity_name(&target.segment_granularity),
            })
        }
    }
}

fn granularity_name(granularity: &SegmentGranularity) -> String {
    match granularity {
        SegmentGranularity::All => "ALL".to_owned(),
        SegmentGranularity::Period(period) => period_name(period).unwrap_or(period).to_owned(),
    }
}

fn check_bounds((start_ms, end_ms): (i64, i64), target: &IngestTarget) -> Result<(), Fault> {
    let Some(bounds) = &target.replace_intervals else {
        return Ok(());
    };
    if bounds
        .iter()
        .any(|(start, end)| *start <= start_ms && end_ms <= *end)
    {
        return Ok(());
    }
    Err(Fault::InsertTimeOutOfBounds {
        interval: Interval { start_ms, end_ms }.to_string(),
        interval_bounds: bounds
            .iter()
            .map(|(start_ms, end_ms)| {
                Interval {
                    start_ms: *start_ms,
                    end_ms: *end_ms,
                }
                .to_string()
            })
            .collect(),
    })
}

fn record(
    publication: &Publication<'_>,
    interval: Interval,
    version: &str,
    shard_spec: ShardSpec,
    segment: &v1::SegmentOutput,
) -> Result<v1::SegmentRecord, Fault> {
    let (columns, target) = (publication.columns, publication.target);
    let dimensions: Vec<String> = columns
        .iter()
        .map(|column| column.name.clone())
        .filter(|name| name != "__time")
        .collect();
    let payload = DataSegment::parquet(
        &target.datasource,
        interval,
        version,
        publication.deep_storage.load_spec(&segment.path),
        dimensions,
        shard_spec,
        segment.bytes,
        segment.rows,
    );
    Ok(v1::SegmentRecord {
        id: payload.identifier(),
        interval: Some(v1::Interval {
            start_ms: interval.start_ms,
            end_ms: interval.end_ms,
        }),
        version: version.to_owned(),
        payload_json: serde_json::to_string(&payload).map_err(|error| unknown(&error))?,
        rows: segment.rows,
        columns: columns
            .iter()
            .map(|column| v1::Column {
                name: column.name.clone(),
                native_type: column.native_type.clone(),
            })
            .collect(),
    })
}

/// The Overlord's refusal of a call that needs the task's locks.
fn refused(status: &tonic::Status) -> Fault {
    match status.code() {
        tonic::Code::Aborted => Fault::InsertLockPreempted {},
        _ => unknown(&status.message()),
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Fault {
    Fault::UnknownError {
        message: error.to_string(),
    }
}
