//! A scan of segments whose partitions take them by turns.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;

use crate::children::leaf;
use crate::input::SplitInput;
use crate::segment_scan;

/// Scans the segments of a work order: each partition takes the next few, scans them as DataFusion scans Parquet files,
/// and comes for more.
#[derive(Debug)]
pub struct SegmentScanExec {
    /// What is done with each segment, over a placeholder.
    scan: Arc<dyn ExecutionPlan>,
    input: Arc<SplitInput>,
    /// Rows after which a partition ends.
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl SegmentScanExec {
    /// # Errors
    /// When `scan` is not a segment scan.
    pub fn try_new(scan: &Arc<dyn ExecutionPlan>, input: Arc<SplitInput>) -> Result<Self> {
        let scan = segment_scan::over(scan, &[])?;
        let properties = scan.properties().as_ref().clone();
        Ok(SegmentScanExec {
            properties: Arc::new(
                properties.with_partitioning(Partitioning::UnknownPartitioning(input.partitions)),
            ),
            limit: segment_scan::limit(&scan),
            input,
            scan,
        })
    }
}

impl DisplayAs for SegmentScanExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentScanExec: ")?;
        self.scan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SegmentScanExec {
    leaf!("SegmentScanExec");

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(visit)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            scan: Arc::clone(&self.scan),
            input: Arc::clone(&self.input),
            context,
            left: self.limit,
            open: None,
        };
        let batches = futures::stream::try_unfold(reading, |mut reading| async move {
            Ok::<_, DataFusionError>(reading.next().await?.map(|batch| (batch, reading)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.scan.schema(),
            batches,
        )))
    }
}

/// One partition while it reads.
struct Reading {
    scan: Arc<dyn ExecutionPlan>,
    input: Arc<SplitInput>,
    context: Arc<TaskContext>,
    /// Rows that are still wanted; `None` for all.
    left: Option<usize>,
    open: Option<Open>,
}

/// Segments that are being scanned.
struct Open {
    scan: Arc<dyn ExecutionPlan>,
    batches: SendableRecordBatchStream,
    /// Files that they begin.
    files: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.left != Some(0) {
            if let Some(open) = &mut self.open {
                if let Some(batch) = open.batches.next().await {
                    let batch = batch?;
                    self.input.counters.add_rows(batch.num_rows());
                    self.left = self.left.map(|left| left.saturating_sub(batch.num_rows()));
                    return Ok(Some(batch));
                }
                self.close();
            }
            let (segments, files) = self.input.next_segments().await?;
            if segments.is_empty() {
                return Ok(None);
            }
            let scan = segment_scan::over(&self.scan, &segments)?;
            let batches = scan.execute(0, Arc::clone(&self.context))?;
            self.open = Some(Open { scan, batches, files });
        }
        self.close();
        Ok(None)
    }

    /// Counts what was scanned.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let metrics = open.scan.metrics();
        let bytes = metrics.and_then(|metrics| metrics.sum_by_name("bytes_scanned"));
        self.input
            .counters
            .add_bytes(bytes.map_or(0, |bytes| bytes.as_usize() as u64));
        (0..open.files).for_each(|_| self.input.counters.add_file());
    }
}
