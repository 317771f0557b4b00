//! Opening a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sarsen_kernel::secret::Secret;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection, Executor};

use crate::options::METADATA_CONNECTIONS;

use super::{Dialect, Store, StoreError, schema};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataUrl {
    /// A file, which is made when it is not there.
    Sqlite(PathBuf),
    /// `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?…]`; the database must be there, the tables need not.
    Postgres(Secret),
}

impl MetadataUrl {
    /// Reads `sqlite:PATH` or `postgres://…`.
    pub fn parse(url: &str) -> Option<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Some(MetadataUrl::Postgres(Secret::new(url)));
        }
        let path = url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))?;
        (!path.is_empty()).then(|| MetadataUrl::Sqlite(PathBuf::from(path)))
    }
}

/// Without the password.
impl std::fmt::Display for MetadataUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MetadataUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            MetadataUrl::Postgres(url) => {
                let url = url.expose();
                let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
                let place = place.split_once("://").map_or(place, |(_, place)| place);
                write!(f, "postgres://{}", place.split('?').next().unwrap_or(place))
            }
        }
    }
}

/// Connections that read SQLite; they do not wait for the writer in WAL mode.
const SQLITE_READERS: u32 = 4;

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// Opens a store, and makes or brings up to date its tables.
    ///
    /// # Errors
    /// When it cannot be reached, is no database, or was written by a later version.
    pub async fn open(url: &MetadataUrl) -> Result<Store, StoreError> {
        Store::open_pooled(url, METADATA_CONNECTIONS).await
    }

    /// The same with so many connections at the most; it has one that writes, whatever their number.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_pooled(url: &MetadataUrl, connections: u32) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, writer, reader) = match url {
            MetadataUrl::Sqlite(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let writer = sqlite(path, "rwc", 1).await?;
                schema::bring_up_to_date(&writer, Dialect::Sqlite).await?;
                let reader = sqlite(path, "ro", SQLITE_READERS).await?;
                (Dialect::Sqlite, writer, reader)
            }
            MetadataUrl::Postgres(url) => {
                let pool = postgres(url.expose(), connections).await?;
                schema::bring_up_to_date(&pool, Dialect::Postgres).await?;
                (Dialect::Postgres, pool.clone(), pool)
            }
        };
        let store = Store {
            dialect,
            writer,
            reader,
            catalog: Arc::default(),
            term: Arc::default(),
        };
        store.warm_catalog().await?;
        Ok(store)
    }
}

impl Store {
    /// Opens a store that is there, to read it only: nothing of it is changed or brought up to date.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) async fn read_only(url: &MetadataUrl) -> Result<Store, StoreError> {
        sqlx::any::install_default_drivers();
        let (dialect, pool) = match url {
            MetadataUrl::Sqlite(path) => (Dialect::Sqlite, sqlite(path, "ro", 1).await?),
            MetadataUrl::Postgres(url) => (Dialect::Postgres, postgres(url.expose(), 1).await?),
        };
        Ok(Store {
            dialect,
            writer: pool.clone(),
            reader: pool,
            catalog: Arc::default(),
            term: Arc::default(),
        })
    }
}

/// One connection to a store that is there, by which nothing is changed. A file that nobody has open is read as it is, so
/// that no file beside it is made and no lock is taken.
///
/// # Errors
/// When it cannot be reached, at once.
pub(super) async fn look_at(url: &MetadataUrl) -> Result<(Dialect, AnyConnection), StoreError> {
    sqlx::any::install_default_drivers();
    match url {
        MetadataUrl::Sqlite(path) => {
            let mut log = path.as_os_str().to_owned();
            log.push("-wal");
            let mode = match Path::new(&log).try_exists()? {
                true => "ro",
                false => "ro&immutable=1",
            };
            let connection = AnyConnection::connect(sqlite_url(path, mode)?.as_str()).await?;
            Ok((Dialect::Sqlite, connection))
        }
        MetadataUrl::Postgres(url) => {
            let connection = AnyConnection::connect(url.expose()).await?;
            Ok((Dialect::Postgres, connection))
        }
    }
}

/// A file as the driver names it, opened in a mode.
fn sqlite_url(path: &Path, mode: &str) -> Result<url::Url, StoreError> {
    let mut url = url::Url::parse("sqlite:///").map_err(|error| StoreError::Malformed {
        what: "path of the metadata store",
        reason: error.to_string(),
    })?;
    let path = std::path::absolute(path)?;
    url.set_path(&path.to_string_lossy());
    url.set_query(Some(&format!("mode={mode}")));
    Ok(url)
}

/// Connections are files of this machine: they do not go bad, and testing them costs latency.
async fn sqlite(path: &Path, mode: &str, connections: u32) -> Result<AnyPool, StoreError> {
    let url = sqlite_url(path, mode)?;
    let pragmas = match mode {
        "ro" => "PRAGMA busy_timeout = 10000",
        _ => "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
    };
    let options = AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(pragmas).await?;
                Ok(())
            })
        });
    Ok(options.connect(url.as_str()).await?)
}

/// A connection that was lost is noticed before it is used, and made anew.
async fn postgres(url: &str, connections: u32) -> Result<AnyPool, StoreError> {
    let options = AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .test_before_acquire(true)
        .acquire_timeout(PATIENCE);
    Ok(options.connect(url).await?)
}

#[cfg(test)]
mod tests {
    use super::MetadataUrl;

    #[test]
    fn a_shown_url_has_no_password() {
        let shown = |url: &str| MetadataUrl::parse(url).map(|url| url.to_string());
        assert_eq!(
            shown("postgres://druid:secret@db:5432/druid?sslmode=require").as_deref(),
            Some("postgres://db:5432/druid")
        );
        let url = MetadataUrl::parse("postgres://druid:secret@db/druid");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(shown("sqlite:/data/m.db").as_deref(), Some("sqlite:/data/m.db"));
        assert_eq!(shown("mysql://x"), None);
        assert_eq!(shown("sqlite:"), None);
    }
}
