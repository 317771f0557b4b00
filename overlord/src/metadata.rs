//! The metadata store: SQLite, which the Overlord alone opens, or PostgreSQL. One text of SQL serves both; where they
//! differ, [`Dialect`] says so.
//!
//! `druid_segments` and `druid_dataSource` have Druid's shape; the other tables are ours (`schema`).

mod allocate;
mod carry;
mod catalog;
mod configs;
mod connect;
mod inspect;
mod listing;
mod mark;
mod portable;
mod publish;
mod retry;
mod schema;
mod security;
mod segments;
mod standing;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::Mutex;

use catalog::CatalogCache;
use retry::retried;

pub use allocate::AllocationMode;
pub use connect::MetadataUrl;
pub use inspect::{Inspection, inspect};
pub use mark::MarkScope;
pub use portable::{Counts, backup, portable_tables, restore};
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
    #[error(
        "the store was written by a later version of Sarsen: its schema has number {found} and needs a version that knows \
         number {least} at least, this one knows {known}"
    )]
    TooNew { found: i64, known: i64, least: i64 },
    #[error(
        "its schema has number {found}, and this version of Sarsen knows number {known}: use the version that wrote it, or \
         let an Overlord of this version bring the store up to date first"
    )]
    OtherSchema { found: i64, known: i64 },
    #[error("a backup is restored into an empty store that no Overlord has used yet: {0}")]
    NotEmpty(String),
    #[error("another Overlord leads: this one's term is {ours}, the store's {current}")]
    Fenced { ours: i64, current: i64 },
    /// Somebody else changed what the request relies on.
    #[error("{0}")]
    Conflict(String),
    /// Something was published where the segments belong: another allocation may do.
    #[error("{0}")]
    Superseded(String),
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Begins a transaction that reads one moment of the store.
    fn begin_snapshot(self) -> &'static str {
        match self {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }
}

/// The opened store.
#[derive(Debug, Clone)]
pub struct Store {
    dialect: Dialect,
    writer: AnyPool,
    reader: AnyPool,
    catalog: Arc<Mutex<CatalogCache>>,
    /// The term under which this process leads; 0 before it does.
    term: Arc<AtomicI64>,
}

/// Key of the advisory lock that a writing transaction holds in PostgreSQL.
const WRITE_LOCK: i64 = 0x5361_7273_656e;

impl Store {
    /// Begins to lead: nobody who led before writes any more. Answers the term.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lead(&self) -> Result<u64, StoreError> {
        retried(|| self.lead_once()).await
    }

    async fn lead_once(&self) -> Result<u64, StoreError> {
        let mut tx = begin_write(&self.writer, self.dialect).await?;
        let term: i64 = sqlx::query_scalar("UPDATE leadership SET term = term + 1 RETURNING term")
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        self.term.store(term, Ordering::SeqCst);
        // Another Overlord may have published since this one opened the store.
        self.warm_catalog().await?;
        Ok(uint(term))
    }

    /// Whether the term is still the one under which this process began to lead.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leads(&self) -> Result<bool, StoreError> {
        let current: i64 = retried(|| async {
            let term = sqlx::query_scalar("SELECT term FROM leadership");
            Ok(term.fetch_one(&self.reader).await?)
        })
        .await?;
        Ok(current == self.term.load(Ordering::SeqCst))
    }

    /// A transaction that holds the write lock from its start, so that what it reads stays true until it commits.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another Overlord leads.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut tx = begin_write(&self.writer, self.dialect).await?;
        let current: i64 = sqlx::query_scalar("SELECT term FROM leadership")
            .fetch_one(&mut *tx)
            .await?;
        let ours = self.term.load(Ordering::SeqCst);
        if ours != current {
            return Err(StoreError::Fenced { ours, current });
        }
        Ok(tx)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

async fn begin_write(writer: &AnyPool, dialect: Dialect) -> Result<Transaction<'static, Any>, StoreError> {
    match dialect {
        Dialect::Sqlite => Ok(writer.begin_with("BEGIN IMMEDIATE").await?),
        Dialect::Postgres => {
            let mut tx = writer.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1) IS NULL")
                .bind(WRITE_LOCK)
                .execute(&mut *tx)
                .await?;
            Ok(tx)
        }
    }
}

/// The databases' integers are signed; ours never get near the border.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
