//! The tables, and how those of an earlier version become those of this one.

use sqlx::{AnyConnection, AnyPool, Executor};

use super::segments::LONG;
use super::{Dialect, StoreError, begin_write};

/// What each version of the schema added, oldest first; what was released is never changed. `{bytes}` and `{serial}` are
/// words of the dialect.
const MIGRATIONS: [&str; 6] = [
    FIRST,
    LEADERSHIP,
    CONCURRENT_REPLACE,
    SECURITY,
    COMPATIBILITY,
    COORDINATOR,
];

/// The lowest number that a version of Sarsen must know to use the schema that this one makes. Migrations only add, so that
/// this is what the release before knew: an Overlord of that release goes on while the cluster is upgraded. It is raised,
/// a release later, by what is more than an addition.
const LEAST_COMPATIBLE: i64 = 4;

/// What an earlier version asks a schema that it does not know: one row with [`LEAST_COMPATIBLE`] of whoever made it.
const COMPATIBILITY: &str = "
CREATE TABLE schema_compatibility (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    least BIGINT NOT NULL
);
INSERT INTO schema_compatibility VALUES (1, 0);
";

/// The term of the Overlord that leads: whoever begins to lead raises it, and every write compares it.
const LEADERSHIP: &str = "
CREATE TABLE leadership (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    term BIGINT NOT NULL
);
INSERT INTO leadership VALUES (1, 0);
";

/// Segments by where they begin, with what decisions ask of them; and the few that are not found so. `{long}` is
/// [`super::segments::LONG`].
///
/// REPLACE tasks beside which others may append: what was published with a later `segment_schemas.seq` than this was
/// appended while they run, and is carried over to what they publish.
const CONCURRENT_REPLACE: &str = "
CREATE TABLE replacing (
    task_id TEXT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);
