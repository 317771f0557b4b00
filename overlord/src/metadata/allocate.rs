//! Versions and partition numbers for the segments of a publish to come.

use sarsen_proto::v1;
use serde::Deserialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::publish::rows_of;
use super::retry::retried;
use super::segments::{Payload, SegmentRow, Usage, of_chunk};
use super::standing::{Standing, Standings, hull, top};
use super::{Store, StoreError, int};
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

impl Store {
    /// Allocates for each chunk, in their order. A repeated call answers the same as long as it asks for no more
    /// segments and nothing else has come to stand there. Where other data stand over a chunk with another interval, that
    /// interval is answered and nothing is allocated.
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
        retried(|| self.allocate_once(task, datasource, mode, chunks)).await
    }

    async fn allocate_once(
        &self,
        task: &TaskId,
        datasource: &str,
        mode: AllocationMode,
        chunks: &[(Interval, u32)],
    ) -> Result<Vec<v1::ChunkAllocation>, StoreError> {
        let Some(stretch) = hull(chunks.iter().map(|(chunk, _)| *chunk)) else {
            return Ok(Vec::new());
        };
        let mut tx = self.begin().await?;
        let allocator = Allocator {
            task,
            datasource,
            mode,
            used: Standings::read(&mut tx, datasource, stretch, Usage::Used).await?,
            ever: Standings::read(&mut tx, datasource, stretch, Usage::UsedOrNot).await?,
            promised: promises(&mut tx, task.as_str(), datasource, stretch).await?,
        };
        let mut allocations = Vec::with_capacity(chunks.len());
        let mut written = Vec::new();
        for (chunk, segments) in chunks {
            let (allocation, promise) = allocator.chunk(&mut tx, *chunk, *segments).await?;
            allocations.push(allocation);
            written.extend(promise);
        }
        write(&mut tx, task, datasource, &written).await?;
        tx.commit().await?;
        Ok(allocations)
    }
}

/// Numbers that a task has been given.
#[derive(Debug, Clone)]
struct Promise {
    task: String,
    chunk: Interval,
    version: String,
    first: i64,
    partitions: i64,
}

/// What is known while chunks are allocated.
struct Allocator<'a> {
    task: &'a TaskId,
    datasource: &'a str,
    mode: AllocationMode,
    used: Standings,
    ever: Standings,
    promised: Vec<Promise>,
}

impl Allocator<'_> {
    async fn chunk(
        &self,
        tx: &mut AnyConnection,
        chunk: Interval,
        segments: u32,
    ) -> Result<(v1::ChunkAllocation, Option<Promise>), StoreError> {
        let answer = |interval: Interval, version: String, first_partition: u32, core_partitions: u32| {
            v1::ChunkAllocation {
                interval: Some(interval.into()),
                version,
                first_partition,
                core_partitions,
            }
        };
        let own = self
            .promised
            .iter()
            .find(|promise| promise.chunk == chunk && promise.task == self.task.as_str())
            .filter(|promise| promise.partitions >= i64::from(segments));
        let promise = |version: &str, first: u32| Promise {
            task: self.task.as_str().to_owned(),
            chunk,
            version: version.to_owned(),
            first: i64::from(first),
            partitions: i64::from(segments),
        };
        let (version, first, core) = match self.mode {
            AllocationMode::Replace { locked_ms } => match own {
                Some(own) => {
                    return Ok((
                        answer(chunk, own.version.clone(), partition_number(own.first)?, 0),
                        None,
                    ));
                }
                None => (self.version_above(chunk, locked_ms), 0, 0),
            },
            AllocationMode::Append => match self.top(chunk) {
                Some(standing) if standing.interval == chunk => {
                    let version = standing.version;
                    let known = of_chunk(tx, self.datasource, chunk, &version, Payload::Read).await?;
                    let core = core_partitions(&known)?;
                    let is_free = |own: &Promise| {
                        let taken = own.first..own.first + own.partitions;
                        own.version == version && !known.iter().any(|s| taken.contains(&int(s.partition())))
                    };
                    if let Some(own) = own.filter(|own| is_free(own)) {
                        let first = partition_number(own.first)?;
                        return Ok((answer(chunk, version, first, core), None));
                    }
                    let first = self.free_partition(&known, chunk, &version)?;
                    (version, first, core)
                }
                Some(standing) => return Ok((answer(standing.interval, standing.version, 0, 0), None)),
                None => (self.version_above(chunk, now_ms()), 0, 0),
            },
        };
        let given = promise(&version, first);
        Ok((answer(chunk, version, first, core), Some(given)))
    }

    /// A version later than those of all segments over the chunk, used or not: an id is never given twice.
    fn version_above(&self, chunk: Interval, at_least_ms: i64) -> String {
        let known = self
            .ever
            .over(chunk)
            .filter_map(|standing| parse_ms(&standing.version));
        let latest = known.max();
        format_ms(latest.map_or(at_least_ms, |latest| at_least_ms.max(latest + 1)))
    }

    /// What decides over a chunk: the used segments, or those that another INSERT will publish, of the highest version.
    fn top(&self, chunk: Interval) -> Option<Standing> {
        let own = |promise: &&Promise| promise.task != self.task.as_str() || promise.chunk == chunk;
        let promised: Vec<Standing> = self
            .promised
            .iter()
            .filter(own)
            .filter(|promise| promise.chunk.overlaps(&chunk))
            .map(|promise| Standing {
                interval: promise.chunk,
                version: promise.version.clone(),
            })
            .collect();
        top(self.used.over(chunk).chain(&promised), chunk).cloned()
    }

    /// First partition number above all that were ever given in the chunk under the version.
    fn free_partition(
        &self,
        known: &[SegmentRow],
        chunk: Interval,
        version: &str,
    ) -> Result<u32, StoreError> {
        let published = known.iter().map(|segment| int(segment.partition())).max();
        let promised = self
            .promised
            .iter()
            .filter(|promise| promise.chunk == chunk && promise.version == version)
            .map(|promise| promise.first + promise.partitions - 1)
            .max();
        partition_number(published.max(promised).map_or(0, |last| last + 1))
    }
}

