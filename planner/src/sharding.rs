//! Which CLUSTERED BY columns make the shard specs of an ingestion's segments, and why no others.
//!
//! Druid: multi-stage-query/concepts.md#clustering. The reasons are its words, as its report shows them.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;

use crate::types::native_type;

/// One CLUSTERED BY item.
#[derive(Debug, Clone, Copy)]
pub struct ClusterColumn<'a> {
    pub field: &'a Field,
    /// Whether segments hold it; an expression is only sorted by.
    pub is_stored: bool,
}

/// How segments of one time chunk are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharding {
    /// Columns of `range` shard specs; none for `numbered` ones.
    pub columns: Vec<String>,
    pub reason: String,
}

/// An INSERT appends to what others wrote: its segments are numbered.
pub fn of_insert() -> Sharding {
    Sharding {
        columns: Vec::new(),
        reason: "Using NumberedShardSpec to generate segments since the query is inserting rows.".to_owned(),
    }
}

/// A REPLACE shards by the leading text columns that it clusters by.
pub fn of_replace(cluster: &[ClusterColumn<'_>]) -> Sharding {
    let numbered = |reason: &str| Sharding {
        columns: Vec::new(),
        reason: reason.to_owned(),
    };
    if cluster.is_empty() {
        return numbered("CLUSTERED BY clause is empty.");
    }
    if cluster.iter().any(|column| is_list(column.field.data_type())) {
        return numbered("Cannot use 'range' shard specs since CLUSTERED BY contains multi-valued fields.");
    }
    let mut columns: Vec<String> = Vec::new();
    for ClusterColumn { field, is_stored } in cluster {
        let native = native_type(field);
        let count = columns.len();
        let reason = if native != "STRING" {
            format!(
                "Using[{count}] CLUSTERED BY columns for 'range' shard specs, since the next column is of \
                 type[{native}]. Only string columns are included in 'range' shard specs."
            )
        } else if !is_stored {
            format!(
                "Using only[{count}] CLUSTERED BY columns for 'range' shard specs, since the next column was not \
                 mapped to an output column."
            )
        } else {
            columns.push(field.name().clone());
            continue;
        };
        return Sharding { columns, reason };
    }
    Sharding {
        columns,
        reason: "Using 'range' shard specs with all CLUSTERED BY fields.".to_owned(),
    }
}

/// The CLUSTERED BY items of a plan whose first `stored` columns are stored; `positions` are theirs.
pub fn cluster_columns<'a>(
    schema: &'a DFSchema,
    positions: impl Iterator<Item = usize>,
    stored: usize,
) -> Vec<ClusterColumn<'a>> {
    positions
        .map(|position| ClusterColumn {
            field: schema.field(position),
            is_stored: position < stored,
        })
        .collect()
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn leading_stored_texts_make_a_range() {
        let text = |name: &str| Field::new(name, DataType::Utf8View, true);
        let (a, b) = (text("a"), text("b"));
        let long = Field::new("l", DataType::Int64, true);
        let list = Field::new("m", DataType::List(Arc::new(text("item"))), true);
        let stored = |field| ClusterColumn {
            field,
            is_stored: true,
        };
        let unstored = |field| ClusterColumn {
            field,
            is_stored: false,
        };
        let cases: [(&[ClusterColumn<'_>], &[&str], &str); 6] = [
            (&[], &[], "is empty"),
            (
                &[stored(&a), stored(&b)],
                &["a", "b"],
                "with all CLUSTERED BY fields",
            ),
            (
                &[stored(&a), stored(&long), stored(&b)],
                &["a"],
                "Using[1] CLUSTERED BY columns",
            ),
            (&[stored(&long)], &[], "type[LONG]"),
            (&[stored(&a), stored(&list)], &[], "multi-valued"),
            (
                &[stored(&a), unstored(&b)],
                &["a"],
                "was not mapped to an output column",
            ),
        ];
        for (cluster, columns, reason) in cases {
            let found = of_replace(cluster);
            assert_eq!(found.columns, columns);
            assert!(found.reason.contains(reason), "{}", found.reason);
        }
    }
}
