//! The order in which grouped rows come out, where a query's last step is a grouping.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};

use crate::sharding::ClusterColumn;

/// The grouping keys in order; empty for a query that does not end in a grouping.
#[derive(Debug, Default)]
pub struct GroupOrder {
    keys: Vec<GroupKey>,
}

#[derive(Debug)]
struct GroupKey {
    field: Arc<Field>,
    /// Output column that is this key.
    position: Option<usize>,
}

impl GroupOrder {
    /// The keys as if they had been named in CLUSTERED BY.
    pub fn cluster_columns(&self) -> Vec<ClusterColumn<'_>> {
        let column = |key: &'_ GroupKey| key.position.is_some();
        self.keys
            .iter()
            .map(|key| ClusterColumn {
                field: key.field.as_ref(),
                is_stored: column(key),
            })
            .collect()
    }

    /// Output columns of the keys before the first that is not given out.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().map_while(|key| key.position)
    }
}

/// The grouping that gives a plan's rows, past HAVING and the list of its columns.
pub fn group_order(plan: &LogicalPlan) -> GroupOrder {
    match plan {
        LogicalPlan::Distinct(Distinct::All(input)) => GroupOrder {
            keys: input
                .schema()
                .fields()
                .iter()
                .enumerate()
                .map(|(position, field)| GroupKey {
                    field: Arc::clone(field),
                    position: Some(position),
                })
                .collect(),
        },
        LogicalPlan::Projection(projection) => {
            let mut below = projection.input.as_ref();
            while let LogicalPlan::Filter(having) = below {
                below = having.input.as_ref();
            }
            match below {
                LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate, &projection.expr),
                _ => GroupOrder::default(),
            }
        }
        _ => GroupOrder::default(),
    }
}

fn of_aggregate(aggregate: &Aggregate, outputs: &[Expr]) -> GroupOrder {
    let sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
    if aggregate.group_expr.iter().any(sets) {
        return GroupOrder::default();
    }
    let keys = aggregate.schema.iter().take(aggregate.group_expr.len());
    let keys = keys.map(|(qualifier, field)| {
        let key = Expr::Column(datafusion::common::Column::from((qualifier, field)));
        GroupKey {
            field: Arc::clone(field),
            position: outputs
                .iter()
                .position(|output| output.clone().unalias_nested().data == key),
        }
    });
    GroupOrder { keys: keys.collect() }
}
