//! A store as a portable text: one JSON object a line, a header first and an end last. It is taken from one snapshot of
//! either kind of store, and goes into an empty store of either kind in one transaction.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::publish::rows_of;
use super::{Dialect, MetadataUrl, Store, StoreError, begin_write, schema};
use crate::time::{format_ms, now_ms};

/// Version of the format.
const FORMAT: u32 = 1;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Text or NULL.
    Option,
    Whole,
    Flag,
    /// Written in hexadecimal.
    Bytes,
}

/// A table: name, key by which its rows are ordered, columns.
struct Table {
    name: &'static str,
    /// The first schema that has it, of those that can be carried over; 0: all of them.
    since: i64,
    key: &'static str,
    columns: &'static [(&'static str, Kind)],
}

use Kind::{Bytes, Flag, Option as Maybe, Text, Whole};

/// All tables that hold something, but for the schema's own version.
const TABLES: [Table; 13] = [
    Table {
        name: "druid_segments",
        since: 0,
        key: "id",
        columns: &[
            ("id", Text),
            ("dataSource", Text),
            ("created_date", Text),
            ("start", Text),
            ("end", Text),
            ("partitioned", Flag),
            ("version", Text),
            ("used", Flag),
            ("payload", Bytes),
            ("used_status_last_updated", Text),
            ("indexing_state_fingerprint", Maybe),
            ("upgraded_from_segment_id", Maybe),
        ],
    },
    Table {
        name: "druid_dataSource",
        since: 0,
        key: "dataSource",
        columns: &[
            ("dataSource", Text),
            ("created_date", Text),
            ("commit_metadata_payload", Bytes),
            ("commit_metadata_sha1", Text),
        ],
    },
    Table {
        name: "segment_schemas",
        since: 0,
        key: "seq",
        columns: &[
            ("seq", Whole),
            ("segment_id", Text),
            ("columns", Text),
            ("rows", Whole),
            ("bytes", Whole),
        ],
    },
    Table {
        name: "metadata_version",
        since: 0,
        key: "one",
        columns: &[("one", Whole), ("version", Whole)],
    },
    Table {
        name: "tasks",
        since: 0,
        key: "seq",
        columns: &[
            ("seq", Whole),
            ("task_id", Text),
            ("datasource", Text),
            ("state", Whole),
            ("epoch", Whole),
            ("location", Text),
            ("created_ms", Whole),
            ("started_ms", Whole),
            ("duration_ms", Whole),
            ("error", Text),
            ("spec", Bytes),
        ],
    },
    Table {
        name: "publishes",
        since: 0,
        key: "task_id",
        columns: &[
            ("task_id", Text),
            ("metadata_version", Whole),
            ("segments", Whole),
        ],
    },
    Table {
        name: "allocations",
        since: 0,
        key: "task_id, start_ms, end_ms",
        columns: &[
            ("task_id", Text),
            ("datasource", Text),
            ("start_ms", Whole),
            ("end_ms", Whole),
            ("version", Text),
            ("first_partition", Whole),
            ("partitions", Whole),
        ],
    },
    Table {
        name: "checkpoints",
        since: 0,
        key: "task_id",
        columns: &[("task_id", Text), ("epoch", Whole), ("state", Bytes)],
    },
    Table {
        name: "replacing",
        since: 0,
        key: "task_id",
        columns: &[("task_id", Text), ("since", Whole)],
    },
    Table {
        name: "security",
        since: 0,
        key: "one",
        columns: &[("one", Whole), ("version", Whole), ("state", Bytes)],
    },
    Table {
        name: "configs",
        since: 6,
        key: "kind, name",
        columns: &[("kind", Text), ("name", Text), ("payload", Text)],
    },
    Table {
        name: "config_history",
        since: 6,
        key: "seq",
        columns: &[
            ("seq", Whole),
            ("kind", Text),
            ("name", Text),
            ("payload", Text),
            ("author", Text),
            ("remark", Text),
            ("remote", Text),
            ("changed_ms", Whole),
        ],
    },
    Table {
        name: "worker_tasks",
        since: 6,
        key: "task_id",
        columns: &[("task_id", Text), ("workers", Bytes)],
    },
];

