//! Open fragments and how they become stages.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use sarsen_engine::{ExportSinkExec, ExternScanExec, ShuffleReadExec, fragment, segment_scan};
use sarsen_kernel::ids::StageNumber;
use sarsen_kernel::query::{ProcessorDescriptor, ProcessorKind, StageDefinition, StageInput};
use sarsen_kernel::shuffle::ShuffleSpec;

use super::choices::OpenChoice;
use super::{OpenInput, StageBuilder};
use crate::request::PlannedScan;
use crate::types::descriptor;

/// A fragment that operators are still added to.
#[derive(Debug, Clone)]
pub struct Open {
    /// What is run; with a choice, its last alternative.
    pub plan: Arc<dyn ExecutionPlan>,
    /// All its rows are in one partition on one worker.
    pub single: bool,
    /// A second run gives the same rows.
    pub deterministic: bool,
    /// Other plans for the same rows, among which the kernel decides.
    pub choice: Option<OpenChoice>,
}

impl Open {
    /// A fragment of an operator that has nothing below it, or only shuffles.
    pub fn leaf(plan: Arc<dyn ExecutionPlan>, single: bool) -> Self {
        Open {
            plan,
            single,
            deterministic: true,
            choice: None,
        }
    }

    /// Adds operators, to every alternative alike.
    ///
    /// # Errors
    /// The first of `add`.
    pub fn map(
        mut self,
        add: impl Fn(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Self> {
        self.plan = add(self.plan)?;
        for alternative in self.choice.iter_mut().flat_map(OpenChoice::alternatives_mut) {
            alternative.plan = add(Arc::clone(&alternative.plan))?;
        }
        Ok(self)
    }
}

/// The scan number of a leaf that reads outside data.
fn leaf_scan(node: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    match node.downcast_ref::<ExternScanExec>() {
        Some(scan) => Some(scan.input()),
        None => segment_scan::placeholder_input(node),
    }
}

impl StageBuilder<'_> {
    /// A leaf of the plan: outside data, or rows out of nothing, which only one worker may make.
    pub(super) fn open_leaf(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Open> {
        let Some(scan) = leaf_scan(plan) else {
            return Ok(Open::leaf(Arc::clone(plan), true));
        };
        let target = self
            .scans
            .get(scan)
            .ok_or_else(|| internal_datafusion_err!("scan {scan} was never planned"))?;
        let input = self.inputs.len();
        let splits = StageInput::Splits {
            descriptor: target.descriptor(),
            splits: Vec::new(),
        };
        self.inputs.push(OpenInput {
            input: splits,
            scan: Some(target),
        });
        Ok(Open::leaf(with_input(plan, input)?, false))
    }
}

fn with_input(leaf: &Arc<dyn ExecutionPlan>, input: usize) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = leaf.downcast_ref::<ExternScanExec>() {
        return Ok(Arc::new(scan.with_input(input)));
    }
    if let Some(read) = leaf.downcast_ref::<ShuffleReadExec>() {
        return Ok(Arc::new(ShuffleReadExec::new(
            input,
            read.schema(),
            read.merge_key().to_vec(),
            1,
        )));
    }
    segment_scan::renumber(leaf, input)
}

/// The stage of a closed fragment without a choice; its leaves are numbered from 0 in the order of the stage's inputs.
pub(super) fn close(
    open: Open,
    shuffle: Option<ShuffleSpec>,
    number: StageNumber,
    known_inputs: &[OpenInput],
    max_workers: u32,
) -> Result<(StageDefinition, Vec<PlannedScan>)> {
    let used: Mutex<Vec<OpenInput>> = Mutex::new(Vec::new());
    let plan = open.plan.transform_up(|node| {
        let known =
            leaf_scan(&node).or_else(|| node.downcast_ref::<ShuffleReadExec>().map(ShuffleReadExec::input));
        let Some(known) = known else {
            return Ok(Transformed::no(node));
        };
        let input = known_inputs
            .get(known)
            .ok_or_else(|| internal_datafusion_err!("leaf {known} has no input"))?;
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        used.push(input.clone());
        Ok(Transformed::yes(with_input(&node, used.len() - 1)?))
    })?;
    let plan = plan.data;
    // What the last stage of an ingestion gives back is its report, not rows.
    let signature = match shuffle {
        Some(_) => plan
            .schema()
            .fields()
            .iter()
            .map(|field| descriptor(field))
            .collect(),
        None => Vec::new(),
    };
    let used = used.into_inner().unwrap_or_else(PoisonError::into_inner);
    let scans = used.iter().enumerate().filter_map(|(input, open)| {
        open.scan.clone().map(|target| PlannedScan {
            stage: number,
            input,
            target,
        })
    });
    let scans = scans.collect();
    let stage = StageDefinition {
        number,
        inputs: used.into_iter().map(|open| open.input).collect(),
        fragment: fragment::encode(&plan)?,
        processor: processor(&plan),
        signature,
        shuffle,
        max_worker_count: if open.single { 1 } else { max_workers },
        deterministic: open.deterministic,
        alternative: None,
    };
    Ok((stage, scans))
}

/// Whether a sink's files are pages of results.
fn writes_pages(node: &Arc<dyn ExecutionPlan>) -> bool {
    let sink = node.downcast_ref::<ExportSinkExec>();
    sink.is_some_and(|sink| sink.options().target.is_results())
}

/// What a fragment does, for the report.
fn processor(plan: &Arc<dyn ExecutionPlan>) -> ProcessorDescriptor {
    let mut kind = ProcessorKind::Scan;
    let mut keys = Vec::new();
    let mut expressions = Vec::new();
    let mut filters = Vec::new();
    let mut limit = None;
    let _ = plan.apply(|node| {
        limit = limit.or(node.fetch());
        if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
            kind = match aggregate.mode() {
                AggregateMode::Partial => ProcessorKind::GroupByPreShuffle,
                _ => ProcessorKind::GroupByPostShuffle,
            };
            keys.extend(aggregate.group_expr().expr().iter().map(|(_, name)| name.clone()));
            expressions.extend(
                aggregate
                    .aggr_expr()
                    .iter()
                    .map(|function| function.name().to_owned()),
            );
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            kind = match join.partition_mode() {
                PartitionMode::Partitioned => ProcessorKind::SortMergeJoin,
                _ => ProcessorKind::BroadcastJoin,
            };
            keys.extend(join.on().iter().map(|(left, right)| format!("{left} = {right}")));
        } else if let Some(filter) = node.downcast_ref::<FilterExec>() {
            filters.push(filter.predicate().to_string());
        } else {
            kind = match node.name() {
                "SegmentSinkExec" => ProcessorKind::SegmentGenerator,
                "ExportSinkExec" if writes_pages(node) => ProcessorKind::QueryResults,
                "ExportSinkExec" => ProcessorKind::ExportResults,
                "CrossJoinExec" | "NestedLoopJoinExec" => ProcessorKind::BroadcastJoin,
                "SortMergeJoinExec" => ProcessorKind::SortMergeJoin,
                "WindowAggExec" | "BoundedWindowAggExec" => ProcessorKind::Window,
                "GlobalLimitExec" => ProcessorKind::OffsetLimit,
                _ => kind,
            };
        }
        Ok(
            if matches!(
                kind,
                ProcessorKind::SegmentGenerator | ProcessorKind::ExportResults | ProcessorKind::QueryResults
            ) {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            },
        )
    });
    ProcessorDescriptor {
        kind,
        columns: plan
            .schema()
            .fields()
            .iter()
            .map(|field| descriptor(field))
            .collect(),
        keys,
        expressions,
        filter: filters
            .into_iter()
            .reduce(|all, next| format!("{all} AND {next}")),
        limit: limit.map(|limit| limit as u64),
        plan: displayable(plan.as_ref()).indent(false).to_string(),
    }
}