CREATE INDEX idx_druid_segments_chunk ON druid_segments (dataSource, start, \"end\", version, used);
DROP INDEX IF EXISTS idx_druid_segments_odd_years;
CREATE INDEX idx_druid_segments_long ON druid_segments (dataSource, used) WHERE {long};
";

/// The schema's number that this version makes.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The number of a store's schema; 0 for one without tables.
pub(super) async fn version(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let version = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_version");
    Ok(version.fetch_one(connection).await?)
}

/// The number of a store's schema, if this version may use it.
///
/// # Errors
/// [`StoreError::TooNew`] when it says that it needs a later version.
pub(super) async fn usable(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let (found, known) = (version(connection).await?, known());
    if found > known {
        let least = sqlx::query_scalar("SELECT least FROM schema_compatibility").fetch_optional(connection);
        let least: i64 = least.await?.unwrap_or(found);
        if known < least {
            return Err(StoreError::TooNew { found, known, least });
        }
    }
    Ok(found)
}

/// Whether a backup of a schema holds what this version needs: of one that it may use, and that may use what this one makes.
pub(super) fn is_portable(schema: i64) -> bool {
    (LEAST_COMPATIBLE..=known()).contains(&schema)
}

/// Users, roles and tokens: one row with a `SecurityState` message, or none before there are any.
const SECURITY: &str = "
CREATE TABLE security (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version BIGINT NOT NULL,
    state {bytes} NOT NULL
);
";

/// Configurations that clients store, with their history; and the worker tasks of ended tasks, a `WorkerTaskList` message each.
const COORDINATOR: &str = "
CREATE TABLE configs (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE config_history (
    seq BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    author TEXT NOT NULL,
    remark TEXT NOT NULL,
    remote TEXT NOT NULL,
    changed_ms BIGINT NOT NULL
);
CREATE INDEX idx_config_history ON config_history (kind, name, seq);
CREATE INDEX idx_tasks_datasource_state ON tasks (datasource, state, seq);
CREATE TABLE worker_tasks (
    task_id TEXT NOT NULL PRIMARY KEY,
    workers {bytes} NOT NULL
);
";

/// Runs the migrations that the store has not seen.
pub(super) async fn bring_up_to_date(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let mut tx = begin_write(pool, dialect).await?;
    tx.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        .await?;
    let (found, known) = (usable(&mut tx).await?, known());
    if found > known {
        tracing::info!(
            found,
            known,
            "the metadata store has the schema of a later version, which this one can use"
        );
        return Ok(tx.commit().await?);
    }
    for (number, migration) in (1_i64..).zip(MIGRATIONS) {
        if number <= found {
            continue;
        }
        let sql = in_dialect(migration, dialect);
        tx.execute(sqlx::raw_sql(&sql)).await?;
        sqlx::query("INSERT INTO schema_version VALUES ($1)")
            .bind(number)
            .execute(&mut *tx)
            .await?;
    }
    if found < known {
        sqlx::query("UPDATE schema_compatibility SET least = $1")
            .bind(LEAST_COMPATIBLE)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

fn in_dialect(sql: &str, dialect: Dialect) -> String {
    let (bytes, serial) = match dialect {
        Dialect::Sqlite => ("BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        Dialect::Postgres => ("BYTEA", "BIGSERIAL PRIMARY KEY"),
    };
    sql.replace("{bytes}", bytes)
        .replace("{serial}", serial)
        .replace("{long}", LONG)
}

/// Makes what is not there yet: Druid's own tables may be.
const FIRST: &str = r#"
CREATE TABLE IF NOT EXISTS druid_segments (
    id VARCHAR(255) NOT NULL PRIMARY KEY,
    dataSource VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    start VARCHAR(255) NOT NULL,
    "end" VARCHAR(255) NOT NULL,
    partitioned BOOLEAN NOT NULL,
    version VARCHAR(255) NOT NULL,
    used BOOLEAN NOT NULL,
    payload {bytes} NOT NULL,
    used_status_last_updated VARCHAR(255) NOT NULL,
    indexing_state_fingerprint VARCHAR(255),
    upgraded_from_segment_id VARCHAR(255)
);
CREATE INDEX IF NOT EXISTS idx_druid_segments_datasource_used_end_start
    ON druid_segments (dataSource, used, "end", start);
CREATE INDEX IF NOT EXISTS idx_druid_segments_datasource_upgraded_from_segment_id
    ON druid_segments (dataSource, upgraded_from_segment_id);
-- Years of other than four digits do not compare as text; there are few such segments (ALL).
CREATE INDEX IF NOT EXISTS idx_druid_segments_odd_years
    ON druid_segments (dataSource, used) WHERE length(start) <> 24 OR length("end") <> 24;

CREATE TABLE IF NOT EXISTS druid_dataSource (
    dataSource VARCHAR(255) NOT NULL PRIMARY KEY,
    created_date VARCHAR(255) NOT NULL,
    commit_metadata_payload {bytes} NOT NULL,
    commit_metadata_sha1 VARCHAR(255) NOT NULL
);

CREATE TABLE IF NOT EXISTS segment_schemas (
    seq {serial},
    segment_id TEXT NOT NULL UNIQUE,
    columns TEXT NOT NULL,
    rows BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- One row: grows with each publish.
CREATE TABLE IF NOT EXISTS metadata_version (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version BIGINT NOT NULL
);
INSERT INTO metadata_version VALUES (1, 0) ON CONFLICT DO NOTHING;

-- state is a TaskState; PENDING stands for every task that has not ended. location is empty until a controller was
-- given the task.
CREATE TABLE IF NOT EXISTS tasks (
    seq BIGINT PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    datasource TEXT NOT NULL,
    state INTEGER NOT NULL,
    epoch BIGINT NOT NULL,
    location TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    error TEXT NOT NULL,
    spec {bytes} NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_tasks_state ON tasks (state, seq);
CREATE INDEX IF NOT EXISTS idx_tasks_datasource ON tasks (datasource, seq);

CREATE TABLE IF NOT EXISTS publishes (
    task_id TEXT NOT NULL PRIMARY KEY,
    metadata_version BIGINT NOT NULL,
    segments BIGINT NOT NULL
);

-- Partition numbers that running tasks will publish under.
CREATE TABLE IF NOT EXISTS allocations (
    task_id TEXT NOT NULL,
    datasource TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    version TEXT NOT NULL,
    first_partition BIGINT NOT NULL,
    partitions BIGINT NOT NULL,
    PRIMARY KEY (task_id, start_ms, end_ms)
);
CREATE INDEX IF NOT EXISTS idx_allocations_datasource ON allocations (datasource, end_ms);

CREATE TABLE IF NOT EXISTS checkpoints (
    task_id TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    state {bytes} NOT NULL
);
"#;
