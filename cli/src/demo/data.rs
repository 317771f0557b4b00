//! Input of the demo: TPC-H tables as files, and the columns of a file of the user's.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tpchgen::generators::{LineItemGenerator, OrderGenerator};

use crate::Outcome;

/// A file that was made.
pub struct Made {
    pub path: PathBuf,
    pub rows: u64,
}

/// `lineitem.json.gz`, one object a line.
///
/// # Errors
/// When the file cannot be written.
pub fn lineitem_json_gz(folder: &Path, scale: f64) -> Outcome<Made> {
    let path = folder.join("lineitem.json.gz");
    let mut out = GzEncoder::new(BufWriter::new(File::create(&path)?), Compression::fast());
    let mut rows = 0;
    for item in LineItemGenerator::new(scale, 1, 1).iter() {
        writeln!(
            out,
            "{{\"l_orderkey\":{},\"l_partkey\":{},\"l_suppkey\":{},\"l_linenumber\":{},\"l_quantity\":{},\
             \"l_extendedprice\":{},\"l_discount\":{},\"l_tax\":{},\"l_returnflag\":\"{}\",\"l_linestatus\":\"{}\",\
             \"l_shipdate\":\"{}\",\"l_commitdate\":\"{}\",\"l_receiptdate\":\"{}\",\"l_shipinstruct\":\"{}\",\
             \"l_shipmode\":\"{}\",\"l_comment\":\"{}\"}}",
            item.l_orderkey,
            item.l_partkey,
            item.l_suppkey,
            item.l_linenumber,
            item.l_quantity,
            item.l_extendedprice,
            item.l_discount,
            item.l_tax,
            item.l_returnflag,
            item.l_linestatus,
            item.l_shipdate,
            item.l_commitdate,
            item.l_receiptdate,
            item.l_shipinstruct,
            item.l_shipmode,
            item.l_comment
        )?;
        rows += 1;
    }
    out.finish()?.flush()?;
    Ok(Made { path, rows })
}

/// `orders.csv` with a header.
///
/// # Errors
/// When the file cannot be written.
pub fn orders_csv(folder: &Path, scale: f64) -> Outcome<Made> {
    let path = folder.join("orders.csv");
    let mut out = BufWriter::new(File::create(&path)?);
    writeln!(
        out,
        "o_orderkey,o_custkey,o_orderstatus,o_totalprice,o_orderdate,o_orderpriority,o_shippriority,o_comment"
    )?;
    let mut rows = 0;
    for order in OrderGenerator::new(scale, 1, 1).iter() {
        writeln!(
            out,
            "{},{},{},{},{},{},{},\"{}\"",
            order.o_orderkey,
            order.o_custkey,
            order.o_orderstatus,
            order.o_totalprice,
            order.o_orderdate,
            order.o_orderpriority,
            order.o_shippriority,
            order.o_comment
        )?;
        rows += 1;
    }
    out.flush()?;
    Ok(Made { path, rows })
}

/// SQL text of a string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn local(path: &Path) -> String {
    quoted(&json!({ "type": "local", "files": [path.to_string_lossy()] }).to_string())
}

/// Ingests [`lineitem_json_gz`] by month of shipment.
pub fn lineitem_statement(path: &Path) -> String {
    format!(
        "REPLACE INTO lineitem OVERWRITE ALL\nSELECT TIME_PARSE(l_shipdate) AS __time, *\nFROM TABLE(EXTERN({}, '{{\"type\": \"json\"}}'))\n\
         EXTEND (l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber BIGINT, l_quantity BIGINT,\n  \
         l_extendedprice DOUBLE, l_discount DOUBLE, l_tax DOUBLE, l_returnflag VARCHAR, l_linestatus VARCHAR,\n  \
         l_shipdate VARCHAR, l_commitdate VARCHAR, l_receiptdate VARCHAR, l_shipinstruct VARCHAR, l_shipmode VARCHAR,\n  \
         l_comment VARCHAR)\nPARTITIONED BY MONTH\nCLUSTERED BY l_suppkey",
        local(path)
    )
}

/// Ingests [`orders_csv`] by month of order.
pub fn orders_statement(path: &Path) -> String {
    format!(
        "REPLACE INTO orders OVERWRITE ALL\nSELECT TIME_PARSE(o_orderdate) AS __time, *\n\
         FROM TABLE(EXTERN({}, '{{\"type\": \"csv\", \"findColumnsFromHeader\": true}}'))\n\
         EXTEND (o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR, o_totalprice DOUBLE, o_orderdate VARCHAR,\n  \
         o_orderpriority VARCHAR, o_shippriority BIGINT, o_comment VARCHAR)\nPARTITIONED BY MONTH\nCLUSTERED BY o_orderkey",
        local(path)
    )
}

