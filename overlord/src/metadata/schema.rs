//! The tables.

/// Makes what is not there yet.
pub(super) const SCHEMA: &str = r#"
CREATE TABLE IF NOT EXISTS druid_segments (
    id VARCHAR(255) NOT NULL PRIMARY KEY,
    dataSource VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    start VARCHAR(255) NOT NULL,
    "end" VARCHAR(255) NOT NULL,
    partitioned BOOLEAN NOT NULL,
    version VARCHAR(255) NOT NULL,
    used BOOLEAN NOT NULL,
    payload BLOB NOT NULL,
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
    commit_metadata_payload BLOB NOT NULL,
    commit_metadata_sha1 VARCHAR(255) NOT NULL
);

CREATE TABLE IF NOT EXISTS segment_schemas (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    segment_id TEXT NOT NULL UNIQUE,
    columns TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);

-- One row: grows with each publish.
CREATE TABLE IF NOT EXISTS metadata_version (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
);
INSERT OR IGNORE INTO metadata_version VALUES (1, 0);

-- state is a TaskState; PENDING stands for every task that has not ended. location is empty until a controller was
-- given the task.
CREATE TABLE IF NOT EXISTS tasks (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    datasource TEXT NOT NULL,
    state INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    location TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    error TEXT NOT NULL,
    spec BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_tasks_state ON tasks (state, seq);
CREATE INDEX IF NOT EXISTS idx_tasks_datasource ON tasks (datasource, seq);

CREATE TABLE IF NOT EXISTS publishes (
    task_id TEXT NOT NULL PRIMARY KEY,
    metadata_version INTEGER NOT NULL,
    segments INTEGER NOT NULL
);

-- Partition numbers that running tasks will publish under.
CREATE TABLE IF NOT EXISTS allocations (
    task_id TEXT NOT NULL,
    datasource TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    version TEXT NOT NULL,
    first_partition INTEGER NOT NULL,
    partitions INTEGER NOT NULL,
    PRIMARY KEY (task_id, start_ms, end_ms)
);
CREATE INDEX IF NOT EXISTS idx_allocations_datasource ON allocations (datasource, end_ms);

CREATE TABLE IF NOT EXISTS checkpoints (
    task_id TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    state BLOB NOT NULL
);
"#;
