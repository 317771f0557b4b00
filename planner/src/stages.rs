//! Cuts an optimised physical plan into stages where rows must change place.
//!
//! The plan is walked from its leaves up. What has been walked and not yet closed is an open fragment; an operator
//! that needs rows from elsewhere closes it as a stage with a shuffle, and a shuffle read takes its place.

mod choices;
mod fragment;
mod joins;
mod keys;
mod sorts;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_expr::{Distribution, Partitioning};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::{AlternativeRef, ChoiceDefinition, Delivery, StageDefinition, StageInput};
use sarsen_kernel::shuffle::{KeyColumn, PartitionCount, RangeTarget, Release, ShuffleKind, ShuffleSpec};

use crate::request::PlannedScan;
use crate::tables::{ScanTarget, Scans};
pub use fragment::Open;
pub use joins::build_right_sides;

/// How wide stages may be.
#[derive(Debug, Clone, Copy)]
pub struct CutOptions {
    /// Workers of a stage at most.
    pub max_workers: u32,
    /// Exact number of hash and range partitions; `None` lets the kernel decide from measured bytes.
    pub partitions: Option<u32>,
    /// Hash partitions at most when the kernel decides.
    pub max_partitions: u32,
    /// Bytes that one hash partition should hold.
    pub partition_bytes: u64,
    /// Bytes of a join's build side that one worker, or one of its partitions, may hold in memory.
    pub join_build_bytes: u64,
}

/// A plan cut into stages.
#[derive(Debug)]
pub struct Cut {
    pub stages: Vec<StageDefinition>,
    pub choices: Vec<ChoiceDefinition>,
    /// What the stages read from outside.
    pub scans: Vec<PlannedScan>,
}

/// Stages under construction.
#[derive(Debug)]
pub struct StageBuilder<'a> {
    options: CutOptions,
    scans: &'a Scans,
    /// Inputs of open fragments by the number that their leaf carries.
    inputs: Vec<OpenInput>,
    stages: Vec<StageDefinition>,
    choices: Vec<ChoiceDefinition>,
    planned_scans: Vec<PlannedScan>,
}

/// An input of an open fragment.
#[derive(Debug, Clone)]
struct OpenInput {
    input: StageInput,
    /// What is read, for outside data.
    scan: Option<ScanTarget>,
}

impl<'a> StageBuilder<'a> {
    pub fn new(options: CutOptions, scans: &'a Scans) -> Self {
        StageBuilder {
            options,
            scans,
            inputs: Vec::new(),
            stages: Vec::new(),
            choices: Vec::new(),
            planned_scans: Vec::new(),
        }
    }

    /// The open fragment of a whole plan, with the stages below it closed.
    ///
    /// # Errors
    /// When the plan holds what no fragment may hold.
    pub fn open(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Open> {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return match repartition.partitioning() {
                Partitioning::Hash(keys, _) => {
                    let child = self.open(repartition.input())?;
                    let side = self.close_hashed(child, keys)?;
                    self.read_hashed(&side)
                }
                // Spreading rows over more threads of one machine is the worker's affair.
                _ => self.open(repartition.input()),
            };
        }
        if let Some(coalesce) = plan.downcast_ref::<CoalescePartitionsExec>() {
            let child = self.open(coalesce.input())?;
            return self.gather(child, coalesce.fetch());
        }
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>()
            && let Some(coalesce) = gathered(projection.input()).downcast_ref::<CoalescePartitionsExec>()
            && let Some(fetch) = coalesce.fetch()
        {
            return self.gather_projected(plan, coalesce, fetch);
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            return self.open_merge(merge);
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            return match join.partition_mode() {
                PartitionMode::Partitioned => self.open_partitioned_hash_join(plan, join),
                _ => self.open_collected_hash_join(plan, join),
            };
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            return self.open_collected_join(plan, *join.join_type());
        }
        if plan.downcast_ref::<CrossJoinExec>().is_some() {
            return self.open_collected_join(plan, datafusion::common::JoinType::Inner);
        }
        if plan.downcast_ref::<UnionExec>().is_some() || plan.downcast_ref::<InterleaveExec>().is_some() {
            return self.open_union(plan);
        }
        if plan.children().is_empty() {
            return self.open_leaf(plan);
        }
        self.open_default(plan)
    }

