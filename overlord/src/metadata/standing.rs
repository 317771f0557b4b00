//! What stands over a stretch of time: intervals and versions, however many segments each has.

use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::segments::{LONG, REGULAR_MS, Usage, read_instant, text_bound};
use crate::time::Interval;

/// Segments of one interval and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) interval: Interval,
    pub(super) version: String,
}

/// All that overlaps a stretch of time.
#[derive(Debug, Default)]
pub(super) struct Standings {
    /// By start; none is longer than [`REGULAR_MS`].
    regular: Vec<Standing>,
    long: Vec<Standing>,
}

impl Standings {
    /// Reads a datasource's; the database's work grows with what overlaps the stretch, and not with the rest.
    pub(super) async fn read(
        connection: &mut AnyConnection,
        datasource: &str,
        stretch: Interval,
        usage: Usage,
    ) -> Result<Standings, StoreError> {
        let of = "FROM druid_segments WHERE dataSource = $1 AND used IN ($2, $3)";
        let regular = format!(
            r#"SELECT start, "end", version {of} AND start > $4 AND start < $5 AND "end" > $6
               GROUP BY start, "end", version"#
        );
        let mut rows = sqlx::query(&regular)
            .bind(datasource)
            .bind(true)
            .bind(usage == Usage::Used)
            .bind(text_bound(stretch.start_ms.saturating_sub(REGULAR_MS)))
            .bind(text_bound(stretch.end_ms))
            .bind(text_bound(stretch.start_ms))
            .fetch_all(&mut *connection)
            .await?;
        // The id is asked for so that no other index covers the query: SQLite would read all of it.
        let long = format!(r#"SELECT start, "end", version, id {of} AND {LONG}"#);
        let long = sqlx::query(&long)
            .bind(datasource)
            .bind(true)
            .bind(usage == Usage::Used)
            .fetch_all(connection)
            .await?;
        rows.extend(long);
        let mut standings = Standings::default();
        for row in &rows {
            let interval = Interval {
                start_ms: read_instant(row, "start")?,
                end_ms: read_instant(row, "end")?,
            };
            if interval.overlaps(&stretch) {
                let version = row.try_get("version")?;
                let standing = Standing { interval, version };
                if interval.end_ms.saturating_sub(interval.start_ms) > REGULAR_MS {
                    standings.long.push(standing);
                } else {
                    standings.regular.push(standing);
                }
            }
        }
        for list in [&mut standings.regular, &mut standings.long] {
            list.sort_by(|a, b| (a.interval, &a.version).cmp(&(b.interval, &b.version)));
            list.dedup();
        }
        Ok(standings)
    }

    /// Those over one time chunk of the stretch.
    pub(super) fn over(&self, chunk: Interval) -> impl Iterator<Item = &Standing> {
        let first = chunk.start_ms.saturating_sub(REGULAR_MS);
        let begin = self
            .regular
            .partition_point(|standing| standing.interval.start_ms < first);
        let regular = self.regular.iter().skip(begin);
        let regular = regular.take_while(move |standing| standing.interval.start_ms < chunk.end_ms);
        regular
            .chain(&self.long)
            .filter(move |standing| standing.interval.overlaps(&chunk))
    }
}

/// The stretch of time that these intervals lie in; `None` when there are none.
pub(super) fn hull(intervals: impl IntoIterator<Item = Interval>) -> Option<Interval> {
    intervals.into_iter().reduce(|all, next| Interval {
        start_ms: all.start_ms.min(next.start_ms),
        end_ms: all.end_ms.max(next.end_ms),
    })
}

/// Of what stands over a chunk, what decides: the highest version, and of equal ones the chunk's own interval.
pub(super) fn top<'a>(standing: impl Iterator<Item = &'a Standing>, chunk: Interval) -> Option<&'a Standing> {
    standing.max_by(|a, b| (&a.version, a.interval == chunk).cmp(&(&b.version, b.interval == chunk)))
}
