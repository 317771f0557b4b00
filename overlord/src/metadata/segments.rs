//! Segments by interval.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError};
use crate::time::{Interval, format_ms, parse_ms};

/// What of a segment's row the decisions need.
#[derive(Debug, Clone)]
pub(super) struct SegmentRow {
    rowid: i64,
    pub(super) id: String,
    pub(super) interval: Interval,
    pub(super) version: String,
    payload: String,
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

fn read(row: &SqliteRow) -> Result<SegmentRow, StoreError> {
    let instant = |column: &str| -> Result<i64, StoreError> {
        let text: String = row.try_get(column)?;
        parse_ms(&text).ok_or(StoreError::Malformed {
            what: "segment's instant",
            reason: text,
        })
    };
    Ok(SegmentRow {
        rowid: row.try_get("row")?,
        id: row.try_get("id")?,
        interval: Interval {
            start_ms: instant("start")?,
            end_ms: instant("end")?,
        },
        version: row.try_get("version")?,
        payload: row.try_get("body")?,
    })
}

/// An instant as a bound for comparing text: years outside of 0 to 9999 lie below or above everything.
fn text_bound(ms: i64) -> String {
    let text = format_ms(ms);
    match (text.len(), ms < 0) {
        (24, _) => text,
        (_, true) => String::new(),
        (_, false) => "~".to_owned(),
    }
}

/// A datasource's segments that overlap an interval, by start and then in the order in which they were written.
pub(super) async fn overlapping(
    connection: &mut SqliteConnection,
    datasource: &str,
    interval: Interval,
    usage: Usage,
    payload: Payload,
) -> Result<Vec<SegmentRow>, StoreError> {
    let used = match usage {
        Usage::Used => "used = 1",
        Usage::UsedOrNot => "used IN (0, 1)",
    };
    let body = match payload {
        Payload::Read => "CAST(payload AS TEXT)",
        Payload::Skip => "''",
    };
    let select = format!(
        r#"SELECT rowid AS row, id, start, "end", version, {body} AS body
           FROM druid_segments WHERE dataSource = ?1 AND {used}"#
    );
    let sql = format!(
        r#"{select} AND "end" > ?2 AND start < ?3 AND length(start) = 24 AND length("end") = 24
           UNION ALL {select} AND (length(start) <> 24 OR length("end") <> 24)"#
    );
    let rows = sqlx::query(&sql)
        .bind(datasource)
        .bind(text_bound(interval.start_ms))
        .bind(text_bound(interval.end_ms))
        .fetch_all(connection)
        .await?;
    let mut found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    found.retain(|segment| segment.interval.overlaps(&interval));
    found.sort_by_key(|segment| (segment.interval.start_ms, segment.rowid));
    Ok(found)
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
        let everything = [Interval::ETERNITY];
        let intervals = if intervals.is_empty() {
            everything.as_slice()
        } else {
            intervals
        };
        // One transaction, so that a publish in between does not show in one interval and not in another.
        let mut snapshot = self.reader.begin().await?;
        let mut found = Vec::new();
        for interval in intervals {
            let part = overlapping(&mut snapshot, datasource, *interval, Usage::Used, Payload::Read).await?;
            found.extend(part);
        }
        found.sort_by_key(|segment| (segment.interval.start_ms, segment.rowid));
        found.dedup_by_key(|segment| segment.rowid);
        Ok(found.into_iter().map(|segment| segment.payload).collect())
    }
}
