//! Looking at a store from outside: whether it can be reached, and whether this version may use it. Nothing of it is
//! changed, and no lock of an Overlord that runs is taken.

use std::path::Path;

use sqlx::{AnyConnection, Connection};

use super::connect::look_at;
use super::{Dialect, MetadataUrl, StoreError, schema};

/// What a store is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Number of its schema; `None` while it has no tables of ours.
    pub schema: Option<i64>,
    /// The number that this version makes.
    pub known: i64,
    /// Milliseconds since the epoch by the server's clock; a file has none.
    pub clock_ms: Option<i64>,
    /// Why an Overlord could not write it, where that shows without trying.
    pub not_writable: Option<String>,
}

/// Looks at a store; a SQLite file that is not there is one without tables.
///
/// # Errors
/// When it cannot be reached, is no database, or needs a later version ([`StoreError::TooNew`]).
pub async fn inspect(url: &MetadataUrl) -> Result<Inspection, StoreError> {
    if let MetadataUrl::Sqlite(path) = url
        && !path.try_exists()?
    {
        return Ok(Inspection {
            schema: None,
            known: schema::known(),
            clock_ms: None,
            not_writable: None,
        });
    }
    let (dialect, mut connection) = look_at(url).await?;
    let inspected = look(&mut connection, dialect, url).await;
    connection.close().await?;
    inspected
}

async fn look(
    connection: &mut AnyConnection,
    dialect: Dialect,
    url: &MetadataUrl,
) -> Result<Inspection, StoreError> {
    let has_tables: i64 = sqlx::query_scalar(match dialect {
        Dialect::Sqlite => {
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
        }
        Dialect::Postgres => {
            "SELECT COUNT(*) FROM pg_catalog.pg_tables
             WHERE tablename = 'schema_version' AND schemaname::text = ANY (current_schemas(false)::text[])"
        }
    })
    .fetch_one(&mut *connection)
    .await?;
    let schema = match has_tables {
        0 => None,
        _ => Some(schema::usable(connection).await?),
    };
    let (clock_ms, not_writable) = match url {
        MetadataUrl::Sqlite(path) => (None, unwritable_file(path)),
        MetadataUrl::Postgres(_) => {
            let not_writable = unwritable(connection, schema).await?;
            // Last, so that the caller knows when it was asked.
            (Some(clock(connection).await?), not_writable)
        }
    };
    Ok(Inspection {
        schema,
        known: schema::known(),
        clock_ms,
        not_writable,
    })
}

async fn clock(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let clock = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)");
    Ok(clock.fetch_one(connection).await?)
}

/// Why the user could not write a PostgreSQL store.
async fn unwritable(
    connection: &mut AnyConnection,
    schema: Option<i64>,
) -> Result<Option<String>, StoreError> {
    let (question, refusal) = match schema {
        None => (
            "SELECT has_schema_privilege(current_schema(), 'CREATE')",
            "the user may not create tables in its schema",
        ),
        Some(_) => (
            "SELECT has_table_privilege('leadership', 'UPDATE') AND has_table_privilege('druid_segments', 'INSERT')",
            "the user may not write the tables",
        ),
    };
    if answer(connection, "SELECT pg_is_in_recovery()").await? {
        return Ok(Some("the server is a standby, which takes no writes".to_owned()));
    }
    let may = answer(connection, question).await?;
    Ok((!may).then(|| refusal.to_owned()))
}

async fn answer(connection: &mut AnyConnection, question: &'static str) -> Result<bool, StoreError> {
    let answer: Option<bool> = sqlx::query_scalar(question).fetch_one(connection).await?;
    Ok(answer == Some(true))
}

/// Why this process could not write a SQLite file.
fn unwritable_file(path: &Path) -> Option<String> {
    let opened = std::fs::OpenOptions::new().append(true).open(path);
    opened.err().map(|error| error.to_string())
}
