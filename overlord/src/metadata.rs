//! The metadata store: SQLite with one writer connection, opened by the Overlord alone.
//!
//! `druid_segments` and `druid_dataSource` have Druid's shape; the other tables are ours (`schema`).

mod allocate;
mod catalog;
mod publish;
mod schema;
mod segments;
mod tasks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::Mutex;

use catalog::CatalogCache;

pub use allocate::AllocationMode;
pub use publish::{Publication, Published};
pub use tasks::{EndedFilter, OpenTask, TaskEnd, TaskRow};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}")]
    Sql(#[from] sqlx::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the store holds a malformed {what}: {reason}")]
    Malformed { what: &'static str, reason: String },
    /// Somebody else changed what the request relies on.
    #[error("{0}")]
    Conflict(String),
}

/// Connections that read; SQLite readers do not wait for the writer in WAL mode.
const READERS: u32 = 4;

/// The opened store.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
    catalog: Arc<Mutex<CatalogCache>>,
}

impl Store {
    /// Opens the database file, and makes it when it is not there.
    ///
    /// # Errors
    /// When the file cannot be made or is not a database.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        // Connections are files of this machine: they do not go bad, and testing them costs latency.
        let pool = |size: u32| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .min_connections(1)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::raw_sql(schema::SCHEMA).execute(&writer).await?;
        let reader = pool(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        let store = Store {
            writer,
            reader,
            catalog: Arc::default(),
        };
        store.warm_catalog().await?;
        Ok(store)
    }

    /// A transaction that holds the write lock from its start, so that what it reads stays true until it commits.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// SQLite's integers are signed; ours never get near the border.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
