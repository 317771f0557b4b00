//! Counts the rows of each window.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::partition;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;

use crate::children::over_one_child;

/// A window with more rows than it may have (Druid: `TooManyRowsInAWindow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window has {rows} rows or more, {max_rows} are allowed")]
pub struct WindowRowsError {
    /// Counted when there were too many.
    pub rows: u64,
    pub max_rows: u64,
}

/// Gives its child's rows, sorted by `keys`, and fails where too many have equal keys.
#[derive(Debug, Clone)]
pub struct WindowRowsExec {
    child: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    max_rows: u64,
}

impl WindowRowsExec {
    /// Without `keys` all rows of a partition are one window.
    pub fn new(child: Arc<dyn ExecutionPlan>, keys: Vec<Arc<dyn PhysicalExpr>>, max_rows: u64) -> Self {
        WindowRowsExec {
            child,
            keys,
            max_rows,
        }
    }
}

impl DisplayAs for WindowRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowRowsExec: max_rows={}", self.max_rows)
    }
}

impl ExecutionPlan for WindowRowsExec {
    fn name(&self) -> &str {
        "WindowRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.child.properties()
    }

    over_one_child!(child);

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.as_slice() {
            [child] => Ok(Arc::new(WindowRowsExec::new(
                Arc::clone(child),
                self.keys.clone(),
                self.max_rows,
            ))),
            _ => internal_err!("a window's guard has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.child.schema();
        let mut counter = Counter {
            keys: self.keys.clone(),
            converter: None,
            last: None,
            rows: 0,
            max_rows: self.max_rows,
        };
        let counted = self.child.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            counter.count(&batch)?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}

struct Counter {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    converter: Option<RowConverter>,
    /// Key of the window that the last row belongs to.
    last: Option<OwnedRow>,
    /// Rows of that window so far.
    rows: u64,
    max_rows: u64,
}

impl Counter {
    fn count(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.keys.is_empty() {
            return self.add(batch.num_rows());
        }
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|key| key.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<_>>()?;
        for window in partition(&keys)?.ranges() {
            let first: Vec<ArrayRef> = keys.iter().map(|key| key.slice(window.start, 1)).collect();
            let key = self.encode(&first)?;
            if self.last.as_ref() != Some(&key) {
                self.last = Some(key);
                self.rows = 0;
            }
            self.add(window.len())?;
        }
        Ok(())
    }

    fn encode(&mut self, key: &[ArrayRef]) -> Result<OwnedRow> {
        let converter = match &mut self.converter {
            Some(converter) => converter,
            empty => {
                let fields = key.iter().map(|array| SortField::new(array.data_type().clone()));
                empty.insert(RowConverter::new(fields.collect())?)
            }
        };
        Ok(converter.convert_columns(key)?.row(0).owned())
    }

    fn add(&mut self, rows: usize) -> Result<()> {
        self.rows += rows as u64;
        if self.rows <= self.max_rows {
            return Ok(());
        }
        Err(DataFusionError::External(Box::new(WindowRowsError {
            rows: self.rows,
            max_rows: self.max_rows,
        })))
    }
}
