//! Tables as the union of their published segments, kept in memory until the next publish into them.

use std::collections::{BTreeMap, BTreeSet};

use sarsen_proto::v1;
use serde::{Deserialize, Serialize};
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

/// What is known of the tables, and which of them changed since.
#[derive(Debug, Default)]
pub(super) struct CatalogCache {
    version: u64,
    tables: BTreeMap<String, v1::Table>,
    stale: BTreeSet<String>,
}

impl CatalogCache {
    /// A publish into a datasource has been committed.
    pub(super) fn published(&mut self, datasource: &str, version: u64) {
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
        if !stale.is_empty() {
            let mut connection = self.reader.acquire().await?;
            for datasource in stale {
                match read_table(&mut connection, &datasource).await? {
                    Some(table) => cache.tables.insert(datasource.clone(), table),
                    None => cache.tables.remove(&datasource),
                };
                cache.stale.remove(&datasource);
            }
        }
        let tables = cache
            .tables
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(_, table)| table.clone());
        Ok(v1::Catalog {
            version: cache.version,
            tables: tables.collect(),
        })
    }
}

/// One group per distinct schema: segments are many, schemas few.
async fn read_table(
    connection: &mut AnyConnection,
    datasource: &str,
) -> Result<Option<v1::Table>, StoreError> {
    let sql = "SELECT columns, CAST(SUM(rows) AS BIGINT) AS row_count, CAST(SUM(bytes) AS BIGINT) AS byte_count, \
               COUNT(*) AS segments \
               FROM druid_segments JOIN segment_schemas ON segment_id = id \
               WHERE dataSource = $1 AND used = $2 GROUP BY columns ORDER BY MIN(seq)";
    let groups = sqlx::query(sql)
        .bind(datasource)
        .bind(true)
        .fetch_all(connection)
        .await?;
    if groups.is_empty() {
        return Ok(None);
    }
    let mut table = v1::Table {
        datasource: datasource.to_owned(),
        ..v1::Table::default()
    };
    let mut schemas = Vec::with_capacity(groups.len());
    for group in &groups {
        let columns: String = group.try_get("columns")?;
        let columns: Vec<StoredColumn> =
            serde_json::from_str(&columns).map_err(|error| StoreError::Malformed {
                what: "segment schema",
                reason: error.to_string(),
            })?;
        schemas.push(columns);
        table.rows += uint(group.try_get("row_count")?);
        table.bytes += uint(group.try_get("byte_count")?);
        table.segments += uint(group.try_get("segments")?);
    }
    table.columns = union(schemas);
    Ok(Some(table))
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
