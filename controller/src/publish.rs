//! Publishes what an ingestion wrote, in one transaction.

use std::collections::BTreeMap;

use sarsen_kernel::fault::Fault;
use sarsen_kernel::query::{ColumnDescriptor, IngestTarget, SegmentGranularity};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::{Network, retry};
use sarsen_proto::v1;
use sarsen_storage::segment::{DataSegment, Interval, ShardSpec};

/// What a publish needs to know of its query.
#[derive(Debug)]
pub struct Publication<'a> {
    pub task_id: &'a str,
    pub epoch: u64,
    pub target: &'a IngestTarget,
    /// Stored columns.
    pub columns: &'a [ColumnDescriptor],
    pub segments: Vec<v1::SegmentOutput>,
    pub fail_on_empty: bool,
}

/// Attempts to reach the Overlord; the publish itself happens once whatever is repeated.
const ATTEMPTS: u32 = 8;

/// Publishes and answers how many segments there are.
///
/// # Errors
/// A fault of Druid's: `InsertCannotBeEmpty`, `InsertTimeOutOfBounds`, `InsertCannotAllocateSegment`.
pub async fn publish(
    publication: Publication<'_>,
    network: &Network,
    overlord_address: &str,
) -> Result<u64, Fault> {
    let target = publication.target;
    if publication.segments.is_empty() && publication.fail_on_empty {
        return Err(Fault::InsertCannotBeEmpty { data_source: target.datasource.clone() });
    }
    let mut chunks: BTreeMap<(i64, i64), Vec<v1::SegmentOutput>> = BTreeMap::new();
    for segment in publication.segments {
        let interval = segment.interval.unwrap_or_default();
        chunks.entry((interval.start_ms, interval.end_ms)).or_default().push(segment);
    }
    for chunk in chunks.keys() {
        check_bounds(*chunk, target)?;
    }
    let request = v1::AllocateSegmentsRequest {
        task_id: publication.task_id.to_owned(),
        epoch: publication.epoch,
        chunks: chunks
            .iter()
            .map(|((start_ms, end_ms), segments)| v1::ChunkRequest {
                interval: Some(v1::Interval { start_ms: *start_ms, end_ms: *end_ms }),
                segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            })
            .collect(),
    };
    let client = overlord(network, overlord_address).map_err(|error| unknown(&error))?;
    let allocated = retry(ATTEMPTS, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.allocate_segments(request).await?.into_inner()) }
    })
    .await
    .map_err(|status| unknown(&status.message()))?;

    let mut records = Vec::new();
    for (((start_ms, end_ms), segments), allocation) in chunks.into_iter().zip(allocated.chunks) {
        let asked = Interval { start_ms, end_ms };
        let given = allocation.interval.unwrap_or_default();
        let interval = Interval { start_ms: given.start_ms, end_ms: given.end_ms };
        if interval != asked {
            return Err(Fault::InsertCannotAllocateSegment {
                data_source: target.datasource.clone(),
                interval: asked.to_string(),
                allocated_interval: Some(interval.to_string()),
            });
        }
        for (segment, offset) in segments.into_iter().zip(0..) {
            let partition = allocation.first_partition + offset;
            records.push(record(&publication.columns, target, interval, &allocation.version, partition, segment)?);
        }
    }
    let published = u64::try_from(records.len()).unwrap_or(u64::MAX);
    let request = v1::PublishRequest {
        task_id: publication.task_id.to_owned(),
        epoch: publication.epoch,
        segments: records,
    };
    retry(ATTEMPTS, || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { Ok(client.publish(request).await?.into_inner()) }
    })
    .await
    .map_err(|status| unknown(&status.message()))?;
    Ok(published)
}

fn check_bounds((start_ms, end_ms): (i64, i64), target: &IngestTarget) -> Result<(), Fault> {
    let Some(bounds) = &target.replace_intervals else { return Ok(()) };
    if bounds.iter().any(|(start, end)| *start <= start_ms && end_ms <= *end) {
        return Ok(());
    }
    Err(Fault::InsertTimeOutOfBounds {
        interval: Interval { start_ms, end_ms }.to_string(),
        interval_bounds: bounds
            .iter()
            .map(|(start_ms, end_ms)| Interval { start_ms: *start_ms, end_ms: *end_ms }.to_string())
            .collect(),
    })
}

fn record(
    columns: &[ColumnDescriptor],
    target: &IngestTarget,
    interval: Interval,
    version: &str,
    partition: u32,
    segment: v1::SegmentOutput,
) -> Result<v1::SegmentRecord, Fault> {
    let dimensions: Vec<String> =
        columns.iter().map(|column| column.name.clone()).filter(|name| name != "__time").collect();
    let payload = DataSegment::parquet(
        &target.datasource,
        interval,
        version,
        &segment.path,
        dimensions,
        ShardSpec::Numbered { partition_num: partition, partitions: 0 },
        segment.bytes,
        segment.rows,
    );
    Ok(v1::SegmentRecord {
        id: payload.identifier(),
        interval: Some(v1::Interval { start_ms: interval.start_ms, end_ms: interval.end_ms }),
        version: version.to_owned(),
        payload_json: serde_json::to_string(&payload).map_err(|error| unknown(&error))?,
        rows: segment.rows,
        columns: columns
            .iter()
            .map(|column| v1::Column { name: column.name.clone(), native_type: column.native_type.clone() })
            .collect(),
    })
}

/// How a granularity is called in faults.
pub fn granularity_name(granularity: &SegmentGranularity) -> &str {
    match granularity {
        SegmentGranularity::All => "ALL",
        SegmentGranularity::Period(period) => period,
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Fault {
    Fault::UnknownError { message: error.to_string() }
}