/// Names of the tables that a backup holds, beside the leader's term.
pub fn portable_tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Line {
    Header {
        format: u32,
        schema: i64,
        taken: String,
        term: i64,
    },
    Row {
        table: String,
        row: Map<String, Value>,
    },
    End {
        rows: u64,
    },
}

/// Rows by table.
pub type Counts = BTreeMap<String, u64>;

fn broken(reason: impl std::fmt::Display) -> StoreError {
    StoreError::Malformed {
        what: "backup",
        reason: reason.to_string(),
    }
}

/// Writes one snapshot of a store, which may be in use.
///
/// # Errors
/// When the store cannot be read or has another version's schema, and when `out` fails.
pub async fn backup(url: &MetadataUrl, out: &mut impl Write) -> Result<Counts, StoreError> {
    let store = Store::read_only(url).await?;
    let mut snapshot = store.reader.begin_with(store.dialect.begin_snapshot()).await?;
    let found = schema::usable(&mut snapshot).await?;
    // Of a later version's schema it holds what this one knows.
    let schema = found.min(schema::known());
    if !schema::is_portable(schema) {
        return Err(StoreError::OtherSchema {
            found,
            known: schema::known(),
        });
    }
    let term: i64 = sqlx::query_scalar("SELECT term FROM leadership")
        .fetch_one(&mut *snapshot)
        .await?;
    let header = Line::Header {
        format: FORMAT,
        schema,
        taken: format_ms(now_ms()),
        term,
    };
    write(out, &header)?;
    let (mut counts, mut rows) = (Counts::new(), 0);
    for table in TABLES.iter().filter(|table| table.since <= schema) {
        let count = write_table(&mut snapshot, table, out).await?;
        rows += count;
        counts.insert(table.name.to_owned(), count);
    }
    write(out, &Line::End { rows })?;
    out.flush()?;
    drop(snapshot);
    store.close().await;
    Ok(counts)
}

fn write(out: &mut impl Write, line: &Line) -> Result<(), StoreError> {
    serde_json::to_writer(&mut *out, line).map_err(broken)?;
    Ok(out.write_all(b"\n")?)
}

