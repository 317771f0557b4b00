//! The tables about the cluster, `INFORMATION_SCHEMA` and `sys` (Druid: querying/sql-metadata-tables.md), as an identity may
//! see them.

mod information_schema;
mod system;

use arrow::array::RecordBatch;
use sarsen_kernel::query::ColumnDescriptor;
use sarsen_planner::{MetadataTable, PlanError, referenced_metadata, referenced_tables};
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

/// Answers a statement that names such tables; `None` for any other.
///
/// # Errors
/// A 400 in Druid's words when it cannot be planned, a 403 or 503 as [`tables`].
pub async fn answer(
    app: &App,
    identity: &Identity,
    request: &SqlRequest,
) -> Result<Option<Answer>, ApiError> {
    let refused = |error: PlanError| ApiError::Plan {
        task: None,
        error: Box::new(error),
    };
    let named = referenced_metadata(&request.query).map_err(refused)?;
    if named.is_empty() {
        return Ok(None);
    }
    let others = referenced_tables(&request.query).map_err(refused)?;
    let mut catalog = visible_catalog(app, identity).await?;
    catalog.retain(|table| others.contains(&table.datasource));
    let tables = tables(app, identity, &named).await?;
    let query_id = request
        .query_id()
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let plan_request = plan_request(app, request, &query_id, &catalog);
    let answer = sarsen_planner::answer(&plan_request, &tables)
        .await
        .map_err(refused)?;
    Ok(Some(Answer {
        query_id,
        rows: answer.rows,
        signature: answer.signature,
    }))
}

/// All tables about the cluster; those that are `named` with their rows.
///
/// # Errors
/// A 403 where a table needs a right to the state of the cluster, a 503 when the Overlord is away.
async fn tables(
    app: &App,
    identity: &Identity,
    named: &[(String, String)],
) -> Result<Vec<MetadataTable>, ApiError> {
    let mut tables = Vec::new();
    for table in definitions() {
        let is_named = named
            .iter()
            .any(|(schema, name)| schema == table.schema && name == table.name);
        let rows = match (is_named, table.schema) {
            (false, _) => Vec::new(),
            (true, information_schema::SCHEMA) => {
                let catalog = visible_catalog(app, identity).await?;
                information_schema::rows(table.name, &catalog)
            }
            (true, _) => system::rows(app, identity, table.name).await?,
        };
        let made = MetadataTable::new(table.schema, table.name, table.columns, rows);
        tables.push(made.map_err(|error| ApiError::Internal {
            message: format!("{}.{}: {error}", table.schema, table.name),
        })?);
    }
    Ok(tables)
}

/// Tables that may be read.
async fn visible_catalog(app: &App, identity: &Identity) -> Result<Vec<v1::Table>, ApiError> {
    let request = v1::CatalogRequest {
        datasources: Vec::new(),
    };
    let catalog = app
        .overlord()?
        .get_catalog(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    let tables = catalog.into_inner().tables.into_iter();
    Ok(tables
        .filter(|table| identity.can_read_datasource(&table.datasource))
        .collect())
}

/// A text, or NULL for an empty one.
fn text_or_null(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.into(),
    }
}
