//! Tables as the union of their published segments, kept in memory and kept current by what is published.

use std::collections::{BTreeMap, BTreeSet};

use sarsen_proto::v1;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::retry::retried;
use super::{Store, StoreError, uint};

/// A column in `segment_schemas`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredColumn {
    name: String,
    #[serde(rename = "type")]
    native_type: String,
}

impl From<&v1::Column> for StoredColumn {
    fn from(column: &v1::Column) -> Self {
        StoredColumn {
            name: column.name.clone(),
            native_type: column.native_type.clone(),
        }
    }
}

/// Segments of one schema: their number, rows and bytes; of a change what was added, or taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) segments: i64,
    pub(super) rows: i64,
    pub(super) bytes: i64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.segments += other.segments;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    fn negated(self) -> Sums {
        Sums {
            segments: -self.segments,
            rows: -self.rows,
            bytes: -self.bytes,
        }
    }
}

/// What a publish changes of a datasource: sums by the JSON of the schema, in order.
#[derive(Debug, Default)]
pub(super) struct Change {
    sums: Vec<(String, Sums)>,
    drops: bool,
}

impl Change {
    pub(super) fn add(&mut self, columns: &str, sums: Sums) {
        match self.sums.iter_mut().find(|(known, _)| known == columns) {
            Some((_, known)) => known.add(sums),
            None => self.sums.push((columns.to_owned(), sums)),
        }
    }

    pub(super) fn drop(&mut self, columns: &str, sums: Sums) {
        self.drops = true;
        self.add(columns, sums.negated());
    }
}

/// A datasource as it was read and as publishes have changed it since.
#[derive(Debug, Default)]
struct Known {
    /// Publishes up to this one were there when it was read.
    version: u64,
    /// By first appearance.
    schemas: Vec<(String, Sums)>,
    table: v1::Table,
}

impl Known {
    fn of(datasource: &str, version: u64, schemas: Vec<(String, Sums)>) -> Result<Known, StoreError> {
        let table = table(datasource, &schemas)?;
        Ok(Known {
            version,
            schemas,
            table,
        })
    }

    /// As it is after a change; `None` when only reading it tells.
    fn after(&self, datasource: &str, change: &Change) -> Option<Known> {
        let mut schemas = self.schemas.clone();
        for (columns, sums) in &change.sums {
            match schemas.iter_mut().find(|(known, _)| known == columns) {
                Some((_, known)) => known.add(*sums),
                None => schemas.push((columns.clone(), *sums)),
            }
        }
        // Which of several schemas appears first may be another one now.
        if change.drops && schemas.len() > 1 {
            return None;
        }
        schemas.retain(|(_, sums)| sums.segments > 0);
        Known::of(datasource, self.version, schemas).ok()
    }
}

/// What is known of the tables, and which of them have to be read.
#[derive(Debug, Default)]
pub(super) struct CatalogCache {
    version: u64,
    tables: BTreeMap<String, Known>,
    stale: BTreeSet<String>,
}

impl CatalogCache {
    /// A publish into a datasource has been committed; each is told once, in whatever order.
    pub(super) fn published(&mut self, datasource: &str, version: u64, change: &Change) {
        self.version = self.version.max(version);
        if self.stale.contains(datasource) {
            return;
        }
        let known = self.tables.entry(datasource.to_owned()).or_default();
        if version <= known.version {
            return;
        }
        match known.after(datasource, change) {
            Some(after) => *known = after,
            None => drop(self.stale.insert(datasource.to_owned())),
        }
    }

    /// A datasource may have changed in some way.
    pub(super) fn forget(&mut self, datasource: &str, version: u64) {
        self.version = self.version.max(version);
        self.stale.insert(datasource.to_owned());
    }
}

impl Store {
    /// Notes all datasources that are there, to be read when they are first asked for.
    pub(super) async fn warm_catalog(&self) -> Result<(), StoreError> {
        let version: i64 = sqlx::query_scalar("SELECT version FROM metadata_version")
            .fetch_one(&self.reader)
            .await?;
        let datasources: Vec<String> = sqlx::query_scalar("SELECT DISTINCT dataSource FROM druid_segments")
            .fetch_all(&self.reader)
            .await?;
        let mut cache = self.catalog.lock().await;
        cache.version = uint(version);
        cache.stale.extend(datasources);
        Ok(())
    }

    /// The named tables, or all; those without used segments are not there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catalog(&self, datasources: &[String]) -> Result<v1::Catalog, StoreError> {
        retried(|| self.catalog_once(datasources)).await
    }

    async fn catalog_once(&self, datasources: &[String]) -> Result<v1::Catalog, StoreError> {
        let mut cache = self.catalog.lock().await;
        let wanted = |name: &String| datasources.is_empty() || datasources.contains(name);
        let stale: Vec<String> = cache.stale.iter().filter(|name| wanted(name)).cloned().collect();
        for datasource in stale {
            // The version and the table are of one moment, so that a publish is counted once.
            let mut snapshot = self.reader.begin_with(self.dialect.begin_snapshot()).await?;
            let version: i64 = sqlx::query_scalar("SELECT version FROM metadata_version")
                .fetch_one(&mut *snapshot)
                .await?;
            let schemas = read_schemas(&mut snapshot, &datasource).await?;
            let known = Known::of(&datasource, uint(version), schemas)?;
            cache.stale.remove(&datasource);
            cache.tables.insert(datasource, known);
        }
        let known = cache
            .tables
            .iter()
            .filter(|(name, known)| wanted(name) && !known.schemas.is_empty());
        Ok(v1::Catalog {
            version: cache.version,
            tables: known.map(|(_, known)| known.table.clone()).collect(),
        })
    }
}

