//! Segments by interval.

use std::collections::HashSet;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::carry::{Appended, appended_since, replacing_since};
use super::retry::retried;
use super::{Store, StoreError};
use crate::ids::TaskId;
use crate::time::{Interval, format_ms, parse_ms};

/// What of a segment's row the decisions need.
#[derive(Debug, Clone)]
pub(super) struct SegmentRow {
    pub(super) id: String,
    pub(super) interval: Interval,
    pub(super) version: String,
    created: String,
    payload: String,
    partition: u64,
}

fn partition_of(id: &str, version: &str) -> u64 {
    let behind = id.rsplit_once(version).map_or("", |(_, number)| number);
    behind.trim_start_matches('_').parse().unwrap_or(0)
}

impl SegmentRow {
    /// The number that an id ends in; 0 for one that ends in its version.
    pub(super) fn partition(&self) -> u64 {
        self.partition
    }

    /// Empty unless it was read.
    pub(super) fn payload(&self) -> &str {
        &self.payload
    }

    /// By start, then in the order in which they were published.
    fn order(&self) -> (i64, &str, &str, u64) {
        (
            self.interval.start_ms,
            &self.created,
            &self.version,
            self.partition,
        )
    }
}

/// Which segments count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Used,
    UsedOrNot,
}

/// Whether the payload is read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Read,
    Skip,
}

/// An instant of a segment's row.
pub(super) fn read_instant(row: &AnyRow, column: &str) -> Result<i64, StoreError> {
    let text: String = row.try_get(column)?;
    parse_ms(&text).ok_or(StoreError::Malformed {
        what: "segment's instant",
        reason: text,
    })
}

pub(super) fn read_segment(row: &AnyRow, payload: Payload) -> Result<SegmentRow, StoreError> {
    let instant = |column: &str| read_instant(row, column);
    let payload = match payload {
        Payload::Read => {
            let bytes: Vec<u8> = row.try_get("payload")?;
            String::from_utf8(bytes).map_err(|error| StoreError::Malformed {
                what: "segment payload",
                reason: error.to_string(),
            })?
        }
        Payload::Skip => String::new(),
    };
    let (id, version): (String, String) = (row.try_get("id")?, row.try_get("version")?);
    Ok(SegmentRow {
        partition: partition_of(&id, &version),
        id,
        interval: Interval {
            start_ms: instant("start")?,
            end_ms: instant("end")?,
        },
        version,
        created: row.try_get("created_date")?,
        payload,
    })
}

/// The last instant whose text compares as the instant does, in every collation.
const LAST_COMPARABLE: &str = "9999-12-31T23:59:59.999Z";

/// Segments that are longer are found by [`LONG`], the others by their start. Two months that are next to each other have
/// 62 days at the most.
pub(super) const REGULAR_MS: i64 = 62 * 86_400_000;

/// Segments over more than two calendar months, and those whose years do not compare as text (ALL): there are few. The
/// words are those of the index `idx_druid_segments_long`.
pub(super) const LONG: &str = r#"CASE WHEN length(start) = 24 AND length("end") = 24
    THEN 12 * (CAST(substr("end", 1, 4) AS INTEGER) - CAST(substr(start, 1, 4) AS INTEGER))
        + CAST(substr("end", 6, 2) AS INTEGER) - CAST(substr(start, 6, 2) AS INTEGER) > 1
    ELSE 1 = 1 END"#;

/// An instant as a bound for comparing text: years outside of 0 to 9999 lie below or above everything.
pub(super) fn text_bound(ms: i64) -> String {
    let text = format_ms(ms);
    match (text.len(), ms < 0) {
        (24, _) => text,
        (_, true) => String::new(),
        (_, false) => LAST_COMPARABLE.to_owned(),
    }
}

