//! Versions and partition numbers for the segments of a publish to come.

use sarsen_proto::v1;
use serde::Deserialize;
use sqlx::{AnyConnection, Row};

use super::segments::{Payload, Usage, overlapping};
use super::{Store, StoreError, int, uint};
use crate::ids::TaskId;
use crate::time::{Interval, format_ms, now_ms, parse_ms};

/// What the segments are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllocationMode {
    /// INSERT: beside what is there.
    Append,
    /// REPLACE: above all that is there. When the lock was granted.
    Replace { locked_ms: i64 },
}

/// Something that stands, or will stand, over a time chunk.
struct Standing {
    interval: Interval,
    version: String,
}

impl Store {
    /// Allocates for each chunk, in their order. A repeated call answers the same as long as it asks for no more
    /// segments. Where other data stand over a chunk with another interval, that interval is answered and nothing is
    /// allocated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn allocate(
        &self,
        task: &TaskId,
        datasource: &str,
        mode: AllocationMode,
        chunks: &[(Interval, u32)],
    ) -> Result<Vec<v1::ChunkAllocation>, StoreError> {
        let mut tx = self.begin().await?;
        let mut allocations = Vec::with_capacity(chunks.len());
        for (chunk, segments) in chunks {
            let mut allocation = allocate_chunk(&mut tx, task, datasource, mode, *chunk, *segments).await?;
            if mode == AllocationMode::Append && allocation.interval == Some((*chunk).into()) {
                allocation.core_partitions =
                    core_partitions(&mut tx, datasource, *chunk, &allocation.version).await?;
            }
            allocations.push(allocation);
        }
        tx.commit().await?;
        Ok(allocations)
    }
}

async fn allocate_chunk(
    tx: &mut AnyConnection,
    task: &TaskId,
    datasource: &str,
    mode: AllocationMode,
    chunk: Interval,
    segments: u32,
) -> Result<v1::ChunkAllocation, StoreError> {
    let answer = |interval: Interval, version: String, first_partition: u32| v1::ChunkAllocation {
        interval: Some(interval.into()),
        version,
        first_partition,
        core_partitions: 0,
    };
    let own = "SELECT version, first_partition, partitions FROM allocations \
               WHERE task_id = $1 AND start_ms = $2 AND end_ms = $3";
    let own = sqlx::query(own)
        .bind(task.as_str())
        .bind(chunk.start_ms)
        .bind(chunk.end_ms);
    if let Some(row) = own.fetch_optional(&mut *tx).await?
        && uint(row.try_get("partitions")?) >= u64::from(segments)
    {
        let first = partition_number(row.try_get("first_partition")?)?;
        return Ok(answer(chunk, row.try_get("version")?, first));
    }
    let (version, first) = match mode {
        AllocationMode::Replace { locked_ms } => (version_above(tx, datasource, chunk, locked_ms).await?, 0),
        AllocationMode::Append => match top(tx, task, datasource, chunk).await? {
            Some(standing) if standing.interval == chunk => {
                let first = free_partition(tx, datasource, chunk, &standing.version).await?;
                (standing.version, first)
            }
            Some(standing) => return Ok(answer(standing.interval, standing.version, 0)),
            None => (version_above(tx, datasource, chunk, now_ms()).await?, 0),
        },
    };
    let sql = "INSERT INTO allocations VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (task_id, start_ms, end_ms) DO UPDATE SET datasource = excluded.datasource, \
               version = excluded.version, first_partition = excluded.first_partition, \
               partitions = excluded.partitions";
    sqlx::query(sql)
        .bind(task.as_str())
        .bind(datasource)
        .bind(chunk.start_ms)
        .bind(chunk.end_ms)
        .bind(&version)
        .bind(i64::from(first))
        .bind(i64::from(segments))
        .execute(&mut *tx)
        .await?;
    Ok(answer(chunk, version, first))
}

/// What of a segment's payload tells how many segments its time chunk was made with.
#[derive(Deserialize)]
struct PayloadShard {
    #[serde(default, rename = "shardSpec")]
    shard: CorePartitions,
}

