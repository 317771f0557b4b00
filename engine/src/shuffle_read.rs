//! The leaf that reads a stage's output.

use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use sarsen_kernel::shuffle::{KeyColumn, NullOrder, SortOrder};

use crate::children::leaf;
use crate::input::{FragmentInput, ShuffleReader};

/// Reads input `input` of the stage: rows of other stages, partition by partition. With a `merge_key` the producers'
/// sorted runs are merged, so that each partition comes out sorted.
#[derive(Debug, Clone)]
pub struct ShuffleReadExec {
    input: usize,
    schema: SchemaRef,
    merge_key: Vec<KeyColumn>,
    reader: Option<Arc<dyn ShuffleReader>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ShuffleReadExec {
    /// An unbound leaf, as the planner makes it; `partitions` is what the plan assumes.
    pub fn new(input: usize, schema: SchemaRef, merge_key: Vec<KeyColumn>, partitions: usize) -> Self {
        let properties = properties(&schema, &merge_key, partitions);
        let metrics = ExecutionPlanMetricsSet::new();
        ShuffleReadExec {
            input,
            schema,
            merge_key,
            reader: None,
            properties,
            metrics,
        }
    }

    /// The same leaf reading from a work order's input.
    ///
    /// # Errors
    /// An internal error when that input is not a shuffle.
    pub fn bind(&self, input: &FragmentInput) -> Result<Self> {
        let FragmentInput::Shuffle(reader) = input else {
            return exec_err!("input {} of the work order is not a shuffle", self.input);
        };
        let mut bound = Self::new(
            self.input,
            Arc::clone(&self.schema),
            self.merge_key.clone(),
            reader.partition_count(),
        );
        bound.reader = Some(Arc::clone(reader));
        Ok(bound)
    }

    pub fn input(&self) -> usize {
        self.input
    }

    pub fn merge_key(&self) -> &[KeyColumn] {
        &self.merge_key
    }
}

fn properties(schema: &SchemaRef, merge_key: &[KeyColumn], partitions: usize) -> Arc<PlanProperties> {
    let mut equivalences = EquivalenceProperties::new(Arc::clone(schema));
    if let Some(ordering) = lex_ordering(merge_key) {
        equivalences.add_ordering(ordering);
    }
    Arc::new(
        PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

/// The ordering that a shuffle key stands for; `None` for an empty key.
pub fn lex_ordering(key: &[KeyColumn]) -> Option<LexOrdering> {
    LexOrdering::new(key.iter().map(|column| {
        let index = usize::try_from(column.index).unwrap_or(usize::MAX);
        PhysicalSortExpr::new(Arc::new(Column::new(&column.name, index)), sort_options(column))
    }))
}

/// Arrow's words for a key column's order.
pub fn sort_options(column: &KeyColumn) -> SortOptions {
    SortOptions {
        descending: column.order == SortOrder::Descending,
        nulls_first: column.nulls == NullOrder::First,
    }
}

impl DisplayAs for ShuffleReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleReadExec: input={}", self.input)?;
        if !self.merge_key.is_empty() {
            let key: Vec<&str> = self.merge_key.iter().map(|column| column.name.as_str()).collect();
            write!(f, ", merge=[{}]", key.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ShuffleReadExec {
    leaf!("ShuffleReadExec");

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(reader) = &self.reader else {
            return exec_err!("input {} was never bound to a work order", self.input);
        };
        let opening = reader.open(partition, Arc::clone(&self.schema));
        let schema = Arc::clone(&self.schema);
        let ordering = lex_ordering(&self.merge_key);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let consumer = MemoryConsumer::new(format!("ShuffleRead[{}:{partition}]", self.input));
        let reservation = consumer.register(context.memory_pool());
        let batch_size = context.session_config().batch_size();
        let stream = futures::stream::once(async move {
            let mut streams = opening.await?;
            match ordering {
                Some(ordering) if streams.len() > 1 => StreamingMergeBuilder::new()
                    .with_streams(streams)
                    .with_schema(schema)
                    .with_expressions(&ordering)
                    .with_metrics(metrics)
                    .with_batch_size(batch_size)
                    .with_reservation(reservation)
                    .build(),
                _ if streams.len() == 1 => Ok(streams.swap_remove(0)),
                _ => {
                    let rows = futures::stream::iter(streams).flatten();
                    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)) as SendableRecordBatchStream)
                }
            }
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