    /// As [`StageBuilder::open`], for the last stage: there is one, whichever of its inputs' alternatives is taken.
    ///
    /// # Errors
    /// As [`StageBuilder::open`].
    pub fn open_root(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Open> {
        let open = self.open(plan)?;
        if open.choice.is_some() {
            self.gather_anew(open)
        } else {
            Ok(open)
        }
    }

    /// An operator that works on each partition by itself, or on the single partition of its child.
    fn open_default(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Open> {
        let needs_single = needs_single_partition(plan);
        let requirements = plan.input_distribution_requirements();
        let mut children = Vec::new();
        for (child, distribution) in plan
            .children()
            .into_iter()
            .zip(requirements.per_child_distributions())
        {
            let mut open = self.open(child)?;
            if needs_single && !open.single {
                open = self.gather(open, None)?;
            }
            if matches!(distribution, Distribution::KeyPartitioned(_)) {
                open = open.co_partitioned();
            }
            children.push(open);
        }
        let open = Open::combine(children, |children| {
            replace_children_if_necessary(Arc::clone(plan), children)
        })?;
        Ok(Open {
            deterministic: open.deterministic && is_deterministic(plan),
            ..open
        })
    }

    /// A union's partitions are those of all its children; a child that would be whole on every worker is gathered
    /// into a stage of its own.
    fn open_union(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Open> {
        let mut children = Vec::new();
        let several = plan.children().len() > 1;
        for child in plan.children() {
            let open = self.open(child)?;
            children.push(if several && (open.single || open.choice.is_some()) {
                self.gather_anew(open)?
            } else {
                open
            });
        }
        let union = Open::combine(children, |children| {
            if several {
                UnionExec::try_new(children)
            } else {
                replace_children_if_necessary(Arc::clone(plan), children)
            }
        })?;
        Ok(Open {
            single: false,
            ..union
        })
    }

    /// All rows in one partition, at most `fetch` of them.
    fn gather(&mut self, child: Open, fetch: Option<usize>) -> Result<Open> {
        let Some(fetch) = fetch else {
            return if child.single {
                Ok(child)
            } else {
                self.gather_anew(child)
            };
        };
        let gathered = if child.single {
            child
        } else {
            let limited = child.map(|plan| Ok(Arc::new(LocalLimitExec::new(plan, fetch))))?;
            self.gather_anew(Open {
                deterministic: false,
                ..limited
            })?
        };
        let limited = gathered.map(|plan| Ok(Arc::new(GlobalLimitExec::new(plan, 0, Some(fetch)))))?;
        Ok(Open {
            deterministic: false,
            ..limited
        })
    }

    /// As [`StageBuilder::gather`], with `projection` worked out where the rows are.
    fn gather_projected(
        &mut self,
        projection: &Arc<dyn ExecutionPlan>,
        coalesce: &CoalescePartitionsExec,
        fetch: usize,
    ) -> Result<Open> {
        let child = self.open(coalesce.input())?;
        let project = |plan| replace_children_if_necessary(Arc::clone(projection), vec![plan]);
        if child.single {
            return self.gather(child, Some(fetch))?.map(project);
        }
        let limited = child.map(|plan| project(Arc::new(LocalLimitExec::new(plan, fetch))))?;
        self.gather(limited, Some(fetch))
    }

    /// Closes a fragment whose rows are then read as one partition.
    fn gather_anew(&mut self, child: Open) -> Result<Open> {
        self.close_and_read(child, mix(), Delivery::Partitioned)
    }

    fn hash_partitions(&self) -> PartitionCount {
        match self.options.partitions {
            Some(partitions) => PartitionCount::Fixed(partitions),
            None => PartitionCount::Measured {
                // Groups are joined when the reading stage closes.
                group: u32::try_from(self.stages.len()).unwrap_or(u32::MAX),
                target_bytes: self.options.partition_bytes,
                max: self.options.max_partitions,
            },
        }
    }

    /// Closes `child` as a stage and opens a fragment that reads it.
    fn close_and_read(&mut self, child: Open, shuffle: ShuffleSpec, delivery: Delivery) -> Result<Open> {
        let sorted = shuffle.kind.is_sorted();
        self.close_and_read_sorted(child, shuffle, delivery, sorted)
    }

    /// As [`StageBuilder::close_and_read`]; a sorted shuffle whose order does not matter to its reader need not be
    /// merged.
    pub fn close_and_read_sorted(
        &mut self,
        child: Open,
        shuffle: ShuffleSpec,
        delivery: Delivery,
        merge: bool,
    ) -> Result<Open> {
        let schema = child.plan.schema();
        let single = matches!(
            shuffle.kind,
            ShuffleKind::Mix | ShuffleKind::GlobalSort(RangeTarget::MaxCount(1))
        );
        let merge_key: Vec<KeyColumn> = if merge { shuffle.key.clone() } else { Vec::new() };
        let candidates = self.close(child, Some(shuffle))?;
        let read = self.read(candidates, delivery, schema, merge_key);
        Ok(Open::leaf(read, single))
    }

    /// A leaf that reads the output of whichever of `candidates` lives.
    fn read(
        &mut self,
        candidates: Vec<StageNumber>,
        delivery: Delivery,
        schema: SchemaRef,
        merge_key: Vec<KeyColumn>,
    ) -> Arc<dyn ExecutionPlan> {
        let input = self.inputs.len();
        self.inputs.push(OpenInput {
            input: StageInput::Stage { candidates, delivery },
            scan: None,
        });
        Arc::new(sarsen_engine::ShuffleReadExec::new(input, schema, merge_key, 1))
    }

    fn close_one(
        &mut self,
        open: Open,
        shuffle: Option<ShuffleSpec>,
        alternative: Option<AlternativeRef>,
    ) -> Result<StageNumber> {
        let number = StageNumber(u32::try_from(self.stages.len()).unwrap_or(u32::MAX));
        let (stage, scans) = fragment::close(open, shuffle, number, &self.inputs, self.options.max_workers)?;
        self.planned_scans.extend(scans);
        self.join_partition_groups(&stage);
        self.stages.push(StageDefinition { alternative, ..stage });
        Ok(number)
    }

    /// Stages whose partitions meet in one stage must have equally many: their groups become one.
    fn join_partition_groups(&mut self, reader: &StageDefinition) {
        let producers: Vec<StageNumber> = reader
            .inputs
            .iter()
            .filter_map(|input| match input {
                StageInput::Stage {
                    candidates,
                    delivery: Delivery::Partitioned,
                } => Some(candidates.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let mut groups: Vec<u32> = producers
            .iter()
            .filter_map(|stage| self.group_of(*stage))
            .collect();
        groups.sort_unstable();
        let Some(first) = groups.first().copied() else {
            return;
        };
        for stage in &mut self.stages {
            if let Some(ShuffleSpec {
                kind:
                    ShuffleKind::Hash {
                        partitions: PartitionCount::Measured { group, .. },
                    }
                    | ShuffleKind::HashLocalSort {
                        partitions: PartitionCount::Measured { group, .. },
                    },
                ..
            }) = &mut stage.shuffle
                && groups.contains(group)
            {
                *group = first;
            }
        }
    }

    fn group_of(&self, stage: StageNumber) -> Option<u32> {
        match self.stages.get(stage.0 as usize)?.shuffle.as_ref()?.kind {
            ShuffleKind::Hash {
                partitions: PartitionCount::Measured { group, .. },
            }
            | ShuffleKind::HashLocalSort {
                partitions: PartitionCount::Measured { group, .. },
            } => Some(group),
            _ => None,
        }
    }

    /// The stages in order, once the last one is closed.
    pub fn finish(self) -> Cut {
        Cut {
            stages: self.stages,
            choices: self.choices,
            scans: self.planned_scans,
        }
    }
}

/// What is below a spreading of rows over more threads, which is the worker's affair.
fn gathered(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    match plan.downcast_ref::<RepartitionExec>() {
        Some(repartition) if !matches!(repartition.partitioning(), Partitioning::Hash(..)) => {
            gathered(repartition.input())
        }
        _ => plan,
    }
}

/// The shuffle that brings all rows together.
pub fn mix() -> ShuffleSpec {
    ShuffleSpec {
        kind: ShuffleKind::Mix,
        key: Vec::new(),
        bucket_prefix_bytes: 0,
        release: Release::default(),
    }
}

/// Whether the operator must see all rows in one partition; the optimiser has put a gathering node below it unless
/// it believed its child to be single.
fn needs_single_partition(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.downcast_ref::<GlobalLimitExec>().is_some() {
        return true;
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return !sort.preserve_partitioning();
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        use datafusion::physical_plan::aggregates::AggregateMode;
        return matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::Single)
            && plan.output_partitioning().partition_count() == 1;
    }
    let distributions = plan.input_distribution_requirements();
    distributions
        .per_child_distributions()
        .any(|distribution| matches!(distribution, Distribution::SinglePartition))
}

/// Whether a second run over the same rows in another order gives the same rows.
fn is_deterministic(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let order_sensitive = [
        "GlobalLimitExec",
        "LocalLimitExec",
        "WindowAggExec",
        "BoundedWindowAggExec",
    ];
    if order_sensitive.contains(&plan.name()) || plan.fetch().is_some() {
        return false;
    }
    match plan.downcast_ref::<AggregateExec>() {
        Some(aggregate) => aggregate.aggr_expr().iter().all(|function| {
            !matches!(
                function.fun().name(),
                "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value"
            )
        }),
        None => true,
    }
}
