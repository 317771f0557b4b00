//! Where windows and groups of equal rows begin.

use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::partition;
use datafusion::common::utils::get_row_at_idx;
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;

/// Finds the rows of sorted batches at which the values of some expressions change.
#[derive(Debug)]
pub struct Borders {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Values of the last row of the batch before.
    last: Option<Vec<ScalarValue>>,
}

impl Borders {
    pub fn new(exprs: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Borders { exprs, last: None }
    }

    /// A bit per row of a batch that has rows, set where the row differs from the one before it. The very first row
    /// differs from what was not there.
    ///
    /// # Errors
    /// Those of the expressions.
    pub fn of(&mut self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let rows = batch.num_rows();
        let columns: Vec<ArrayRef> = self
            .exprs
            .iter()
            .map(|expr| expr.evaluate(batch)?.into_array(rows))
            .collect::<Result<_>>()?;
        let mut bits = BooleanBufferBuilder::new(rows);
        bits.append_n(rows, false);
        if !columns.is_empty() {
            for range in partition(&columns)?.ranges() {
                bits.set_bit(range.start, true);
            }
        }
        let first = get_row_at_idx(&columns, 0)?;
        bits.set_bit(0, self.last.as_ref() != Some(&first));
        self.last = Some(get_row_at_idx(&columns, rows.saturating_sub(1))?);
        Ok(bits.finish())
    }
}
