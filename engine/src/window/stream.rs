//! One partition of a window operator at work.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::StreamExt;

use super::function::Function;
use super::rows::Rows;

/// Reads rows, and hands them on with the functions' results as soon as all of these are known.
pub struct Work {
    pub schema: SchemaRef,
    pub input: SendableRecordBatchStream,
    pub rows: Rows,
    pub functions: Vec<Box<dyn Function>>,
    /// Memory of what the functions keep.
    pub state: MemoryReservation,
    /// The first row that was not handed on.
    pub next: usize,
    pub metrics: BaselineMetrics,
}

impl Work {
    /// The next rows; `None` behind the last ones.
    ///
    /// # Errors
    /// Those of the input and of the functions, and for want of memory or disk.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let ready = {
                let time = self.metrics.elapsed_compute().clone();
                let _timer = time.timer();
                self.ready()?
            };
            if let Some(batch) = ready {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.rows.is_complete() {
                return Ok(None);
            }
            match self.input.next().await {
                Some(batch) => self.rows.push(batch?)?,
                None => {
                    // What the input holds is not needed while results are worked out.
                    self.input = Box::pin(EmptyRecordBatchStream::new(self.input.schema()));
                    self.rows.finish();
                }
            }
        }
    }

    /// The next rows if they have their results.
    fn ready(&mut self) -> Result<Option<RecordBatch>> {
        let Some(chunk) = self.rows.chunk_of(self.next) else {
            return Ok(None);
        };
        let mut known = true;
        for function in &mut self.functions {
            known &= function.fill(&mut self.rows, chunk.end)?;
        }
        let state = self.functions.iter().map(|function| function.state_bytes()).sum();
        self.state.try_resize(counted(state))?;
        if !known {
            return Ok(None);
        }
        let mut columns = self.rows.load(self.next)?.batch.columns().to_vec();
        for function in &mut self.functions {
            columns.push(function.take()?);
        }
        self.next = chunk.end;
        let needed = self.functions.iter().map(|function| function.needed()).min();
        self.rows.release(needed.unwrap_or(self.next).min(self.next));
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

/// What sums, ranks and the like keep is not worth asking for, and there must be room for it.
fn counted(state: usize) -> usize {
    const SMALL: usize = 64 << 10;
    if state <= SMALL { 0 } else { state }
}
