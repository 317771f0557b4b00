//! The tables about the cluster, `INFORMATION_SCHEMA` and `sys` (Druid: querying/sql-metadata-tables.md), as an identity may
//! see them.

mod information_schema;
mod system;

use arrow::array::RecordBatch;
use sarsen_kernel::query::ColumnDescriptor;
use sarsen_planner::{MetadataTable, References};
use sarsen_proto::v1;
use serde_json::Value;

use crate::auth::Identity;
use crate::error::ApiError;
use crate::request::SqlRequest;
use crate::service::App;
use crate::submission::plan_request;

/// Name and native type of a column.
type Column = (&'static str, &'static str);

/// A table without its rows.
struct Definition {
    schema: &'static str,
    name: &'static str,
    columns: &'static [Column],
}

/// All tables about the cluster.
fn definitions() -> impl Iterator<Item = &'static Definition> {
    information_schema::TABLES.iter().chain(system::TABLES)
}

/// The answer to a query of such tables.
#[derive(Debug)]
pub struct Answer {
    pub query_id: String,
    pub rows: Vec<RecordBatch>,
    pub signature: Vec<ColumnDescriptor>,
}

/// Answers a statement that names such tables.
///
/// # Errors
/// A 400 in Druid's words when it cannot be planned, a 403 where a table needs a right to the state of the cluster, a 503
/// when the Overlord is away.
pub async fn answer(
    app: &App,
    identity: &Identity,
    request: &SqlRequest,
    named: &References,
) -> Result<Answer, ApiError> {
    let mut catalog: Vec<v1::Table> = identity.readable(app.catalog().await?.tables).collect();
    let tables = tables(app, identity, &catalog, &named.metadata).await?;
    catalog.retain(|table| named.datasources.contains(&table.datasource));
    let query_id = request
        .query_id()
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let plan_request = plan_request(app, request, &query_id, &catalog);
    let answer = sarsen_planner::answer(&plan_request, &tables)
        .await
        .map_err(|error| ApiError::Plan {
            task: None,
            error: Box::new(error),
        })?;
    Ok(Answer {
        query_id,
        rows: answer.rows,
        signature: answer.signature,
    })
}

/// All tables about the cluster; those that are `named` with their rows. `catalog` are the datasources to show.
async fn tables(
    app: &App,
    identity: &Identity,
    catalog: &[v1::Table],
    named: &[(String, String)],
) -> Result<Vec<MetadataTable>, ApiError> {
    let mut tables = Vec::new();
    for table in definitions() {
        let is_named = named
            .iter()
            .any(|(schema, name)| schema == table.schema && name == table.name);
        let rows = match (is_named, table.schema) {
            (false, _) => Vec::new(),
            (true, information_schema::SCHEMA) => information_schema::rows(table.name, catalog),
            (true, _) => system::rows(app, identity, catalog, table.name).await?,
        };
        let made = MetadataTable::new(table.schema, table.name, table.columns, rows);
        tables.push(made.map_err(|error| ApiError::Internal {
            message: format!("{}.{}: {error}", table.schema, table.name),
        })?);
    }
    Ok(tables)
}

/// A text, or NULL for an empty one.
fn text_or_null(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.into(),
    }
}
