//! The tables: nulls, duplicates, negative numbers, empty and non-ASCII texts, times of several months.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

pub const EVENTS: usize = 24_000;
const USERS: usize = 1_200;

/// 2023-12-20, so that years, quarters, months and weeks change within the data.
const FIRST_MS: i64 = 1_703_030_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Countries: absent, empty, plain, accented, beyond ASCII and beyond the basic plane.
const COUNTRIES: [Option<&str>; 8] = [
    Some("SE"),
    Some("DE"),
    None,
    Some(""),
    Some("côte d'ivoire"),
    Some("日本"),
    Some("𐍈🙂"),
    Some("SE "),
];

/// Columns by name.
pub type Table = Vec<(&'static str, ArrayRef)>;

/// A sequence of numbers that is the same in every run (splitmix64).
fn number(row: usize, column: u64) -> u64 {
    let mixed = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ column.wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn pick(row: usize, column: u64, of: u64) -> i64 {
    i64::try_from(number(row, column) % of).unwrap()
}

/// Four hours of each of sixty days.
fn time(row: usize) -> i64 {
    FIRST_MS + pick(row, 1, 240) * 6 * HOUR_MS + pick(row, 2, 4) * 900_001
}

fn country(row: usize) -> Option<&'static str> {
    COUNTRIES[number(row, 3) as usize % COUNTRIES.len()]
}

/// `__time, country, city, n, x`; `n` has few large values, which are all different.
pub fn events() -> Table {
    let city = |row| match pick(row, 4, 300) {
        0..9 => None,
        9..15 => Some(String::new()),
        // Long enough for shuffles to outgrow a small memory.
        city => Some(format!("Ciudad N° {city} {}", "ñandú ".repeat(20))),
    };
    let n = |row| match pick(row, 5, 40) {
        0 => None,
        1 => Some(-pick(row, 6, 1_000)),
        2 => Some(1_000_000 + row as i64),
        _ => Some(pick(row, 6, 2_000)),
    };
    let x = |row| match pick(row, 7, 20) {
        0 => None,
        1 => Some(0.0),
        _ => Some((pick(row, 8, 2_000_000) - 1_000_000) as f64 / 1_024.0),
    };
    let rows = 0..EVENTS;
    vec![
        (
            "__time",
            Arc::new(TimestampMillisecondArray::from_iter_values(
                rows.clone().map(time),
            )),
        ),
        (
            "country",
            Arc::new(StringArray::from_iter(rows.clone().map(country))),
        ),
        ("city", Arc::new(StringArray::from_iter(rows.clone().map(city)))),
        ("n", Arc::new(Int64Array::from_iter(rows.clone().map(n)))),
        ("x", Arc::new(Float64Array::from_iter(rows.map(x)))),
    ]
}

/// `__time, id, country, name`; ids come twice and more, and some are missing.
pub fn users() -> Table {
    let id = |row| match pick(row, 9, 30) {
        0 => None,
        1 => Some(-pick(row, 10, 1_000)),
        _ => Some(pick(row, 10, 1_000)),
    };
    let name = |row| match pick(row, 11, 25) {
        0 => None,
        1 => Some(String::new()),
        name => Some(format!("Zoë {name}")),
    };
    let rows = 0..USERS;
    vec![
        (
            "__time",
            Arc::new(TimestampMillisecondArray::from_iter_values(
                rows.clone().map(time),
            )),
        ),
        ("id", Arc::new(Int64Array::from_iter(rows.clone().map(id)))),
        (
            "country",
            Arc::new(StringArray::from_iter(
                rows.clone().map(|row| country(row + EVENTS)),
            )),
        ),
        ("name", Arc::new(StringArray::from_iter(rows.map(name)))),
    ]
}

pub fn batch(table: &Table) -> RecordBatch {
    let columns = table
        .iter()
        .map(|(name, column)| (*name, Arc::clone(column), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Writes a table for the oracles, and for EXTERN.
pub fn write_parquet(folder: &Path, name: &str, table: &Table) -> PathBuf {
    let path = folder.join(format!("{name}.parquet"));
    let batch = batch(table);
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

/// Writes rows as JSON lines, in three files; answers their paths.
pub fn write_json(folder: &Path, name: &str, columns: &[&str], rows: &[Vec<Value>]) -> Vec<PathBuf> {
    let write = |(number, rows): (usize, &[Vec<Value>])| {
        let path = folder.join(format!("{name}{number}.json"));
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for row in rows {
            let named: serde_json::Map<String, Value> = columns
                .iter()
                .map(|name| (*name).to_owned())
                .zip(row.iter().cloned())
                .collect();
            writeln!(file, "{}", Value::Object(named)).unwrap();
        }
        file.flush().unwrap();
        path
    };
    rows.chunks(rows.len().div_ceil(3))
        .enumerate()
        .map(write)
        .collect()
}

/// An EXTERN of local files, up to its signature.
pub fn local(files: &[PathBuf], format: &str) -> String {
    let source = json!({ "type": "local", "files": files });
    format!("TABLE(EXTERN('{source}', '{{\"type\":\"{format}\"}}'))")
}
