//! Segments and datasources as clients list them: page by page, so that neither side holds all of them.

use futures::TryStreamExt;
use sarsen_proto::v1;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::retry::retried;
use super::segments::read_instant;
use super::{Store, StoreError, uint};
use crate::time::{Interval, format_ms};

/// Rows of one page at the most.
const PAGE: u32 = 2_000;

const SEGMENT: &str = r#"id, start, "end", version, CAST(CASE WHEN used THEN 1 ELSE 0 END AS BIGINT) AS is_used, payload, created_date, used_status_last_updated,
    upgraded_from_segment_id, COALESCE(rows, 0) AS row_count, COALESCE(bytes, 0) AS byte_count
    FROM druid_segments LEFT JOIN segment_schemas ON segment_id = id"#;

fn page(limit: u32) -> u32 {
    if limit == 0 { PAGE } else { limit.min(PAGE) }
}

fn interval(row: &AnyRow) -> Result<Interval, StoreError> {
    Ok(Interval {
        start_ms: read_instant(row, "start")?,
        end_ms: read_instant(row, "end")?,
    })
}

fn segment(row: &AnyRow) -> Result<v1::SegmentInfo, StoreError> {
    let payload: Vec<u8> = row.try_get("payload")?;
    let upgraded_from: Option<String> = row.try_get("upgraded_from_segment_id")?;
    Ok(v1::SegmentInfo {
        id: row.try_get("id")?,
        interval: Some(interval(row)?.into()),
        version: row.try_get("version")?,
        payload_json: String::from_utf8(payload).map_err(|error| StoreError::Malformed {
            what: "segment payload",
            reason: error.to_string(),
        })?,
        created: row.try_get("created_date")?,
        used_status_last_updated: row.try_get("used_status_last_updated")?,
        rows: uint(row.try_get("row_count")?),
        bytes: uint(row.try_get("byte_count")?),
        upgraded_from: upgraded_from.unwrap_or_default(),
    })
}

fn sums(row: &AnyRow) -> Result<v1::IntervalSums, StoreError> {
    Ok(v1::IntervalSums {
        interval: Some(interval(row)?.into()),
        segments: uint(row.try_get("segments")?),
        rows: uint(row.try_get("row_count")?),
        bytes: uint(row.try_get("byte_count")?),
    })
}

const SUMS: &str = "COUNT(*) AS segments, CAST(COALESCE(SUM(rows), 0) AS BIGINT) AS row_count,
    CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS byte_count
    FROM druid_segments LEFT JOIN segment_schemas ON segment_id = id";

