//! Window functions in bounded memory.
//!
//! [`WindowExec`] takes the place of DataFusion's two window operators when a fragment is bound, so that it never
//! travels. Rows are numbered as they come ([`rows`]); what does not fit into the operator's share of memory goes to
//! files and comes back chunk by chunk. Each function goes over the rows in their order ([`function`]), with cursors at
//! the borders of its frame ([`frame`]): an aggregate takes rows in where the frame ends and back where it begins
//! ([`aggregate`]), others pick a value ([`pick`]) or count ([`rank`]). Borders only move forwards, so that a window of
//! any size is read once per function and border, and rows are let go when no function looks back at them.
//!
//! In memory remain: a chunk per cursor, a bit per row and what an accumulator itself keeps, as all values for ARRAY_AGG
//! and such; where the pool has no room for that, the query ends with `NotEnoughMemory`. DataFusion's accumulators of MIN
//! and MAX over frames that slide do not tell what they keep, so that it is not counted.

mod aggregate;
mod borders;
mod compact;
mod frame;
mod function;
mod pick;
mod rank;
mod results;
mod rows;
mod spill;
mod stream;
mod travel;

use std::fmt;
use std::sync::Arc;

use crate::children::over_one_child;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, PlanProperties, ReplaceChildrenOptions,
};
use function::{Function, function};
use rows::Rows;
use spill::Spiller;
use stream::Work;
pub use travel::travelling;

/// Adds a column per window function to rows sorted by PARTITION BY and ORDER BY.
#[derive(Debug, Clone)]
pub struct WindowExec {
    input: Arc<dyn ExecutionPlan>,
    exprs: Vec<Arc<dyn WindowExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WindowExec {
    /// The operator for one of DataFusion's; `None` for another node, or for functions and an order of the input that are
    /// not known here.
    ///
    /// # Errors
    /// For arguments that a function does not take.
    pub fn replacing(node: &Arc<dyn ExecutionPlan>) -> Result<Option<WindowExec>> {
        let (exprs, input) = if let Some(window) = node.downcast_ref::<WindowAggExec>() {
            (window.window_expr(), window.input())
        } else if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
            if !matches!(window.input_order_mode, InputOrderMode::Sorted) {
                return Ok(None);
            }
            (window.window_expr(), window.input())
        } else {
            return Ok(None);
        };
        for expr in exprs {
            if function(expr.as_ref())?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(WindowExec {
            input: Arc::clone(input),
            exprs: exprs.to_vec(),
            properties: Arc::clone(node.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    /// Expressions of PARTITION BY, the same for all functions.
    pub fn partition_by(&self) -> &[Arc<dyn PhysicalExpr>] {
        self.exprs.first().map_or(&[], |expr| expr.partition_by())
    }

    fn functions(&self) -> Result<Vec<Box<dyn Function>>> {
        let known = |expr: &Arc<dyn WindowExpr>| {
            function(expr.as_ref())?.ok_or_else(|| internal_datafusion_err!("{} is not known", expr.name()))
        };
        self.exprs.iter().map(known).collect()
    }
}

impl DisplayAs for WindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.exprs.iter().map(|expr| expr.name()).collect();
        write!(f, "WindowExec: functions=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for WindowExec {
    fn name(&self) -> &str {
        "WindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    over_one_child!(input);

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [child] = children.as_slice() else {
            return internal_err!("a window operator has one child, found {}", children.len());
        };
        let window = WindowAggExec::try_new(self.exprs.clone(), Arc::clone(child), true)?;
        Ok(Arc::new(WindowExec {
            input: Arc::clone(child),
            exprs: self.exprs.clone(),
            properties: Arc::clone(window.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pool = context.memory_pool();
        let order_by = self.exprs.first().map_or(&[][..], |expr| expr.order_by());
        let order_by = order_by.iter().map(|sort| Arc::clone(&sort.expr)).collect();
        let spiller = Spiller::new(
            Arc::clone(&context.runtime_env().disk_manager),
            SpillMetrics::new(&self.metrics, partition),
        );
        let memory = MemoryConsumer::new(format!("WindowExec[{partition}]")).with_can_spill(true);
        let work = Work {
            schema: self.schema(),
            input: self.input.execute(partition, Arc::clone(&context))?,
            rows: Rows::new(
                self.partition_by().to_vec(),
                order_by,
                memory.register(pool),
                spiller,
            ),
            functions: self.functions()?,
            state: MemoryConsumer::new(format!("WindowExec[{partition}] functions")).register(pool),
            next: 0,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = futures::stream::try_unfold(work, |mut work| async move {
            Ok(work.next().await?.map(|batch| (batch, work)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
