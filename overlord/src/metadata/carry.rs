//! Carrying over what was appended while a REPLACE ran (Druid: ingestion/concurrent-append-replace.md): those segments
//! get the interval, the version and the next partition numbers of what the REPLACE publishes over them, so that it
//! hides none of their rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::publish::{NewSegment, interval_of};
use super::segments::{Payload, SegmentRow, Usage, read_segment};
use super::standing::{Standings, hull};
use crate::ids::TaskId;
use crate::time::{Interval, format_ms, parse_ms};
use sarsen_proto::v1;

/// A segment that was appended while a REPLACE ran.
#[derive(Debug)]
pub(super) struct Appended {
    row: SegmentRow,
    columns: String,
    rows: i64,
    bytes: i64,
}

impl Appended {
    pub(super) fn id(&self) -> &str {
        &self.row.id
    }
}

/// Takes note that a REPLACE begins to run beside tasks that may append; the first note stays.
pub(super) async fn begin_replacing(tx: &mut AnyConnection, task: &TaskId) -> Result<(), StoreError> {
    let sql = "INSERT INTO replacing SELECT CAST($1 AS TEXT), COALESCE(MAX(seq), 0) FROM segment_schemas WHERE seq > 0 \
               ON CONFLICT (task_id) DO NOTHING";
    sqlx::query(sql).bind(task.as_str()).execute(tx).await?;
    Ok(())
}

/// The last segment that was there when a REPLACE began; `None` for one that runs alone.
pub(super) async fn replacing_since(tx: &mut AnyConnection, task: &str) -> Result<Option<i64>, StoreError> {
    let since = sqlx::query_scalar("SELECT since FROM replacing WHERE task_id = $1")
        .bind(task)
        .fetch_optional(tx)
        .await?;
    Ok(since)
}

/// Used segments inside of the intervals that were published later.
///
/// # Errors
/// [`StoreError::Conflict`] when one lies only partly inside: it can be neither replaced nor kept.
pub(super) async fn appended_since(
    tx: &mut AnyConnection,
    datasource: &str,
    intervals: &[Interval],
    since: i64,
) -> Result<Vec<Appended>, StoreError> {
    let sql = r#"SELECT id, start, "end", version, created_date, payload, columns, rows, bytes
                 FROM segment_schemas JOIN druid_segments ON segment_id = id
                 WHERE seq > $1 AND dataSource = $2 AND used = $3 ORDER BY seq"#;
    let rows = sqlx::query(sql)
        .bind(since)
        .bind(datasource)
        .bind(true)
        .fetch_all(tx)
        .await?;
    let mut appended = Vec::new();
    for row in &rows {
        let segment = read_segment(row, Payload::Read)?;
        let overlapping = intervals
            .iter()
            .filter(|interval| interval.overlaps(&segment.interval));
        let mut overlapping = overlapping.peekable();
        if overlapping.peek().is_none() {
            continue;
        }
        if !overlapping.any(|interval| interval.contains(&segment.interval)) {
            return Err(partly(&segment));
        }
        appended.push(Appended {
            row: segment,
            columns: row.try_get("columns")?,
            rows: row.try_get("rows")?,
            bytes: row.try_get("bytes")?,
        });
    }
    Ok(appended)
}

fn partly(segment: &SegmentRow) -> StoreError {
    StoreError::Conflict(format!(
        "segment [{}] was appended while the REPLACE ran, and lies only partly in what it overwrites: beside a REPLACE, \
         append with the same or a finer PARTITIONED BY",
        segment.id
    ))
}

/// A time chunk that appended segments move to.
struct Chunk {
    version: String,
    next: u32,
    core: u32,
}

/// What the appended segments become beside the REPLACE's own ones.
pub(super) async fn carried(
    tx: &mut AnyConnection,
    datasource: &str,
    appended: Vec<Appended>,
    published: &[v1::SegmentRecord],
) -> Result<Vec<NewSegment>, StoreError> {
    let Some(stretch) = hull(appended.iter().map(|appended| appended.row.interval)) else {
        return Ok(Vec::new());
    };
    let known = Standings::read(tx, datasource, stretch, Usage::UsedOrNot).await?;
    let mut chunks: BTreeMap<Interval, Chunk> = BTreeMap::new();
    for segment in published {
        let chunk = chunks.entry(interval_of(segment)?).or_insert_with(|| Chunk {
            version: segment.version.clone(),
            next: 0,
            core: 0,
        });
        chunk.next += 1;
        chunk.core += 1;
    }
    let replaced: Vec<Interval> = chunks.keys().copied().collect();
    let mut carried = Vec::with_capacity(appended.len());
    for old in appended {
        let interval = old.row.interval;
        let over = replaced.iter().find(|chunk| chunk.overlaps(&interval)).copied();
        let target = match over {
            Some(chunk) if chunk.contains(&interval) => chunk,
            Some(_) => return Err(partly(&old.row)),
            None => interval,
        };
        let chunk = chunks.entry(target).or_insert_with(|| Chunk {
            version: version_above(&known, target),
            next: 0,
            core: 0,
        });
        carried.push(moved(datasource, &old, target, chunk)?);
        chunk.next += 1;
    }
    Ok(carried)
}

fn version_above(known: &Standings, chunk: Interval) -> String {
    let versions = known
        .over(chunk)
        .filter_map(|standing| parse_ms(&standing.version));
    format_ms(versions.max().map_or(0, |latest| latest + 1))
}

/// The same rows in the same file, as another segment.
fn moved(
    datasource: &str,
    old: &Appended,
    interval: Interval,
    chunk: &Chunk,
) -> Result<NewSegment, StoreError> {
    let mut payload: Map<String, Value> =
        serde_json::from_str(old.row.payload()).map_err(|error| StoreError::Malformed {
            what: "segment payload",
            reason: error.to_string(),
        })?;
    let number = chunk.next;
    let suffix = if number == 0 {
        String::new()
    } else {
        format!("_{number}")
    };
    let id = format!(
        "{datasource}_{}_{}_{}{suffix}",
        format_ms(interval.start_ms),
        format_ms(interval.end_ms),
        chunk.version
    );
    payload.insert("interval".to_owned(), json!(interval.to_string()));
    payload.insert("version".to_owned(), json!(chunk.version));
    payload.insert("identifier".to_owned(), json!(id));
    payload.insert(
        "shardSpec".to_owned(),
        json!({ "type": "numbered", "partitionNum": number, "partitions": chunk.core }),
    );
    Ok(NewSegment {
        id,
        interval,
        version: chunk.version.clone(),
        payload: Value::Object(payload).to_string(),
        columns: old.columns.clone(),
        rows: old.rows,
        bytes: old.bytes,
        upgraded_from: Some(old.row.id.clone()),
    })
}

/// Numbers that others were promised in what was replaced mean nothing any more: they ask again.
pub(super) async fn void_allocations(
    tx: &mut AnyConnection,
    task: &TaskId,
    datasource: &str,
    intervals: &[Interval],
) -> Result<(), StoreError> {
    for interval in intervals {
        sqlx::query(
            "DELETE FROM allocations WHERE datasource = $1 AND task_id <> $2 AND end_ms > $3 AND start_ms < $4",
        )
        .bind(datasource)
        .bind(task.as_str())
        .bind(interval.start_ms)
        .bind(interval.end_ms)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