impl Store {
    /// Segments after that one, by start, end, version and partition number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page_segments(
        &self,
        request: &v1::PageSegmentsRequest,
    ) -> Result<Vec<v1::SegmentInfo>, StoreError> {
        retried(|| self.page_segments_once(request)).await
    }

    async fn page_segments_once(
        &self,
        request: &v1::PageSegmentsRequest,
    ) -> Result<Vec<v1::SegmentInfo>, StoreError> {
        // Ids of one chunk and version differ in their partition number alone: the longer, the higher.
        let behind = match request.after {
            Some(_) => {
                r#"AND start >= $3 AND (start > $3 OR "end" > $4 OR ("end" = $4 AND (version > $5 OR (version = $5
                   AND (length(id) > $6 OR (length(id) = $6 AND id > $7))))))"#
            }
            None => "",
        };
        let sql = format!(
            r#"SELECT {SEGMENT} WHERE dataSource = $1 AND used = $2 {behind}
               ORDER BY start, "end", version, length(id), id LIMIT {}"#,
            page(request.limit)
        );
        let mut query = sqlx::query(&sql).bind(&request.datasource).bind(!request.unused);
        if let Some(after) = &request.after {
            let interval = after.interval.unwrap_or_default();
            query = query
                .bind(format_ms(interval.start_ms))
                .bind(format_ms(interval.end_ms))
                .bind(&after.version)
                .bind(i64::try_from(after.id.chars().count()).unwrap_or(i64::MAX))
                .bind(&after.id);
        }
        query.fetch_all(&self.reader).await?.iter().map(segment).collect()
    }

    /// One segment, and whether it is used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find_segment(
        &self,
        datasource: &str,
        id: &str,
    ) -> Result<Option<(v1::SegmentInfo, bool)>, StoreError> {
        retried(|| async {
            let sql = format!("SELECT {SEGMENT} WHERE dataSource = $1 AND id = $2");
            let row = sqlx::query(&sql)
                .bind(datasource)
                .bind(id)
                .fetch_optional(&self.reader)
                .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some((segment(&row)?, row.try_get::<i64, _>("is_used")? != 0)))
        })
        .await
    }

    /// Intervals of used segments before that one, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page_intervals(
        &self,
        request: &v1::PageIntervalsRequest,
    ) -> Result<Vec<v1::IntervalSums>, StoreError> {
        retried(|| self.page_intervals_once(request)).await
    }

    async fn page_intervals_once(
        &self,
        request: &v1::PageIntervalsRequest,
    ) -> Result<Vec<v1::IntervalSums>, StoreError> {
        let before = match request.after {
            Some(_) => r#"AND start <= $3 AND (start < $3 OR "end" < $4)"#,
            None => "",
        };
        let sql = format!(
            r#"SELECT start, "end", {SUMS} WHERE dataSource = $1 AND used = $2 {before}
               GROUP BY start, "end" ORDER BY start DESC, "end" DESC LIMIT {}"#,
            page(request.limit)
        );
        let mut query = sqlx::query(&sql).bind(&request.datasource).bind(true);
        if let Some(after) = request.after {
            query = query
                .bind(format_ms(after.start_ms))
                .bind(format_ms(after.end_ms));
        }
        query.fetch_all(&self.reader).await?.iter().map(sums).collect()
    }

    /// Datasources with what their used segments sum up to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn datasources(
        &self,
        request: &v1::DatasourcesRequest,
    ) -> Result<Vec<v1::DatasourceSums>, StoreError> {
        retried(|| async {
            let mut snapshot = self.reader.begin_with(self.dialect.begin_snapshot()).await?;
            let mut found = used_datasources(&mut snapshot, &request.datasource).await?;
            if request.include_unused {
                add_unused(&mut snapshot, &request.datasource, &mut found).await?;
            }
            Ok(found)
        })
        .await
    }
}

/// Folded while they are read: there may be as many intervals as segments.
async fn used_datasources(
    connection: &mut AnyConnection,
    datasource: &str,
) -> Result<Vec<v1::DatasourceSums>, StoreError> {
    let sql = format!(
        r#"SELECT dataSource AS name, MIN(created_date) AS created, start, "end", {SUMS}
           WHERE used = $1 AND (dataSource = $2 OR $3) GROUP BY dataSource, start, "end" ORDER BY dataSource"#
    );
    let mut rows = sqlx::query(&sql)
        .bind(true)
        .bind(datasource)
        .bind(datasource.is_empty())
        .fetch(connection);
    let mut found: Vec<v1::DatasourceSums> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (name, created): (String, String) = (row.try_get("name")?, row.try_get("created")?);
        let (stretch, sums) = (interval(&row)?, sums(&row)?);
        let known = found.last_mut().filter(|known| known.datasource == name);
        let Some(known) = known else {
            found.push(v1::DatasourceSums {
                datasource: name,
                interval: Some(stretch.into()),
                segments: sums.segments,
                rows: sums.rows,
                bytes: sums.bytes,
                created,
            });
            continue;
        };
        let hull = known.interval.get_or_insert_with(|| stretch.into());
        hull.start_ms = hull.start_ms.min(stretch.start_ms);
        hull.end_ms = hull.end_ms.max(stretch.end_ms);
        known.segments += sums.segments;
        known.rows += sums.rows;
        known.bytes += sums.bytes;
        known.created = known.created.clone().min(created);
    }
    Ok(found)
}

async fn add_unused(
    connection: &mut AnyConnection,
    datasource: &str,
    found: &mut Vec<v1::DatasourceSums>,
) -> Result<(), StoreError> {
    let sql = "SELECT DISTINCT dataSource FROM druid_segments WHERE used = $1 AND (dataSource = $2 OR $3)";
    let names: Vec<String> = sqlx::query_scalar(sql)
        .bind(false)
        .bind(datasource)
        .bind(datasource.is_empty())
        .fetch_all(connection)
        .await?;
    for name in names {
        if !found.iter().any(|known| known.datasource == name) {
            found.push(v1::DatasourceSums {
                datasource: name,
                ..Default::default()
            });
        }
    }
    found.sort_by(|a, b| a.datasource.cmp(&b.datasource));
    Ok(())
}
