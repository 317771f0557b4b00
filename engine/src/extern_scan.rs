//! The leaf that reads EXTERN.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use sarsen_storage::format::InputFormat;
use sarsen_storage::reader::{ReadRequest, read_split};
use sarsen_storage::signature::Signature;
use sarsen_storage::source::InputSource;

use crate::children::leaf;
use crate::input::{FragmentInput, SplitInput};

/// What an EXTERN reads, in the user's own specs; secrets included, so it is never printed.
#[derive(Clone, PartialEq)]
pub struct ExternSpec {
    pub source: InputSource,
    pub format: InputFormat,
    pub signature: Signature,
}

impl fmt::Debug for ExternSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternSpec")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// Reads input `input` of the stage: splits of outside files, from a queue that its partitions share.
#[derive(Debug, Clone)]
pub struct ExternScanExec {
    input: usize,
    spec: Arc<ExternSpec>,
    /// Indices in the signature; output columns are in this order.
    projection: Vec<usize>,
    schema: SchemaRef,
    bound: Option<Arc<SplitInput>>,
    properties: Arc<PlanProperties>,
}

impl ExternScanExec {
    /// An unbound leaf, as the planner makes it; `partitions` is what the plan assumes.
    ///
    /// # Errors
    /// When `projection` names a column that the signature lacks.
    pub fn try_new(
        input: usize,
        spec: Arc<ExternSpec>,
        projection: Vec<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let schema = Arc::new(spec.signature.arrow_schema().project(&projection)?);
        let properties = properties(&schema, partitions);
        Ok(ExternScanExec {
            input,
            spec,
            projection,
            schema,
            bound: None,
            properties,
        })
    }

    /// The same leaf reading as another input of its stage.
    pub fn with_input(&self, input: usize) -> Self {
        ExternScanExec {
            input,
            ..self.clone()
        }
    }

    /// The same leaf reading from a work order's input.
    ///
    /// # Errors
    /// An internal error when that input is not an EXTERN.
    pub fn bind(&self, input: &FragmentInput) -> Result<Self> {
        let FragmentInput::Splits(splits) = input else {
            return exec_err!("input {} of the work order is not an EXTERN", self.input);
        };
        let mut bound = self.clone();
        bound.properties = properties(&self.schema, splits.partitions);
        bound.bound = Some(Arc::clone(splits));
        Ok(bound)
    }

    pub fn input(&self) -> usize {
        self.input
    }

    pub fn spec(&self) -> &Arc<ExternSpec> {
        &self.spec
    }

    pub fn projection(&self) -> &[usize] {
        &self.projection
    }
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(
        PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative),
    )
}

impl DisplayAs for ExternScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        write!(
            f,
            "ExternScanExec: input={}, columns=[{}]",
            self.input,
            columns.join(", ")
        )
    }
}

impl ExecutionPlan for ExternScanExec {
    leaf!("ExternScanExec");

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(bound) = self.bound.clone() else {
            return exec_err!("input {} was never bound to a work order", self.input);
        };
        let spec = Arc::clone(&self.spec);
        let projection = self.projection.clone();
        let batch_rows = context.session_config().batch_size();
        let files = futures::stream::try_unfold(Arc::clone(&bound), |bound| async move {
            let file = bound.next_file().await?;
            Ok::<_, DataFusionError>(file.map(|file| (file, bound)))
        });
        let rows = files
            .map(move |split| {
                let split = split?;
                let request = ReadRequest {
                    split,
                    source: spec.source.clone(),
                    format: spec.format.clone(),
                    signature: spec.signature.clone(),
                    projection: Some(projection.clone()),
                    batch_rows,
                    context: Arc::clone(&bound.context),
                    counters: Arc::clone(&bound.counters),
                    parse_errors: Arc::clone(&bound.parse_errors),
                    max_bytes: None,
                    entry: None,
                };
                Ok::<_, DataFusionError>(
                    read_split(request).map_err(|error| DataFusionError::External(Box::new(error))),
                )
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        )))
    }
}