async fn write_table(
    snapshot: &mut AnyConnection,
    table: &Table,
    out: &mut impl Write,
) -> Result<u64, StoreError> {
    let column = |(name, kind): &(&str, Kind)| match kind {
        // The driver that serves both databases does not read SQLite's booleans.
        Flag => format!("CASE WHEN {name} THEN 1 ELSE 0 END"),
        _ => quoted(name),
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let sql = format!(
        "SELECT {} FROM {} ORDER BY {}",
        columns.join(", "),
        table.name,
        table.key
    );
    let mut found = sqlx::query(&sql).fetch(snapshot);
    let mut count = 0;
    while let Some(row) = found.try_next().await? {
        let row = read(&row, table)?;
        write(
            out,
            &Line::Row {
                table: table.name.to_owned(),
                row,
            },
        )?;
        count += 1;
    }
    Ok(count)
}

/// A column's name in a statement.
fn quoted(name: &str) -> String {
    match name {
        "end" => "\"end\"".to_owned(),
        name => name.to_owned(),
    }
}

fn read(row: &AnyRow, table: &Table) -> Result<Map<String, Value>, StoreError> {
    let mut values = Map::new();
    for (place, (name, kind)) in table.columns.iter().enumerate() {
        let value = match kind {
            Text => json!(row.try_get::<String, _>(place)?),
            Maybe => json!(row.try_get::<std::option::Option<String>, _>(place)?),
            Whole => json!(row.try_get::<i64, _>(place)?),
            Flag => json!(row.try_get::<i64, _>(place)? != 0),
            Bytes => json!(hex(&row.try_get::<Vec<u8>, _>(place)?)),
        };
        values.insert((*name).to_owned(), value);
    }
    Ok(values)
}

/// Puts a backup into a store that holds nothing and that no Overlord has used.
///
/// # Errors
/// [`StoreError::NotEmpty`] when it is not so; [`StoreError::Malformed`] when the backup is not whole. Nothing is changed
/// then, but that an empty store has its tables.
pub async fn restore(url: &MetadataUrl, input: impl BufRead) -> Result<Counts, StoreError> {
    let store = Store::open(url).await?;
    let mut tx = begin_write(&store.writer, store.dialect).await?;
    check_unused(&mut tx).await?;
    let mut lines = input.lines();
    let mut next = || -> Result<std::option::Option<Line>, StoreError> {
        match lines.next() {
            None => Ok(None),
            Some(line) => serde_json::from_str(&line?).map(Some).map_err(broken),
        }
    };
    let Some(Line::Header {
        format, schema, term, ..
    }) = next()?
    else {
        return Err(broken("it does not begin with a header"));
    };
    if format != FORMAT || !schema::is_portable(schema) {
        return Err(StoreError::OtherSchema {
            found: schema,
            known: schema::known(),
        });
    }
    sqlx::query("DELETE FROM metadata_version")
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE leadership SET term = $1")
        .bind(term)
        .execute(&mut *tx)
        .await?;
    let (mut counts, mut batch, mut read) = (Counts::new(), Batch::default(), 0);
    let promised = loop {
        match next()? {
            Some(Line::Row { table, row }) => {
                read += 1;
                *counts.entry(table.clone()).or_default() += 1;
                batch.push(&mut tx, &table, row).await?;
            }
            Some(Line::End { rows }) => break rows,
            Some(Line::Header { .. }) => return Err(broken("it has two headers")),
            None => return Err(broken("it breaks off: its last line is missing")),
        }
    };
    batch.flush(&mut tx).await?;
    if promised != read {
        return Err(broken(format!("it has {read} rows and should have {promised}")));
    }
    if store.dialect == Dialect::Postgres {
        let sql = "SELECT setval(pg_get_serial_sequence('segment_schemas', 'seq'), COALESCE(MAX(seq), 0) + 1, false) \
                   FROM segment_schemas";
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    store.close().await;
    Ok(counts)
}

async fn check_unused(tx: &mut AnyConnection) -> Result<(), StoreError> {
    let term: i64 = sqlx::query_scalar("SELECT term FROM leadership")
        .fetch_one(&mut *tx)
        .await?;
    if term > 0 {
        return Err(StoreError::NotEmpty(
            "an Overlord has led with it, or does".to_owned(),
        ));
    }
    for table in TABLES.iter().filter(|table| table.name != "metadata_version") {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        if sqlx::query(&sql).fetch_optional(&mut *tx).await?.is_some() {
            return Err(StoreError::NotEmpty(format!("{} has rows", table.name)));
        }
    }
    Ok(())
}

/// Rows of one INSERT statement at the most.
const BATCH: usize = 200;

/// Rows of one table that are still to be written.
#[derive(Default)]
struct Batch {
    table: std::option::Option<&'static Table>,
    rows: Vec<Map<String, Value>>,
}

impl Batch {
    async fn push(
        &mut self,
        tx: &mut AnyConnection,
        table: &str,
        row: Map<String, Value>,
    ) -> Result<(), StoreError> {
        if self.table.is_none_or(|known| known.name != table) || self.rows.len() >= BATCH {
            self.flush(tx).await?;
            let known = TABLES.iter().find(|known| known.name == table);
            self.table = Some(known.ok_or_else(|| broken(format!("it has an unknown table {table}")))?);
        }
        self.rows.push(row);
        Ok(())
    }

    async fn flush(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let Some(table) = self.table.filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        // A later version may have added columns.
        let columns: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            table.name,
            columns.join(", "),
            rows_of(rows.len(), table.columns.len())
        );
        let mut query = sqlx::query(&sql);
        for row in &rows {
            for (name, kind) in table.columns {
                let value = row.get(*name);
                let wrong = || broken(format!("{}.{name} is {value:?}", table.name));
                query = match kind {
                    Text => query.bind(value.and_then(Value::as_str).ok_or_else(wrong)?.to_owned()),
                    Maybe => query.bind(value.and_then(Value::as_str).map(str::to_owned)),
                    Whole => query.bind(value.and_then(Value::as_i64).ok_or_else(wrong)?),
                    Flag => query.bind(value.and_then(Value::as_bool).ok_or_else(wrong)?),
                    Bytes => query.bind(value.and_then(Value::as_str).and_then(unhex).ok_or_else(wrong)?),
                };
            }
        }
        query.execute(tx).await?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(text: &str) -> std::option::Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
