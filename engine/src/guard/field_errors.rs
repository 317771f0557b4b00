//! A projection that tells which field of which row it could not compute.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

/// A field that could not be computed (Druid: `InvalidField`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Error[{message}] in row [{row}] of column [{column}]")]
pub struct FieldError {
    /// As Druid names the EXTERN that the row came from; `None` for rows from elsewhere.
    pub source_name: Option<String>,
    pub column: String,
    /// From 1, in the order in which the rows were read.
    pub row: u64,
    pub message: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FieldErrorExec {
    /// A [`ProjectionExec`].
    projection: Arc<dyn ExecutionPlan>,
    source: Option<String>,
}

impl FieldErrorExec {
    /// `projection` must be a [`ProjectionExec`].
    pub fn new(projection: Arc<dyn ExecutionPlan>, source: Option<String>) -> Self {
        FieldErrorExec { projection, source }
    }
}

impl DisplayAs for FieldErrorExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.projection.fmt_as(kind, f)
    }
}

impl ExecutionPlan for FieldErrorExec {
    fn name(&self) -> &str {
        "FieldErrorExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.projection.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.projection.children()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.projection.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = Arc::clone(&self.projection).replace_children(children, options)?;
        Ok(Arc::new(FieldErrorExec::new(projection, self.source.clone())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.projection.metrics()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(projection) = self.projection.downcast_ref::<ProjectionExec>() else {
            return internal_err!("{} is no projection", self.projection.name());
        };
        let schema = projection.schema();
        let exprs: Vec<ProjectionExpr> = projection.expr().to_vec();
        let source = self.source.clone();
        let rows = projection.input().execute(partition, context)?;
        let output = Arc::clone(&schema);
        let mut before = 0_u64;
        let projected = rows.map(move |batch| {
            let batch = batch?;
            let columns = exprs
                .iter()
                .map(|field| {
                    let value = field.expr.evaluate(&batch);
                    value
                        .and_then(|value| value.into_array(batch.num_rows()))
                        .map_err(|error| located(error, field, &batch, before, source.as_ref()))
                })
                .collect::<Result<Vec<_>>>()?;
            before += batch.num_rows() as u64;
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(
                Arc::clone(&output),
                columns,
                &options,
            )?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, projected)))
    }
}

/// The error with its place: the rows of the batch are tried one by one.
fn located(
    error: DataFusionError,
    field: &ProjectionExpr,
    batch: &RecordBatch,
    before: u64,
    source: Option<&String>,
) -> DataFusionError {
    if reason(&error).is_none() {
        return error;
    }
    let failing = (0..batch.num_rows()).find_map(|row| {
        let tried = field.expr.evaluate(&batch.slice(row, 1));
        tried.err().map(|error| (row, error))
    });
    let (row, error) = failing.unwrap_or((0, error));
    let Some(message) = reason(&error) else {
        return error;
    };
    DataFusionError::External(Box::new(FieldError {
        source_name: source.cloned(),
        column: field.alias.clone(),
        row: before + row as u64 + 1,
        message,
    }))
}

/// What a value did wrong; `None` for errors that are not about a value.
fn reason(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::DivideByZero => Some("/ by zero".to_owned()),
            ArrowError::ArithmeticOverflow(text)
            | ArrowError::ComputeError(text)
            | ArrowError::CastError(text)
            | ArrowError::ParseError(text)
            | ArrowError::InvalidArgumentError(text) => Some(text.clone()),
            _ => None,
        },
        DataFusionError::Execution(text) => Some(text.clone()),
        _ => None,
    }
}
