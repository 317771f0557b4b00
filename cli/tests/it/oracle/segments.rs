//! How an ingestion's files lie.

use std::cmp::Ordering;
use std::fs::File;
use std::path::{Path, PathBuf};

use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::compare::order;
use super::datafusion::rows;
use super::queries::{Cluster, Layout};

const HOUR_NS: i64 = 3_600_000_000_000;

/// Each file below `folder` holds rows of one time chunk, sorted; all together hold `expected_rows`.
pub fn check(folder: &Path, layout: &Layout, expected_rows: usize) -> Result<(), String> {
    let mut found = 0;
    for file in files(folder) {
        found += check_file(folder, &file, layout).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if found == expected_rows {
        Ok(())
    } else {
        Err(format!("segments hold {found} rows instead of {expected_rows}"))
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    crate::cluster::walk(folder, &mut files);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files
}

fn check_file(folder: &Path, file: &Path, layout: &Layout) -> Result<usize, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut all: Vec<Vec<Value>> = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        names = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        all.extend(rows(&batch));
    }
    let column = |name: &str| {
        names
            .iter()
            .position(|known| known == name)
            .ok_or(format!("no column {name}"))
    };
    let time = column("__time")?;
    if let Some((least, most)) = layout.chunk_hours {
        let (start, end) = chunk(folder, file)?;
        let hours = hours_between(&start, &end);
        if !(least..=most).contains(&hours) {
            return Err(format!(
                "a time chunk of {hours} hours instead of {least} to {most}"
            ));
        }
        if let Some(row) = all.iter().find(|row| {
            !row[time]
                .as_str()
                .is_some_and(|time| (start.as_str()..end.as_str()).contains(&time))
        }) {
            return Err(format!("{row:?} lies outside of the time chunk"));
        }
    }
    let mut keys: Vec<(usize, bool)> = vec![(time, false)];
    for key in layout.cluster {
        keys.push(match key {
            Cluster::Column(name) => (column(name)?, false),
            Cluster::Upper(name) => (column(name)?, true),
        });
    }
    let key = |row: &[Value], (column, upper): (usize, bool)| match &row[column] {
        Value::String(text) if upper => Value::String(text.to_uppercase()),
        other => other.clone(),
    };
    let compared = |left: &[Value], right: &[Value]| {
        let cells = keys.iter().map(|of| order(&key(left, *of), &key(right, *of)));
        cells.fold(Ordering::Equal, Ordering::then)
    };
    match all
        .windows(2)
        .find(|pair| compared(&pair[0], &pair[1]) == Ordering::Greater)
    {
        Some(pair) => Err(format!("{:?} comes before {:?}", pair[0], pair[1])),
        None => Ok(all.len()),
    }
}

/// The interval in the file's path.
fn chunk(folder: &Path, file: &Path) -> Result<(String, String), String> {
    let below = file.strip_prefix(folder).unwrap();
    let interval = below.components().next().unwrap().as_os_str().to_string_lossy();
    let (start, end) = interval
        .split_once('_')
        .ok_or(format!("{interval} is no interval"))?;
    Ok((start.to_owned(), end.to_owned()))
}

fn hours_between(start: &str, end: &str) -> i64 {
    let hours = |text| string_to_timestamp_nanos(text).unwrap() / HOUR_NS;
    hours(end) - hours(start)
}
