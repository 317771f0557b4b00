//! The publish transaction: all segments of a task become visible at once, and once only.

use std::collections::BTreeMap;

use sarsen_proto::v1;
use serde::Deserialize;
use sqlx::{AnyConnection, Row};

use super::carry::{appended_since, carried, replacing_since, void_allocations};
use super::catalog::{Change, SUMS, StoredColumn, Sums, read_sums};
use super::retry::retried;
use super::segments::{LONG, Payload, Usage, read_segment, text_bound};
use super::standing::{Standing, Standings, hull, top};
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

/// A row of `druid_segments` with its row of `segment_schemas`.
#[derive(Debug)]
pub(super) struct NewSegment {
    pub(super) id: String,
    pub(super) interval: Interval,
    pub(super) version: String,
    pub(super) payload: String,
    /// JSON of its [`StoredColumn`]s.
    pub(super) columns: String,
    pub(super) rows: i64,
    pub(super) bytes: i64,
    /// Of one that holds the rows of another: that one's id.
    pub(super) upgraded_from: Option<String>,
}

impl NewSegment {
    fn sums(&self) -> Sums {
        Sums {
            segments: 1,
            rows: self.rows,
            bytes: self.bytes,
        }
    }

    fn of(segment: &v1::SegmentRecord) -> Result<NewSegment, StoreError> {
        let malformed = |error: serde_json::Error| StoreError::Malformed {
            what: "segment payload",
            reason: error.to_string(),
        };
        let size: SizeOnly = serde_json::from_str(&segment.payload_json).map_err(malformed)?;
        let columns: Vec<StoredColumn> = segment.columns.iter().map(StoredColumn::from).collect();
        Ok(NewSegment {
            id: segment.id.clone(),
            interval: interval_of(segment)?,
            version: segment.version.clone(),
            payload: segment.payload_json.clone(),
            columns: serde_json::to_string(&columns).map_err(malformed)?,
            rows: int(segment.rows),
            bytes: int(size.size),
            upgraded_from: None,
        })
    }
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
    /// [`StoreError::Conflict`] when the task is another epoch's, or its REPLACE cannot be; [`StoreError::Superseded`] when
    /// other data stand where its segments belong, and another allocation may do.
    pub async fn publish(&self, publication: Publication<'_>) -> Result<Published, StoreError> {
        retried(|| self.publish_once(&publication)).await
    }

    async fn publish_once(&self, publication: &Publication<'_>) -> Result<Published, StoreError> {
        let mut tx = self.begin().await?;
        let task = publication.task_id;
        if let Some(published) = known(&mut tx, task).await? {
            // Perhaps by a commit that was done before its connection was lost.
            let mut catalog = self.catalog.lock().await;
            catalog.forget(publication.datasource, published.metadata_version);
            return Ok(published);
        }
        if let Some(epoch) = publication.epoch {
            check_epoch(&mut tx, task, epoch).await?;
        }
        let now = format_ms(now_ms());
        let datasource = publication.datasource;
        let (mut carry, mut change) = (Vec::new(), Change::default());
        if let Some(intervals) = &publication.replaced {
            check_inside(&publication.segments, intervals)?;
            if let Some(since) = replacing_since(&mut tx, task.as_str()).await? {
                let appended = appended_since(&mut tx, datasource, intervals, since).await?;
                carry = carried(&mut tx, datasource, appended, &publication.segments).await?;
                void_allocations(&mut tx, task, datasource, intervals).await?;
            }
            drop_replaced(&mut tx, datasource, intervals, &now, &mut change).await?;
        }
        check_standing(&mut tx, publication).await?;
        let mut segments = publication
            .segments
            .iter()
            .map(NewSegment::of)
            .collect::<Result<Vec<_>, _>>()?;
        segments.append(&mut carry);
        insert(&mut tx, datasource, &segments, &now).await?;
        for segment in &segments {
            change.add(&segment.columns, segment.sums());
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
            .published(publication.datasource, uint(version), &change);
        Ok(Published {
            metadata_version: uint(version),
            repeated: false,
        })
    }

    /// What a task has published, if it has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn published(&self, task: &TaskId) -> Result<Option<Published>, StoreError> {
        retried(|| async {
            let mut connection = self.reader.acquire().await?;
            known(&mut connection, task).await
        })
        .await
    }
}