/// One group per distinct schema: segments are many, schemas few.
async fn read_schemas(
    connection: &mut AnyConnection,
    datasource: &str,
) -> Result<Vec<(String, Sums)>, StoreError> {
    let sql = format!(
        "SELECT {SUMS} FROM druid_segments JOIN segment_schemas ON segment_id = id \
         WHERE dataSource = $1 AND used = $2 GROUP BY columns ORDER BY MIN(seq)"
    );
    let groups = sqlx::query(&sql)
        .bind(datasource)
        .bind(true)
        .fetch_all(connection)
        .await?;
    groups.iter().map(read_sums).collect()
}

/// What [`read_sums`] reads, grouped by `columns`.
pub(super) const SUMS: &str = "columns, COUNT(*) AS segments, CAST(SUM(rows) AS BIGINT) AS row_count, \
                               CAST(SUM(bytes) AS BIGINT) AS byte_count";

pub(super) fn read_sums(row: &AnyRow) -> Result<(String, Sums), StoreError> {
    let sums = Sums {
        segments: row.try_get("segments")?,
        rows: row.try_get("row_count")?,
        bytes: row.try_get("byte_count")?,
    };
    Ok((row.try_get("columns")?, sums))
}

fn table(datasource: &str, groups: &[(String, Sums)]) -> Result<v1::Table, StoreError> {
    let mut table = v1::Table {
        datasource: datasource.to_owned(),
        ..v1::Table::default()
    };
    let mut schemas = Vec::with_capacity(groups.len());
    for (columns, sums) in groups {
        let columns: Vec<StoredColumn> =
            serde_json::from_str(columns).map_err(|error| StoreError::Malformed {
                what: "segment schema",
                reason: error.to_string(),
            })?;
        schemas.push(columns);
        table.rows += uint(sums.rows);
        table.bytes += uint(sums.bytes);
        table.segments += uint(sums.segments);
    }
    table.columns = union(schemas);
    Ok(table)
}

/// Columns by first appearance, `__time` first, each of the widest of its types.
fn union(schemas: Vec<Vec<StoredColumn>>) -> Vec<v1::Column> {
    let mut columns: Vec<v1::Column> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for column in schemas.into_iter().flatten() {
        let known = places.get(&column.name).and_then(|place| columns.get_mut(*place));
        match known {
            Some(known) => known.native_type = wider(&known.native_type, &column.native_type),
            None => {
                places.insert(column.name.clone(), columns.len());
                columns.push(v1::Column {
                    name: column.name,
                    native_type: column.native_type,
                });
            }
        }
    }
    columns.sort_by_key(|column| column.name != "__time");
    columns
}

/// A type that holds the values of both.
fn wider(a: &str, b: &str) -> String {
    const SCALARS: [&str; 4] = ["LONG", "FLOAT", "DOUBLE", "STRING"];
    if a == b {
        return a.to_owned();
    }
    let element = |native: &str| {
        native
            .strip_prefix("ARRAY<")
            .and_then(|t| t.strip_suffix('>'))
            .map(str::to_owned)
    };
    match (element(a), element(b)) {
        (Some(a), Some(b)) => format!("ARRAY<{}>", wider(&a, &b)),
        (Some(a), None) if SCALARS.contains(&b) => format!("ARRAY<{}>", wider(&a, b)),
        (None, Some(b)) if SCALARS.contains(&a) => format!("ARRAY<{}>", wider(a, &b)),
        (None, None) => {
            let rank = |native: &str| SCALARS.iter().position(|scalar| *scalar == native);
            match (rank(a), rank(b)) {
                (Some(rank_a), Some(rank_b)) if rank_a > rank_b => a.to_owned(),
                (Some(_), Some(_)) => b.to_owned(),
                // Values of a complex type have no other one.
                (Some(_), None) => b.to_owned(),
                _ => a.to_owned(),
            }
        }
        (Some(_), None) => b.to_owned(),
        (None, Some(_)) => a.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wider_type_wins() {
        for (a, b, both) in [
            ("LONG", "FLOAT", "FLOAT"),
            ("DOUBLE", "LONG", "DOUBLE"),
            ("STRING", "DOUBLE", "STRING"),
            ("ARRAY<LONG>", "ARRAY<STRING>", "ARRAY<STRING>"),
            ("LONG", "ARRAY<DOUBLE>", "ARRAY<DOUBLE>"),
            ("STRING", "COMPLEX<json>", "COMPLEX<json>"),
        ] {
            assert_eq!(wider(a, b), both);
            assert_eq!(wider(b, a), both);
        }
    }
}
