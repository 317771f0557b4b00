//! The publish transaction: all segments of a task become visible at once, and once only.

use sarsen_proto::v1;
use serde::Deserialize;
use sqlx::{AnyConnection, Row};

use super::catalog::StoredColumn;
use super::segments::{Payload, Usage, overlapping};
use super::{Store, StoreError, int, uint};
use crate::ids::TaskId;
use crate::time::{Interval, format_ms, now_ms};

/// What a task publishes.
#[derive(Debug)]
pub struct Publication<'a> {
    pub task_id: &'a TaskId,
    /// Checked against the stored task inside of the transaction; `None` for a task that is not stored.
    pub epoch: Option<u64>,
    pub datasource: &'a str,
    /// What a REPLACE overwrites; `None` for an INSERT.
    pub replaced: Option<Vec<Interval>>,
    pub segments: Vec<v1::SegmentRecord>,
}

/// What a publish did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub metadata_version: u64,
    pub repeated: bool,
}

#[derive(Deserialize)]
struct SizeOnly {
    #[serde(default)]
    size: u64,
}

impl Store {
    /// Publishes, unless the task has published before: then the same is answered.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the task is another epoch's, or other data stand where its segments belong.
    pub async fn publish(&self, publication: Publication<'_>) -> Result<Published, StoreError> {
        let mut tx = self.begin().await?;
        let task = publication.task_id;
        let known: Option<i64> =
            sqlx::query_scalar("SELECT metadata_version FROM publishes WHERE task_id = $1")
                .bind(task.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        if let Some(version) = known {
            return Ok(Published {
                metadata_version: uint(version),
                repeated: true,
            });
        }
        if let Some(epoch) = publication.epoch {
            check_epoch(&mut tx, task, epoch).await?;
        }
        let now = format_ms(now_ms());
        if let Some(intervals) = &publication.replaced {
            check_inside(&publication.segments, intervals)?;
            drop_replaced(&mut tx, publication.datasource, intervals, &now).await?;
        }
        check_standing(&mut tx, &publication).await?;
        for segment in &publication.segments {
            insert(&mut tx, publication.datasource, segment, &now).await?;
        }
        let version: i64 =
            sqlx::query_scalar("UPDATE metadata_version SET version = version + 1 RETURNING version")
                .fetch_one(&mut *tx)
                .await?;
        sqlx::query("INSERT INTO publishes VALUES ($1, $2, $3)")
            .bind(task.as_str())
            .bind(version)
            .bind(int(u64::try_from(publication.segments.len()).unwrap_or(0)))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.catalog
            .lock()
            .await
            .published(publication.datasource, uint(version));
        Ok(Published {
            metadata_version: uint(version),
            repeated: false,
        })
    }
}

async fn check_epoch(tx: &mut AnyConnection, task: &TaskId, epoch: u64) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT epoch, state FROM tasks WHERE task_id = $1")
        .bind(task.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else {
        return Err(StoreError::Conflict(format!("there is no task [{task}]")));
    };
    let current = uint(row.try_get("epoch")?);
    if row.try_get::<i32, _>("state")? != i32::from(v1::TaskState::Pending) {
        return Err(StoreError::Conflict(format!(
            "task [{task}] has ended and publishes nothing any more"
        )));
    }
    if current != epoch {
        return Err(StoreError::Conflict(format!(
            "epoch {epoch} of task [{task}] has been superseded by epoch {current}"
        )));
    }
    Ok(())
}

fn interval_of(segment: &v1::SegmentRecord) -> Result<Interval, StoreError> {
    let interval = segment.interval.as_ref().map(Interval::from);
    interval.ok_or_else(|| StoreError::Conflict(format!("segment [{}] has no interval", segment.id)))
}

fn check_inside(segments: &[v1::SegmentRecord], intervals: &[Interval]) -> Result<(), StoreError> {
    for segment in segments {
        let interval = interval_of(segment)?;
        if !intervals.iter().any(|replaced| replaced.contains(&interval)) {
            return Err(StoreError::Conflict(format!(
                "segment [{}] lies outside of the intervals that its REPLACE overwrites",
                segment.id
            )));
        }
    }
    Ok(())
}

/// Marks unused what lies wholly inside; what only overlaps stays, and is overshadowed by version where it is.
async fn drop_replaced(
    tx: &mut AnyConnection,
    datasource: &str,
    intervals: &[Interval],
    now: &str,
) -> Result<(), StoreError> {
    for interval in intervals {
        let old = overlapping(tx, datasource, *interval, Usage::Used, Payload::Skip).await?;
        for segment in old.iter().filter(|segment| interval.contains(&segment.interval)) {
            sqlx::query("UPDATE druid_segments SET used = $1, used_status_last_updated = $2 WHERE id = $3")
                .bind(false)
                .bind(now)
                .bind(&segment.id)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

/// Refuses segments that used ones would hide, or that would hide used ones that nobody meant to replace.
async fn check_standing(tx: &mut AnyConnection, publication: &Publication<'_>) -> Result<(), StoreError> {
    let mut checked = Vec::new();
    for segment in &publication.segments {
        let interval = interval_of(segment)?;
        if checked.contains(&(interval, &segment.version)) {
            continue;
        }
        checked.push((interval, &segment.version));
        let standing = overlapping(tx, publication.datasource, interval, Usage::Used, Payload::Skip).await?;
        let conflict = match publication.replaced {
            Some(_) => standing.iter().find(|old| old.version >= segment.version),
            None => standing
                .iter()
                .max_by(|a, b| {
                    (&a.version, a.interval == interval).cmp(&(&b.version, b.interval == interval))
                })
                .filter(|top| top.interval != interval || top.version != segment.version),
        };
        if let Some(old) = conflict {
            return Err(StoreError::Conflict(format!(
                "segment [{}] cannot be published: [{}] was published over its time chunk in the meantime",
                segment.id, old.id
            )));
        }
    }
    Ok(())
}

async fn insert(
    tx: &mut AnyConnection,
    datasource: &str,
    segment: &v1::SegmentRecord,
    now: &str,
) -> Result<(), StoreError> {
    let interval = interval_of(segment)?;
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        what: "segment payload",
        reason: error.to_string(),
    };
    let size: SizeOnly = serde_json::from_str(&segment.payload_json).map_err(malformed)?;
    let columns: Vec<StoredColumn> = segment.columns.iter().map(StoredColumn::from).collect();
    let inserted =
        sqlx::query("INSERT INTO druid_segments VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $8, $3, NULL, NULL)")
            .bind(&segment.id)
            .bind(datasource)
            .bind(now)
            .bind(format_ms(interval.start_ms))
            .bind(format_ms(interval.end_ms))
            .bind(true)
            .bind(&segment.version)
            .bind(segment.payload_json.as_bytes())
            .execute(&mut *tx)
            .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Err(StoreError::Conflict(format!(
                "segment [{}] exists already",
                segment.id
            )));
        }
        result => result?,
    };
    sqlx::query("INSERT INTO segment_schemas (segment_id, columns, rows, bytes) VALUES ($1, $2, $3, $4)")
        .bind(&segment.id)
        .bind(serde_json::to_string(&columns).map_err(malformed)?)
        .bind(int(segment.rows))
        .bind(int(size.size))
        .execute(&mut *tx)
        .await?;
    Ok(())
}
