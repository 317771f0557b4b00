//! A fragment's life: encoded by the planner, decoded by a worker, bound to one work order's inputs.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, plan_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use crate::codec::FragmentCodec;
use crate::input::FragmentInputs;
use crate::window::travelling;
use crate::{ExportSinkExec, ExternScanExec, SegmentSinkExec, ShuffleReadExec, WindowExec, segment_scan};

/// Bytes of a validated fragment.
///
/// # Errors
/// When [`validate`] refuses it or a node of it cannot travel.
pub fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
    validate(plan)?;
    let plan = travelling(Arc::clone(plan))?;
    Ok(physical_plan_to_bytes_with_extension_codec(plan, &FragmentCodec)?.to_vec())
}

/// The fragment of [`encode`], with unbound leaves.
///
/// # Errors
/// For bytes that are not a fragment.
pub fn decode(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    physical_plan_from_bytes_with_extension_codec(bytes, context, &FragmentCodec)
}

/// Nodes whose state lives outside the fragment, or that would move rows within one worker where the plan means all
/// of them.
const REFUSED: &[&str] = &[
    "RepartitionExec",
    "CoalescePartitionsExec",
    "SortPreservingMergeExec",
    "ScalarSubqueryExec",
    "RecursiveQueryExec",
    "WorkTableExec",
    "PiecewiseMergeJoinExec",
    "SymmetricHashJoinExec",
];

/// Refuses a fragment with a node that may not be in one.
///
/// # Errors
/// Names the node.
pub fn validate(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    plan.apply(|node| {
        if REFUSED.contains(&node.name()) {
            return plan_err!("a stage's fragment may not hold a {}", node.name());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// The fragment with its leaves reading `inputs` and its sinks writing to `inputs.sink`, and its windows in bounded memory.
/// Its output partitions are those of the work order.
///
/// # Errors
/// When the inputs are not of the kinds that the leaves expect.
pub fn bind(plan: Arc<dyn ExecutionPlan>, inputs: &FragmentInputs) -> Result<Arc<dyn ExecutionPlan>> {
    let bound = plan.transform_up(|node| {
        if let Some(read) = node.downcast_ref::<ShuffleReadExec>() {
            return Ok(Transformed::yes(
                Arc::new(read.bind(inputs.get(read.input())?)?) as _
            ));
        }
        if let Some(scan) = node.downcast_ref::<ExternScanExec>() {
            return Ok(Transformed::yes(
                Arc::new(scan.bind(inputs.get(scan.input())?)?) as _
            ));
        }
        if let Some(sink) = node.downcast_ref::<SegmentSinkExec>() {
            return Ok(Transformed::yes(Arc::new(sink.bind(inputs)?) as _));
        }
        if let Some(sink) = node.downcast_ref::<ExportSinkExec>() {
            return Ok(Transformed::yes(Arc::new(sink.bind(inputs)?) as _));
        }
        if let Some(window) = WindowExec::replacing(&node)? {
            return Ok(Transformed::yes(Arc::new(window) as _));
        }
        match segment_scan::placeholder_input(&node) {
            Some(input) => Ok(Transformed::yes(segment_scan::bind(&node, inputs.get(input)?)?)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(bound.data)
}