/// A datasource's segments that overlap an interval, by start and then in the order in which they were written.
pub(super) async fn overlapping(
    connection: &mut AnyConnection,
    datasource: &str,
    interval: Interval,
    usage: Usage,
    payload: Payload,
) -> Result<Vec<SegmentRow>, StoreError> {
    let body = match payload {
        Payload::Read => ", payload",
        Payload::Skip => "",
    };
    let select = format!(
        r#"SELECT id, start, "end", version, created_date{body} FROM druid_segments
           WHERE dataSource = $1 AND used IN ($2, $3)"#
    );
    let sql =
        format!(r#"{select} AND start > $4 AND start < $5 AND "end" > $6 UNION ALL {select} AND {LONG}"#);
    let rows = sqlx::query(&sql)
        .bind(datasource)
        .bind(true)
        .bind(usage == Usage::Used)
        .bind(text_bound(interval.start_ms.saturating_sub(REGULAR_MS)))
        .bind(text_bound(interval.end_ms))
        .bind(text_bound(interval.start_ms))
        .fetch_all(connection)
        .await?;
    let mut found = rows
        .iter()
        .map(|row| read_segment(row, payload))
        .collect::<Result<Vec<_>, _>>()?;
    found.retain(|segment| segment.interval.overlaps(&interval));
    sort(&mut found);
    Ok(found)
}

fn sort(segments: &mut Vec<SegmentRow>) {
    segments.sort_by(|a, b| a.order().cmp(&b.order()));
    segments.dedup_by(|a, b| a.id == b.id);
}

/// Segments of just this interval and version: their ids and the rest of what decisions need.
pub(super) async fn of_chunk(
    connection: &mut AnyConnection,
    datasource: &str,
    chunk: Interval,
    version: &str,
    payload: Payload,
) -> Result<Vec<SegmentRow>, StoreError> {
    let body = match payload {
        Payload::Read => ", payload",
        Payload::Skip => "",
    };
    let sql = format!(
        r#"SELECT id, start, "end", version, created_date{body} FROM druid_segments
           WHERE dataSource = $1 AND start = $2 AND "end" = $3 AND version = $4"#
    );
    let rows = sqlx::query(&sql)
        .bind(datasource)
        .bind(format_ms(chunk.start_ms))
        .bind(format_ms(chunk.end_ms))
        .bind(version)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read_segment(row, payload)).collect()
}

impl Store {
    /// Payloads of the used segments of a datasource that overlap one of the intervals; no intervals: all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn segment_payloads(
        &self,
        datasource: &str,
        intervals: &[Interval],
    ) -> Result<Vec<String>, StoreError> {
        self.segment_payloads_for(datasource, intervals, None).await
    }

    /// The same as one task sees it: what was appended inside of the intervals that it replaces, since it began, is
    /// carried over to what it publishes, and would be there twice if it read it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn segment_payloads_for(
        &self,
        datasource: &str,
        intervals: &[Interval],
        reader: Option<(&TaskId, &[Interval])>,
    ) -> Result<Vec<String>, StoreError> {
        retried(|| self.read_payloads(datasource, intervals, reader)).await
    }

    async fn read_payloads(
        &self,
        datasource: &str,
        intervals: &[Interval],
        reader: Option<(&TaskId, &[Interval])>,
    ) -> Result<Vec<String>, StoreError> {
        let everything = [Interval::ETERNITY];
        let intervals = if intervals.is_empty() {
            everything.as_slice()
        } else {
            intervals
        };
        // One transaction, so that a publish in between does not show in one interval and not in another.
        let mut snapshot = self.reader.begin_with(self.dialect.begin_snapshot()).await?;
        let mut found = Vec::new();
        for interval in intervals {
            let part = overlapping(&mut snapshot, datasource, *interval, Usage::Used, Payload::Read).await?;
            found.extend(part);
        }
        if let Some((task, replaced)) = reader
            && let Some(since) = replacing_since(&mut snapshot, task.as_str()).await?
        {
            let appended = appended_since(&mut snapshot, datasource, replaced, since).await?;
            let appended: HashSet<&str> = appended.iter().map(Appended::id).collect();
            found.retain(|segment| !appended.contains(segment.id.as_str()));
        }
        sort(&mut found);
        Ok(found.into_iter().map(|segment| segment.payload).collect())
    }
}