/// Promises over a stretch of time, but for those of REPLACE tasks: they are for what is not there before it is published,
/// while others append to what is.
async fn promises(
    tx: &mut AnyConnection,
    task: &str,
    datasource: &str,
    stretch: Interval,
) -> Result<Vec<Promise>, StoreError> {
    let sql = "SELECT task_id, start_ms, end_ms, version, first_partition, partitions FROM allocations \
               WHERE datasource = $1 AND end_ms > $2 AND start_ms < $3 \
               AND (task_id = $4 OR task_id NOT IN (SELECT task_id FROM replacing))";
    let rows = sqlx::query(sql)
        .bind(datasource)
        .bind(stretch.start_ms)
        .bind(stretch.end_ms)
        .bind(task)
        .fetch_all(tx)
        .await?;
    let promise = |row: &AnyRow| -> Result<Promise, StoreError> {
        Ok(Promise {
            task: row.try_get("task_id")?,
            chunk: Interval {
                start_ms: row.try_get("start_ms")?,
                end_ms: row.try_get("end_ms")?,
            },
            version: row.try_get("version")?,
            first: row.try_get("first_partition")?,
            partitions: row.try_get("partitions")?,
        })
    };
    rows.iter().map(promise).collect()
}

/// Rows of one INSERT statement.
const BATCH: usize = 200;

async fn write(
    tx: &mut AnyConnection,
    task: &TaskId,
    datasource: &str,
    promises: &[Promise],
) -> Result<(), StoreError> {
    for batch in promises.chunks(BATCH) {
        let sql = format!(
            "INSERT INTO allocations VALUES {} \
             ON CONFLICT (task_id, start_ms, end_ms) DO UPDATE SET datasource = excluded.datasource, \
             version = excluded.version, first_partition = excluded.first_partition, \
             partitions = excluded.partitions",
            rows_of(batch.len(), 7)
        );
        let mut query = sqlx::query(&sql);
        for promise in batch {
            query = query
                .bind(task.as_str())
                .bind(datasource)
                .bind(promise.chunk.start_ms)
                .bind(promise.chunk.end_ms)
                .bind(&promise.version)
                .bind(promise.first)
                .bind(promise.partitions);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
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

/// Core partitions that the segments of a chunk name; an appended segment names as many.
fn core_partitions(known: &[SegmentRow]) -> Result<u32, StoreError> {
    let Some(standing) = known.first() else {
        return Ok(0);
    };
    match serde_json::from_str::<PayloadShard>(standing.payload()) {
        Ok(payload) => Ok(payload.shard.partitions),
        Err(error) => Err(StoreError::Malformed {
            what: "shard spec of a segment",
            reason: error.to_string(),
        }),
    }
}

fn partition_number(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Malformed {
        what: "partition number",
        reason: format!("{number} does not fit"),
    })
}
