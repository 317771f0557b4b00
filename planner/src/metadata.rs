//! Queries of tables about the cluster itself (`sys`, `INFORMATION_SCHEMA`): their rows are handed in, so they are answered
//! where they are planned, without stages.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::{ExecutionPlan, collect};
use sarsen_kernel::query::ColumnDescriptor;
use serde_json::{Map, Value};

use crate::types::table_field;

/// Schemas of tables about the cluster.
pub const SYSTEM_SCHEMAS: [&str; 2] = ["sys", "INFORMATION_SCHEMA"];

/// Bytes that the answer to one such query may take while it is made.
const MEMORY_BYTES: usize = 256 << 20;

/// A table about the cluster, with its rows.
#[derive(Debug, Clone)]
pub struct MetadataTable {
    pub schema: &'static str,
    pub name: &'static str,
    rows: RecordBatch,
}

impl MetadataTable {
    /// `columns` are names and Druid's native types; each row has a value for each of them.
    ///
    /// # Errors
    /// For a value that its column's type cannot hold.
    pub fn new(
        schema: &'static str,
        name: &'static str,
        columns: &[(&str, &str)],
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> std::result::Result<Self, ArrowError> {
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, native)| table_field(name, native))
            .collect();
        let fields = Arc::new(Schema::new(fields));
        let objects: Vec<Map<String, Value>> = rows
            .into_iter()
            .map(|row| {
                let names = columns.iter().map(|(name, _)| (*name).to_owned());
                names.zip(row).collect()
            })
            .collect();
        let mut decoder = ReaderBuilder::new(Arc::clone(&fields))
            .with_batch_size(objects.len().max(1))
            .build_decoder()?;
        decoder.serialize(&objects)?;
        let rows = decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(fields));
        Ok(MetadataTable { schema, name, rows })
    }
}

/// The answer to a query of such tables.
#[derive(Debug)]
pub struct MetadataAnswer {
    pub rows: Vec<RecordBatch>,
    pub signature: Vec<ColumnDescriptor>,
}

/// Lets a session know the tables.
pub(crate) fn register(session: &SessionState, catalog: &str, tables: &[MetadataTable]) -> Result<()> {
    let Some(catalog) = session.catalog_list().catalog(catalog) else {
        return Ok(());
    };
    for name in SYSTEM_SCHEMAS {
        let schema = MemorySchemaProvider::new();
        for table in tables.iter().filter(|table| table.schema == name) {
            let rows = MemTable::try_new(table.rows.schema(), vec![vec![table.rows.clone()]])?;
            schema.register_table(table.name.to_owned(), Arc::new(rows))?;
        }
        catalog.register_schema(name, Arc::new(schema))?;
    }
    Ok(())
}

/// The rows of a plan over such tables.
pub(crate) async fn rows(session: &SessionState, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()?;
    let context = TaskContext::from(session).with_runtime(runtime);
    collect(plan, Arc::new(context))
        .await
        .map_err(|error| match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => DataFusionError::ResourcesExhausted(format!(
                "a query of metadata tables may take {MEMORY_BYTES} bytes"
            )),
            _ => error,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::datatypes::DataType;
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_have_the_types_of_their_columns() {
        let columns = [("a", "STRING"), ("n", "LONG")];
        let table = MetadataTable::new(
            "sys",
            "t",
            &columns,
            [vec![json!("x"), json!(1)], vec![Value::Null, json!(2)]],
        );
        let table = table.unwrap();
        assert_eq!(table.rows.num_rows(), 2);
        let schema = table.rows.schema();
        let shown = schema
            .fields()
            .iter()
            .map(|field| (field.name().as_str(), field.data_type()));
        let types: Vec<_> = shown.collect();
        assert_eq!(types, [("a", &DataType::Utf8View), ("n", &DataType::Int64)]);
        let empty = MetadataTable::new("sys", "t", &columns, []).unwrap();
        assert_eq!(empty.rows.num_rows(), 0);
    }
}
