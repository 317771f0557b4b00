//! Segments by interval.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Store, StoreError};
use crate::time::{Interval, format_ms, parse_ms};

/// What of a segment's row the decisions need.
#[derive(Debug, Clone)]
pub(super) struct SegmentRow {
    pub(super) id: String,
    pub(super) interval: Interval,
    pub(super) version: String,
    created: String,
    payload: String,
}

impl SegmentRow {
    /// The number that an id ends in; 0 for one that ends in its version.
    pub(super) fn partition(&self) -> u64 {
        let behind = self
            .id
            .rsplit_once(&self.version)
            .map_or("", |(_, number)| number);
        behind.trim_start_matches('_').parse().unwrap_or(0)
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
            self.partition(),
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

fn read(row: &AnyRow, payload: Payload) -> Result<SegmentRow, StoreError> {
    let instant = |column: &str| -> Result<i64, StoreError> {
        let text: String = row.try_get(column)?;
        parse_ms(&text).ok_or(StoreError::Malformed {
            what: "segment's instant",
            reason: text,
        })
    };
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
    Ok(SegmentRow {
        id: row.try_get("id")?,
        interval: Interval {
            start_ms: instant("start")?,
            end_ms: instant("end")?,
        },
        version: row.try_get("version")?,
        created: row.try_get("created_date")?,
        payload,
    })
}

/// The last instant whose text compares as the instant does, in every collation.
const LAST_COMPARABLE: &str = "9999-12-31T23:59:59.999Z";

/// An instant as a bound for comparing text: years outside of 0 to 9999 lie below or above everything.
fn text_bound(ms: i64) -> String {
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
    let sql = format!(
        r#"{select} AND "end" > $4 AND start < $5 AND length(start) = 24 AND length("end") = 24
           UNION ALL {select} AND (length(start) <> 24 OR length("end") <> 24)"#
    );
    let rows = sqlx::query(&sql)
        .bind(datasource)
        .bind(true)
        .bind(usage == Usage::Used)
        .bind(text_bound(interval.start_ms))
        .bind(text_bound(interval.end_ms))
        .fetch_all(connection)
        .await?;
    let mut found = rows
        .iter()
        .map(|row| read(row, payload))
        .collect::<Result<Vec<_>, _>>()?;
    found.retain(|segment| segment.interval.overlaps(&interval));
    found.sort_by(|a, b| a.order().cmp(&b.order()));
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
        found.sort_by(|a, b| a.order().cmp(&b.order()));
        found.dedup_by(|a, b| a.id == b.id);
        Ok(found.into_iter().map(|segment| segment.payload).collect())
    }
}
