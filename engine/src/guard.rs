//! Guards around operators of a bound fragment: they tell which field of which row failed, and hold windows to a size.
//!
//! They are put in when a fragment is bound, so they never travel, and cost nothing while nothing goes wrong but one
//! look at each window's rows where a limit is asked for.

mod field_errors;
mod window_rows;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;

pub use field_errors::FieldError;
use field_errors::FieldErrorExec;
pub use window_rows::WindowRowsError;
use window_rows::WindowRowsExec;

use crate::{ExternScanExec, WindowExec};

/// What the guards hold a fragment to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guards {
    /// Rows of one window at the most; `None` for any number.
    pub max_window_rows: Option<u64>,
}

/// The fragment with its guards.
///
/// # Errors
/// Never in practice: guards give the rows of what they guard.
pub fn guard(plan: Arc<dyn ExecutionPlan>, guards: &Guards) -> Result<Arc<dyn ExecutionPlan>> {
    let guarded = plan.transform_up(|node| {
        if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
            let source = external_source(projection.input())?;
            return Ok(Transformed::yes(Arc::new(FieldErrorExec::new(node, source)) as _));
        }
        let Some(max_rows) = guards.max_window_rows else {
            return Ok(Transformed::no(node));
        };
        let keys = node
            .downcast_ref::<WindowExec>()
            .map(|window| window.partition_by().to_vec());
        let children: Vec<Arc<dyn ExecutionPlan>> = node.children().into_iter().cloned().collect();
        let (Some(keys), [child]) = (keys, children.as_slice()) else {
            return Ok(Transformed::no(node));
        };
        let counted: Arc<dyn ExecutionPlan> =
            Arc::new(WindowRowsExec::new(Arc::clone(child), keys, max_rows));
        Ok(Transformed::yes(replace_children_if_necessary(
            node,
            vec![counted],
        )?))
    })?;
    Ok(guarded.data)
}

/// The EXTERN that rows come from, as Druid's errors name it, where there is one and no other source.
pub fn external_source(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<String>> {
    let mut sources = Vec::new();
    plan.apply(|node| {
        if node.children().is_empty() {
            let scan = node.downcast_ref::<ExternScanExec>();
            sources.push(scan.map(|scan| format!("external[{}]", scan.spec().source.description())));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(match sources.as_mut_slice() {
        [only] => only.take(),
        _ => None,
    })
}
