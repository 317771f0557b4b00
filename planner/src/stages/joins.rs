//! Joins: the left side is built in memory, broadcast to every worker or hashed together with the right side; where
//! sizes are not known, both ways are planned and the kernel takes one.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, JoinType, Result, internal_datafusion_err, internal_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::Delivery;
use sarsen_kernel::shuffle::{Release, ShuffleKind, ShuffleSpec};

use super::choices::{OpenAlternative, OpenChoice};
use super::{Open, StageBuilder, keys};

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
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
        let left = self.open(&without_gather(join.left()))?;
        let left = self.close_hashed(left, &left_keys)?;
        let right = self.open(join.right())?;
        let right = self.close_hashed(right, &right_keys)?;
        let (left, right) = (self.read_hashed(&left)?, self.read_hashed(&right)?);
        Open::combine(vec![left, right], |sides| {
            hash_join(join, sides, PartitionMode::Partitioned)
        })
    }

    /// A join whose sides are hashed on their keys. Whether that is the best way shows once the left side is there: if
    /// it is small, every worker gets all of it and the right side stays where it is; if it is too large for
    /// memory, both sides are sorted and merged.
    pub(super) fn open_partitioned_hash_join(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        join: &HashJoinExec,
    ) -> Result<Open> {
        let (Some(left), Some(right)) = (hashed_input(join.left()), hashed_input(join.right())) else {
            return self.open_default(plan);
        };
        if join.null_aware {
            return self.open_default(plan);
        }
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
        let (left, right) = (self.open(left)?, self.open(right)?);
        let may_broadcast = may_broadcast_left(*join.join_type()) && right.choice.is_none() && !right.single;
        let unhashed_right = right.clone();
        let left = self.close_hashed(left, &left_keys)?;
        let right = self.close_hashed(right, &right_keys)?;
        let sides = [self.read_hashed(&left)?.plan, self.read_hashed(&right)?.plan];
        let hashed = hash_join(join, sides.to_vec(), PartitionMode::Partitioned)?;
        let [measured] = left.stages.as_slice() else {
            return Ok(Open::leaf(hashed, false));
        };
        let mut before_last = Vec::new();
        if may_broadcast {
            let left = self.read_broadcast(&left)?;
            before_last.push(OpenAlternative {
                name: "broadcast join",
                max_bytes: self.options.join_build_bytes,
                plan: hash_join(join, vec![left, unhashed_right.plan], PartitionMode::CollectLeft)?,
                partitioned: false,
            });
        }
        let (last, last_name) = match sort_merge_join(join, sides) {
            Ok(merged) => {
                before_last.push(OpenAlternative {
                    name: "partitioned hash join",
                    max_bytes: self.options.join_build_bytes * u64::from(self.most_partitions()),
                    plan: hashed,
                    partitioned: true,
                });
                (merged, "sort-merge join")
            }
            Err(_) => (hashed, "partitioned hash join"),
        };
        let choice = (!before_last.is_empty()).then(|| OpenChoice {
            measured: *measured,
            before_last,
            last_name,
            partitioned_stages: right.stages.clone(),
        });
        Ok(Open {
            deterministic: unhashed_right.deterministic,
            choice,
            ..Open::leaf(last, false)
        })
    }

    fn most_partitions(&self) -> u32 {
        self.options.partitions.unwrap_or(self.options.max_partitions)
    }

    /// Closes a fragment, its rows hashed on `keys`.
    pub(super) fn close_hashed(&mut self, child: Open, keys: &[Arc<dyn PhysicalExpr>]) -> Result<Hashed> {
        let columns = child.plan.schema().fields().len();
        let (child, key) = keys::with_key_columns(child, keys.iter().map(|key| (Arc::clone(key), None)))?;
        let schema = child.plan.schema();
        let shuffle = ShuffleSpec {
            kind: ShuffleKind::Hash {
                partitions: self.hash_partitions(),
            },
            key,
            bucket_prefix_bytes: 0,
            release: Release::default(),
        };
        Ok(Hashed {
            stages: self.close(child, Some(shuffle))?,
            schema,
            columns,
        })
    }

    /// Reads it partition by partition.
    pub(super) fn read_hashed(&mut self, hashed: &Hashed) -> Result<Open> {
        let schema = Arc::clone(&hashed.schema);
        let read = self.read(hashed.stages.clone(), Delivery::Partitioned, schema, Vec::new());
        keys::without_key_columns(Open::leaf(read, false), hashed.columns)
    }

    /// Reads all of it on every worker.
    fn read_broadcast(&mut self, hashed: &Hashed) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&hashed.schema);
        let read = self.read(hashed.stages.clone(), Delivery::Broadcast, schema, Vec::new());
        Ok(keys::without_key_columns(Open::leaf(read, false), hashed.columns)?.plan)
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
        let (left, right) = if left.single && right.single {
            (left, right)
        } else {
            let deterministic = right.deterministic && left.deterministic;
            let broadcast = ShuffleSpec {
                kind: ShuffleKind::Broadcast,
                key: Vec::new(),
                bucket_prefix_bytes: 0,
                release: Release::default(),
            };
            let left = self.close_and_read(left, broadcast, Delivery::Broadcast)?;
            (
                left,
                Open {
                    deterministic,
                    ..right
                },
            )
        };
        let single = right.single;
        let joined = Open::combine(vec![left, right], |sides| {
            replace_children_if_necessary(Arc::clone(plan), sides)
        })?;
        Ok(Open { single, ..joined })
    }
}