#[derive(Default, Deserialize)]
struct CorePartitions {
    #[serde(default, alias = "numCorePartitions")]
    partitions: u32,
}

/// Core partitions that the used segments of a chunk name; an appended segment names as many.
async fn core_partitions(
    tx: &mut AnyConnection,
    datasource: &str,
    chunk: Interval,
    version: &str,
) -> Result<u32, StoreError> {
    let used = overlapping(tx, datasource, chunk, Usage::Used, Payload::Read).await?;
    let standing = used
        .iter()
        .find(|segment| segment.interval == chunk && segment.version == version);
    let Some(standing) = standing else { return Ok(0) };
    match serde_json::from_str::<PayloadShard>(standing.payload()) {
        Ok(payload) => Ok(payload.shard.partitions),
        Err(error) => Err(StoreError::Malformed {
            what: "shard spec of a segment",
            reason: error.to_string(),
        }),
    }
}

/// A version later than those of all segments over the chunk, used or not: an id is never given twice.
async fn version_above(
    tx: &mut AnyConnection,
    datasource: &str,
    chunk: Interval,
    at_least_ms: i64,
) -> Result<String, StoreError> {
    let known = overlapping(tx, datasource, chunk, Usage::UsedOrNot, Payload::Skip).await?;
    let latest = known
        .iter()
        .filter_map(|segment| parse_ms(&segment.version))
        .max();
    Ok(format_ms(
        latest.map_or(at_least_ms, |latest| at_least_ms.max(latest + 1)),
    ))
}

/// What decides over a chunk: the used segments, or those that another INSERT will publish, of the highest version.
async fn top(
    tx: &mut AnyConnection,
    task: &TaskId,
    datasource: &str,
    chunk: Interval,
) -> Result<Option<Standing>, StoreError> {
    let used = overlapping(tx, datasource, chunk, Usage::Used, Payload::Skip).await?;
    let mut standing: Vec<Standing> = used
        .into_iter()
        .map(|segment| Standing {
            interval: segment.interval,
            version: segment.version,
        })
        .collect();
    let sql = "SELECT start_ms, end_ms, version FROM allocations \
               WHERE datasource = $1 AND end_ms > $2 AND start_ms < $3 \
               AND (task_id <> $4 OR (start_ms = $2 AND end_ms = $3))";
    let rows = sqlx::query(sql)
        .bind(datasource)
        .bind(chunk.start_ms)
        .bind(chunk.end_ms)
        .bind(task.as_str())
        .fetch_all(&mut *tx)
        .await?;
    for row in &rows {
        let interval = Interval {
            start_ms: row.try_get("start_ms")?,
            end_ms: row.try_get("end_ms")?,
        };
        standing.push(Standing {
            interval,
            version: row.try_get("version")?,
        });
    }
    // Of equal versions the chunk's own interval decides.
    Ok(standing
        .into_iter()
        .max_by(|a, b| (&a.version, a.interval == chunk).cmp(&(&b.version, b.interval == chunk))))
}

/// First partition number above all that were ever given in the chunk under the version.
async fn free_partition(
    tx: &mut AnyConnection,
    datasource: &str,
    chunk: Interval,
    version: &str,
) -> Result<u32, StoreError> {
    let known = overlapping(tx, datasource, chunk, Usage::UsedOrNot, Payload::Skip).await?;
    let published = known
        .iter()
        .filter(|segment| segment.interval == chunk && segment.version == version)
        .map(|segment| int(segment.partition()))
        .max();
    let promised: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(first_partition + partitions - 1) FROM allocations \
         WHERE datasource = $1 AND start_ms = $2 AND end_ms = $3 AND version = $4",
    )
    .bind(datasource)
    .bind(chunk.start_ms)
    .bind(chunk.end_ms)
    .bind(version)
    .fetch_one(&mut *tx)
    .await?;
    partition_number(published.max(promised).map_or(0, |last| last + 1))
}

fn partition_number(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Malformed {
        what: "partition number",
        reason: format!("{number} does not fit"),
    })
}
