//! Joins whose left side is collected: it is broadcast where that is right, else both sides meet in one place.

use std::sync::Arc;

use datafusion::common::{JoinType, Result, internal_err};
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use sarsen_kernel::query::Delivery;
use sarsen_kernel::shuffle::{ShuffleKind, ShuffleSpec};

use super::{Open, StageBuilder};

/// Whether every worker may join its own right rows with the whole left side: true when no left row is ever given
/// back by itself, since each worker would do so.
fn may_broadcast_left(join_type: JoinType) -> bool {
    matches!(
        join_type,
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark
    )
}

impl StageBuilder<'_> {
    pub(super) fn open_collected_hash_join(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        join: &HashJoinExec,
    ) -> Result<Open> {
        if may_broadcast_left(*join.join_type()) || join.null_aware || is_gathered(join.right()) {
            return self.open_collected_join(plan, *join.join_type());
        }
        // The same join with both sides hashed on their keys.
        let (left_keys, right_keys) = join.on().iter().cloned().unzip();
        let partitions = 2;
        let hashed = |side: &Arc<dyn ExecutionPlan>, keys| -> Result<Arc<dyn ExecutionPlan>> {
            Ok(Arc::new(RepartitionExec::try_new(
                without_gather(side),
                Partitioning::Hash(keys, partitions),
            )?))
        };
        let partitioned = HashJoinExec::try_new(
            hashed(join.left(), left_keys)?,
            hashed(join.right(), right_keys)?,
            join.on().to_vec(),
            join.filter().cloned(),
            join.join_type(),
            join.projection.as_ref().map(|projection| projection.to_vec()),
            PartitionMode::Partitioned,
            join.null_equality(),
            false,
        )?;
        let partitioned: Arc<dyn ExecutionPlan> = Arc::new(partitioned);
        self.open(&partitioned)
    }

    /// A join that collects its left side.
    pub(super) fn open_collected_join(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        join_type: JoinType,
    ) -> Result<Open> {
        let children: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
        let [left, right] = children.as_slice() else {
            return internal_err!("a join has two sides, found {}", children.len());
        };
        let left = self.open(&without_gather(left))?;
        let null_aware = plan
            .downcast_ref::<HashJoinExec>()
            .is_some_and(|join| join.null_aware);
        let right = self.open(right)?;
        let right = if may_broadcast_left(join_type) && !null_aware {
            right
        } else {
            self.gather(right, None)?
        };
        let deterministic = left.deterministic && right.deterministic;
        let left = if left.single && right.single {
            left
        } else {
            let broadcast = ShuffleSpec {
                kind: ShuffleKind::Broadcast,
                key: Vec::new(),
                bucket_prefix_bytes: 0,
            };
            self.close_and_read(left, broadcast, Delivery::Broadcast)?
        };
        let plan = replace_children_if_necessary(Arc::clone(plan), vec![left.plan, right.plan])?;
        Ok(Open {
            plan,
            single: right.single,
            deterministic,
        })
    }
}

fn is_gathered(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<CoalescePartitionsExec>().is_some()
}

/// The plan below a node that only gathers its partitions.
fn without_gather(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.downcast_ref::<CoalescePartitionsExec>() {
        Some(gather) if gather.fetch().is_none() => Arc::clone(gather.input()),
        _ => Arc::clone(plan),
    }
}
