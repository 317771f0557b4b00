//! Global order: range shuffles instead of one machine.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use sarsen_kernel::query::Delivery;
use sarsen_kernel::shuffle::{KeyColumn, RangeTarget, Release, ShuffleKind, ShuffleSpec};

use super::{Open, StageBuilder, keys};

impl StageBuilder<'_> {
    /// A merge of sorted partitions. With a LIMIT each partition keeps its first rows and one worker merges them;
    /// without one, a range shuffle sorts, and its single reader finds the rows in order.
    pub(super) fn open_merge(&mut self, merge: &SortPreservingMergeExec) -> Result<Open> {
        if let Some(fetch) = merge.fetch() {
            let child = self.open(merge.input())?;
            let child = self.gather(child, None)?;
            let sorted = child.map(|plan| {
                Ok(Arc::new(
                    SortExec::new(merge.expr().clone(), plan).with_fetch(Some(fetch)),
                ))
            })?;
            return Ok(Open {
                single: true,
                deterministic: false,
                ..sorted
            });
        }
        let sorted = self.close_sorted(merge.input(), merge.expr(), RangeTarget::MaxCount(1), Self::open)?;
        let columns = merge.input().schema().fields().len();
        let (open, shuffle) = sorted;
        let read = self.close_and_read(open, shuffle, Delivery::Partitioned)?;
        keys::without_key_columns(read, columns)
    }

    /// The open fragment below a sort of partitions, with the range shuffle that replaces the sort.
    fn close_sorted(
        &mut self,
        input: &Arc<dyn ExecutionPlan>,
        order: &LexOrdering,
        target: RangeTarget,
        open: impl FnOnce(&mut Self, &Arc<dyn ExecutionPlan>) -> Result<Open>,
    ) -> Result<(Open, ShuffleSpec)> {
        let unsorted = match input.downcast_ref::<SortExec>() {
            Some(sort) if sort.fetch().is_none() => sort.input(),
            _ => input,
        };
        let child = open(self, unsorted)?;
        let (child, key) = order_key(child, order)?;
        Ok((
            child,
            ShuffleSpec {
                kind: ShuffleKind::GlobalSort(target),
                key,
                bucket_prefix_bytes: 0,
                release: Release::default(),
            },
        ))
    }

    /// When `plan` ends in a global sort without a limit: the fragment below it and the range shuffle, whose
    /// partitions in order are the sorted rows.
    ///
    /// # Errors
    /// As [`StageBuilder::open`].
    pub fn open_sorted_root(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        target: RangeTarget,
    ) -> Result<Option<(Open, ShuffleSpec)>> {
        let (input, order) = if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>()
            && merge.fetch().is_none()
        {
            (merge.input(), merge.expr())
        } else {
            return Ok(None);
        };
        self.close_sorted(input, order, target, Self::open_root).map(Some)
    }
}

/// The fragment with a column for each sort expression, and the key in that order.
///
/// # Errors
/// When an expression cannot be projected.
pub fn order_key(open: Open, order: &LexOrdering) -> Result<(Open, Vec<KeyColumn>)> {
    keys::with_key_columns(
        open,
        order
            .iter()
            .map(|sort| (Arc::clone(&sort.expr), Some(sort.options))),
    )
}