/// What the demo asks of both tables.
pub const JOIN: &str =
    "SELECT o_orderpriority, COUNT(*) AS items, SUM(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem JOIN orders ON l_orderkey = o_orderkey
WHERE lineitem.__time >= TIMESTAMP '1995-01-01' AND lineitem.__time < TIMESTAMP '1996-01-01'
GROUP BY o_orderpriority
ORDER BY revenue DESC";

/// A column of a file.
pub struct Column {
    pub name: String,
    pub native_type: &'static str,
}

/// Lines that tell a file's columns.
const SAMPLE_LINES: usize = 1_000;

/// Columns of a JSON, csv or tsv file by its first lines.
///
/// # Errors
/// When the file cannot be read or has no columns.
pub fn columns_of(path: &Path) -> Outcome<Vec<Column>> {
    let name = path.to_string_lossy().to_lowercase();
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let reader: Box<dyn Read> = if name.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut lines = BufReader::new(reader).lines();
    if let Some(delimiter) = delimiter(&name) {
        let header = lines
            .next()
            .ok_or_else(|| format!("{} is empty", path.display()))??;
        let names = header
            .split(delimiter)
            .map(|name| name.trim().trim_matches('"').to_owned());
        return Ok(names
            .map(|name| Column {
                name,
                native_type: "string",
            })
            .collect());
    }
    let mut columns: Vec<Column> = Vec::new();
    for line in lines.take(SAMPLE_LINES) {
        let Ok(Value::Object(row)) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        for (name, value) in row {
            let found = native_type(&value);
            match columns.iter_mut().find(|column| column.name == name) {
                Some(known) if known.native_type != found && !value.is_null() => {
                    known.native_type = if known.native_type == "long" && found == "double" {
                        "double"
                    } else {
                        "string"
                    };
                }
                Some(_) => {}
                None => columns.push(Column {
                    name,
                    native_type: found,
                }),
            }
        }
    }
    if columns.is_empty() {
        return Err(format!("{}: no line of it is a JSON object", path.display()).into());
    }
    Ok(columns)
}

fn delimiter(name: &str) -> Option<char> {
    let plain = [".gz", ".bz2", ".zst", ".xz"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    if plain.ends_with(".csv") {
        Some(',')
    } else if plain.ends_with(".tsv") {
        Some('\t')
    } else {
        None
    }
}

fn native_type(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "long",
        _ => "string",
    }
}

/// Ingests a file of the user's; without a time column all rows go to 1970.
pub fn own_statement(path: &Path, columns: &[Column], time: Option<&Column>) -> String {
    let signature: Vec<Value> = columns
        .iter()
        .map(|column| json!({ "name": column.name, "type": column.native_type }))
        .collect();
    let format = match delimiter(&path.to_string_lossy().to_lowercase()) {
        Some(',') => json!({ "type": "csv", "findColumnsFromHeader": true }),
        Some(_) => json!({ "type": "tsv", "findColumnsFromHeader": true }),
        None => json!({ "type": "json" }),
    };
    let identifier = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (select, chunk) = match time {
        Some(column) if column.native_type == "string" => (
            format!("TIME_PARSE({}) AS __time, ", identifier(&column.name)),
            "DAY",
        ),
        Some(column) => (
            format!("MILLIS_TO_TIMESTAMP({}) AS __time, ", identifier(&column.name)),
            "DAY",
        ),
        None => (String::new(), "ALL"),
    };
    let rest: Vec<String> = columns
        .iter()
        .filter(|column| column.name != "__time")
        .map(|column| identifier(&column.name))
        .collect();
    format!(
        "REPLACE INTO demo_input OVERWRITE ALL\nSELECT {select}{}\nFROM TABLE(EXTERN({},\n  {},\n  {}))\nPARTITIONED BY {chunk}",
        rest.join(", "),
        local(path),
        quoted(&format.to_string()),
        quoted(&Value::Array(signature).to_string()),
    )
}

/// Files below a folder and their bytes.
pub fn count_files(folder: &Path) -> (u64, u64) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return (0, 0);
    };
    entries
        .flatten()
        .fold((0, 0), |(files, bytes), entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let (more, larger) = count_files(&entry.path());
                (files + more, bytes + larger)
            }
            Ok(metadata) => (files + 1, bytes + metadata.len()),
            Err(_) => (files, bytes),
        })
}
