//! Shuffle keys: columns of a fragment's output, added where the key is an expression.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use sarsen_kernel::shuffle::{KeyColumn, NullOrder, SortOrder};

use super::Open;

/// The fragment with a column for every key, and the key. Keys that are plain columns stay where they are; the others
/// become columns behind the fragment's own.
pub(super) fn with_key_columns(
    open: Open,
    keys: impl IntoIterator<Item = (Arc<dyn PhysicalExpr>, Option<SortOptions>)>,
) -> Result<(Open, Vec<KeyColumn>)> {
    let schema = open.plan.schema();
    let mut projection: Vec<(Arc<dyn PhysicalExpr>, String)> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            (
                Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>,
                field.name().clone(),
            )
        })
        .collect();
    let own_columns = projection.len();
    let mut key_columns = Vec::new();
    for (expr, options) in keys {
        let (index, name) = match expr.downcast_ref::<Column>() {
            Some(column) => (column.index(), column.name().to_owned()),
            None => {
                let name = format!("__key{}", projection.len());
                projection.push((expr, name.clone()));
                (projection.len() - 1, name)
            }
        };
        key_columns.push(key_column(index, name, options));
    }
    let open = if projection.len() > own_columns {
        open.map(|plan| Ok(Arc::new(ProjectionExec::try_new(projection.clone(), plan)?)))?
    } else {
        open
    };
    Ok((open, key_columns))
}

fn key_column(index: usize, name: String, options: Option<SortOptions>) -> KeyColumn {
    let options = options.unwrap_or_default();
    KeyColumn {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        name,
        order: if options.descending {
            SortOrder::Descending
        } else {
            SortOrder::Ascending
        },
        nulls: if options.nulls_first {
            NullOrder::First
        } else {
            NullOrder::Last
        },
    }
}

/// The fragment cut back to its first `columns` columns.
pub(super) fn without_key_columns(open: Open, columns: usize) -> Result<Open> {
    let schema = open.plan.schema();
    if schema.fields().len() == columns {
        return Ok(open);
    }
    let projection: Vec<(Arc<dyn PhysicalExpr>, String)> = schema
        .fields()
        .iter()
        .take(columns)
        .enumerate()
        .map(|(index, field)| {
            (
                Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>,
                field.name().clone(),
            )
        })
        .collect();
    open.map(|plan| Ok(Arc::new(ProjectionExec::try_new(projection.clone(), plan)?)))
}