/// A fragment that was closed with its rows hashed.
pub(super) struct Hashed {
    stages: Vec<StageNumber>,
    /// With the key columns that were added.
    schema: SchemaRef,
    /// Without them.
    columns: usize,
}

/// The join over other sides, each partition by itself or with the left side as a whole.
fn hash_join(
    join: &HashJoinExec,
    sides: Vec<Arc<dyn ExecutionPlan>>,
    mode: PartitionMode,
) -> Result<Arc<dyn ExecutionPlan>> {
    let [left, right] = two(sides)?;
    Ok(Arc::new(HashJoinExec::try_new(
        left,
        right,
        join.on().to_vec(),
        join.filter().cloned(),
        join.join_type(),
        join.projection.as_ref().map(|projection| projection.to_vec()),
        mode,
        join.null_equality(),
        false,
    )?))
}

/// The join over sides that are sorted first, which spills what does not fit into memory.
///
/// # Errors
/// For a kind of join that cannot be merged.
fn sort_merge_join(
    join: &HashJoinExec,
    sides: [Arc<dyn ExecutionPlan>; 2],
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = SortOptions::default();
    let sorted = |side: Arc<dyn ExecutionPlan>, keys: Vec<Arc<dyn PhysicalExpr>>| {
        let order = keys.into_iter().map(|key| PhysicalSortExpr::new(key, options));
        let order = LexOrdering::new(order).ok_or_else(|| internal_datafusion_err!("a join without keys"))?;
        let sort = SortExec::new(order, side).with_preserve_partitioning(true);
        Ok::<Arc<dyn ExecutionPlan>, DataFusionError>(Arc::new(sort))
    };
    let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let [left, right] = sides;
    let merged: Arc<dyn ExecutionPlan> = Arc::new(SortMergeJoinExec::try_new(
        sorted(left, left_keys)?,
        sorted(right, right_keys)?,
        join.on().to_vec(),
        join.filter().cloned(),
        *join.join_type(),
        vec![options; join.on().len()],
        join.null_equality(),
    )?);
    let Some(projection) = &join.projection else {
        return Ok(merged);
    };
    let schema = merged.schema();
    let columns = projection.iter().map(|index| {
        let name = schema.field(*index).name();
        (
            Arc::new(Column::new(name, *index)) as Arc<dyn PhysicalExpr>,
            name.clone(),
        )
    });
    let columns: Vec<_> = columns.collect();
    Ok(Arc::new(ProjectionExec::try_new(columns, merged)?))
}

fn two(sides: Vec<Arc<dyn ExecutionPlan>>) -> Result<[Arc<dyn ExecutionPlan>; 2]> {
    let found = sides.len();
    <[_; 2]>::try_from(sides).map_err(|_| internal_datafusion_err!("a join has two sides, found {found}"))
}

/// What a side that is hashed on its keys reads. Different keys are hashed already; they are few enough to be hashed once
/// more for the choice between kinds of joins.
fn hashed_input(side: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    if holds_different_keys(side) {
        return Some(side);
    }
    let repartition = side.downcast_ref::<RepartitionExec>()?;
    matches!(repartition.partitioning(), Partitioning::Hash(..)).then(|| repartition.input())
}

fn holds_different_keys(side: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(projection) = side.downcast_ref::<ProjectionExec>() {
        return holds_different_keys(projection.input());
    }
    side.downcast_ref::<AggregateExec>().is_some_and(|aggregate| {
        *aggregate.mode() == AggregateMode::FinalPartitioned && aggregate.aggr_expr().is_empty()
    })
}

/// Where the size of the right side is not known, DataFusion leaves a join as it was written and would build the left
/// one; Druid builds the right one, which is the smaller one in queries made for it.
///
/// # Errors
/// Those of swapping.
pub fn build_right_sides(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let swapped = plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<HashJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let mode = *join.partition_mode();
        let helps = join.join_type().supports_swap() && may_broadcast_left(join.join_type().swap());
        if !helps || mode != PartitionMode::Partitioned || join.null_aware || has_size(join.right())? {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(join.swap_inputs(mode)?))
    })?;
    Ok(swapped.data)
}

fn has_size(side: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let statistics = StatisticsContext::new().compute(side.as_ref(), &StatisticsArgs::default())?;
    Ok(statistics.num_rows.get_value().is_some() || statistics.total_byte_size.get_value().is_some())
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