async fn known(connection: &mut AnyConnection, task: &TaskId) -> Result<Option<Published>, StoreError> {
    let known: Option<i64> = sqlx::query_scalar("SELECT metadata_version FROM publishes WHERE task_id = $1")
        .bind(task.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(known.map(|version| Published {
        metadata_version: uint(version),
        repeated: true,
    }))
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

pub(super) fn interval_of(segment: &v1::SegmentRecord) -> Result<Interval, StoreError> {
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
    change: &mut Change,
) -> Result<(), StoreError> {
    let of_them = format!(
        r#"dataSource = $1 AND used = $2 AND start >= $3 AND start < $4 AND "end" <= $4 AND NOT ({LONG})"#
    );
    let sums = format!(
        "SELECT {SUMS} FROM druid_segments JOIN segment_schemas ON segment_id = id WHERE {of_them} GROUP BY columns"
    );
    let regular =
        format!("UPDATE druid_segments SET used = $5, used_status_last_updated = $6 WHERE {of_them}");
    let long = format!(
        r#"SELECT id, start, "end", version, created_date FROM druid_segments
           WHERE dataSource = $1 AND used = $2 AND {LONG}"#
    );
    for interval in intervals {
        let rows = sqlx::query(&sums)
            .bind(datasource)
            .bind(true)
            .bind(text_bound(interval.start_ms))
            .bind(text_bound(interval.end_ms))
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            let (columns, sums) = read_sums(row)?;
            change.drop(&columns, sums);
        }
        sqlx::query(&regular)
            .bind(datasource)
            .bind(true)
            .bind(text_bound(interval.start_ms))
            .bind(text_bound(interval.end_ms))
            .bind(false)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let rows = sqlx::query(&long)
            .bind(datasource)
            .bind(true)
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            let segment = read_segment(row, Payload::Skip)?;
            if interval.contains(&segment.interval) {
                let sums =
                    format!("SELECT {SUMS} FROM segment_schemas WHERE segment_id = $1 GROUP BY columns");
                let row = sqlx::query(&sums)
                    .bind(&segment.id)
                    .fetch_optional(&mut *tx)
                    .await?;
                if let Some((columns, sums)) = row.as_ref().map(read_sums).transpose()? {
                    change.drop(&columns, sums);
                }
                sqlx::query(
                    "UPDATE druid_segments SET used = $1, used_status_last_updated = $2 WHERE id = $3",
                )
                .bind(false)
                .bind(now)
                .bind(&segment.id)
                .execute(&mut *tx)
                .await?;
            }
        }
    }
    Ok(())
}

/// Refuses segments that used ones would hide, or that would hide used ones that nobody meant to replace.
async fn check_standing(tx: &mut AnyConnection, publication: &Publication<'_>) -> Result<(), StoreError> {
    let mut places: BTreeMap<(Interval, &str), &str> = BTreeMap::new();
    for segment in &publication.segments {
        let place = (interval_of(segment)?, segment.version.as_str());
        places.entry(place).or_insert(&segment.id);
    }
    let Some(stretch) = hull(places.keys().map(|(interval, _)| *interval)) else {
        return Ok(());
    };
    let standings = Standings::read(tx, publication.datasource, stretch, Usage::Used).await?;
    for ((interval, version), id) in places {
        let mut over = standings.over(interval);
        let conflict = match publication.replaced {
            Some(_) => over.find(|old| old.version.as_str() >= version),
            None => top(over, interval).filter(|top| top.interval != interval || top.version != version),
        };
        if let Some(Standing { interval, version }) = conflict {
            let message = format!(
                "segment [{id}] cannot be published: version [{version}] of [{interval}] was published over its time \
                 chunk in the meantime"
            );
            return Err(match publication.replaced {
                Some(_) => StoreError::Conflict(message),
                None => StoreError::Superseded(message),
            });
        }
    }
    Ok(())
}

/// Rows of one INSERT statement.
const BATCH: usize = 200;

async fn insert(
    tx: &mut AnyConnection,
    datasource: &str,
    segments: &[NewSegment],
    now: &str,
) -> Result<(), StoreError> {
    for batch in segments.chunks(BATCH) {
        let sql = format!("INSERT INTO druid_segments VALUES {}", rows_of(batch.len(), 12));
        let mut query = sqlx::query(&sql);
        for segment in batch {
            query = query
                .bind(&segment.id)
                .bind(datasource)
                .bind(now)
                .bind(format_ms(segment.interval.start_ms))
                .bind(format_ms(segment.interval.end_ms))
                .bind(true)
                .bind(&segment.version)
                .bind(true)
                .bind(segment.payload.as_bytes())
                .bind(now)
                .bind(None::<String>)
                .bind(segment.upgraded_from.clone());
        }
        match query.execute(&mut *tx).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(StoreError::Superseded(format!(
                    "one of the segments [{}] to [{}] exists already",
                    batch.first().map_or("", |segment| &segment.id),
                    batch.last().map_or("", |segment| &segment.id)
                )));
            }
            result => result?,
        };
        let sql = format!(
            "INSERT INTO segment_schemas (segment_id, columns, rows, bytes) VALUES {}",
            rows_of(batch.len(), 4)
        );
        let mut query = sqlx::query(&sql);
        for segment in batch {
            query = query
                .bind(&segment.id)
                .bind(&segment.columns)
                .bind(segment.rows)
                .bind(segment.bytes);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// `($1, $2), ($3, $4)`
pub(super) fn rows_of(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", places.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
