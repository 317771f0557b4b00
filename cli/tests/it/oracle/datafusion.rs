//! Plain DataFusion, and Arrow as JSON.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::{Value, json};

use super::data::{self, Table};

/// DataFusion with the tables, in this process.
pub struct Plain {
    runtime: tokio::runtime::Runtime,
    context: SessionContext,
}

impl Plain {
    pub fn new(tables: &[(&str, &Table)]) -> Self {
        let config = SessionConfig::new()
            .with_target_partitions(2)
            // Druid's order: NULL is less than any value.
            .set_str("datafusion.sql_parser.default_null_ordering", "nulls_min");
        let context = SessionContext::new_with_config(config);
        for (name, table) in tables {
            context.register_batch(*name, data::batch(table)).unwrap();
        }
        Plain {
            runtime: tokio::runtime::Runtime::new().unwrap(),
            context,
        }
    }

    pub fn answer(&self, sql: &str) -> Vec<Vec<Value>> {
        let collected = self
            .runtime
            .block_on(async { self.context.sql(sql).await?.collect().await });
        let batches = collected.unwrap_or_else(|error| panic!("{sql}\n{error}"));
        batches.iter().flat_map(rows).collect()
    }
}

/// Rows as the HTTP API writes them.
pub fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let columns: Vec<Vec<Value>> = batch.columns().iter().map(cells).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column[row].clone()).collect())
        .collect()
}

fn cells(column: &ArrayRef) -> Vec<Value> {
    let (kind, cell): (DataType, fn(&ArrayRef, usize) -> Value) = match column.data_type() {
        DataType::Boolean => (DataType::Boolean, |column, row| {
            json!(column.as_boolean().value(row))
        }),
        DataType::Timestamp(..) => (DataType::Timestamp(TimeUnit::Millisecond, None), time),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => (DataType::Utf8, |column, row| {
            json!(column.as_string::<i32>().value(row))
        }),
        kind if kind.is_integer() => (DataType::Int64, |column, row| {
            json!(column.as_primitive::<Int64Type>().value(row))
        }),
        _ => (DataType::Float64, |column, row| {
            json!(column.as_primitive::<Float64Type>().value(row))
        }),
    };
    let column = cast(column, &kind).unwrap();
    (0..column.len())
        .map(|row| {
            if column.is_null(row) {
                Value::Null
            } else {
                cell(&column, row)
            }
        })
        .collect()
}

fn time(column: &ArrayRef, row: usize) -> Value {
    let options = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.3fZ"));
    json!(
        ArrayFormatter::try_new(Arc::as_ref(column), &options)
            .unwrap()
            .value(row)
            .to_string()
    )
}
