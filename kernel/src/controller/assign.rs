//! Which worker of a stage reads what.

use std::collections::BTreeMap;
use std::ops::Range;

use super::hand_out::SplitQueue;
use super::stage::{Order, StageState};
use crate::ids::{PartitionNumber, StageNumber, WorkerNumber};
use crate::query::{Delivery, InputSplit, StageDefinition, StageInput};
use crate::work_order::InputSlice;

/// A stage input whose producing stage is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Producing<'a> {
    pub state: &'a StageState,
    pub sorted: bool,
}

/// How many workers a stage has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spread {
    /// As many as it can use, and no more than these.
    UpTo(u32),
    /// Just as many.
    Over(u32),
}

/// Who reads what of a stage's inputs.
#[derive(Debug)]
pub(super) struct Assigned {
    pub orders: BTreeMap<WorkerNumber, Order>,
    /// What is handed out while the stage runs, by input.
    pub queues: BTreeMap<usize, SplitQueue>,
}

/// Work orders of a stage, by worker. `producing` finds the living stage of an input.
pub(super) fn orders<'a>(
    stage: &StageDefinition,
    spread: Spread,
    producing: impl Fn(&[StageNumber]) -> Option<Producing<'a>>,
) -> Assigned {
    let mut partitions = 0_u32;
    let mut weights: Vec<u64> = Vec::new();
    let mut splits = 0_usize;
    for input in &stage.inputs {
        match input {
            StageInput::Splits { splits: listed, .. } => splits += listed.len(),
            StageInput::Stage {
                candidates,
                delivery: Delivery::Partitioned,
            } => {
                let Some(producing) = producing(candidates) else {
                    continue;
                };
                partitions = partitions.max(producing.state.partition_count().unwrap_or(1).max(1));
                let own = &producing.state.weights;
                if weights.len() < own.len() {
                    weights.resize(own.len(), 0);
                }
                for (weight, own) in weights.iter_mut().zip(own) {
                    *weight += own;
                }
            }
            StageInput::Stage {
                delivery: Delivery::Broadcast,
                ..
            } => {}
        }
    }
    let units = u32::try_from(splits).unwrap_or(u32::MAX).max(partitions).max(1);
    let count = match spread {
        Spread::UpTo(workers) => stage.max_worker_count.min(workers).min(units).max(1),
        Spread::Over(workers) => workers.max(1),
    };
    let runs = spread_partitions(partitions, &weights, count);

    let mut slices: Vec<Vec<InputSlice>> = vec![Vec::new(); count as usize];
    let mut queues = BTreeMap::new();
    for (number, input) in stage.inputs.iter().enumerate() {
        match input {
            StageInput::Splits { splits, .. } => {
                let placed = match SplitQueue::new(splits, count) {
                    Some(queue) => {
                        queues.insert(number, queue);
                        vec![Vec::new(); count as usize]
                    }
                    None => spread_splits(splits, count),
                };
                for (worker, splits) in slices.iter_mut().zip(placed) {
                    worker.push(InputSlice::Splits {
                        splits,
                        unassigned: 0,
                    });
                }
            }
            StageInput::Stage { candidates, delivery } => {
                let Some(producing) = producing(candidates) else {
                    continue;
                };
                let own = producing.state.partition_count().unwrap_or(1).max(1);
                for (run, worker) in runs.iter().zip(slices.iter_mut()) {
                    let partitions = match delivery {
                        Delivery::Broadcast => (0..own).map(PartitionNumber).collect(),
                        Delivery::Partitioned => (run.start..run.end.min(own)).map(PartitionNumber).collect(),
                    };
                    worker.push(InputSlice::Partitions {
                        stage: producing.state.number,
                        sorted: producing.sorted,
                        partitions,
                        producers: Vec::new(),
                        merged: *delivery == Delivery::Broadcast,
                    });
                }
            }
        }
    }
    let orders = (0_u32..)
        .map(WorkerNumber)
        .zip(slices.into_iter().map(Order::new))
        .collect();
    Assigned { orders, queues }
}

/// Contiguous partitions for each worker, of about equal weight and number.
fn spread_partitions(partitions: u32, weights: &[u64], workers: u32) -> Vec<Range<u32>> {
    let weight = |partition: u32| weights.get(partition as usize).copied().unwrap_or(0) + 1;
    let total: u64 = (0..partitions).map(weight).sum();
    let mut runs: Vec<Range<u32>> = vec![0..0; workers as usize];
    let mut before = 0_u64;
    for partition in 0..partitions {
        let middle = before + weight(partition) / 2;
        let owner = u128::from(middle) * u128::from(workers) / u128::from(total.max(1));
        let owner = usize::try_from(owner).unwrap_or(0).min(runs.len() - 1);
        if let Some(run) = runs.get_mut(owner) {
            if run.start == run.end {
                run.start = partition;
            }
            run.end = partition + 1;
        }
        before += weight(partition);
    }
    runs
}

/// Splits for each worker, the largest first to whoever has least.
fn spread_splits(splits: &[InputSplit], workers: u32) -> Vec<Vec<InputSplit>> {
    let mut order: Vec<(usize, &InputSplit)> = splits.iter().enumerate().collect();
    order.sort_by_key(|(position, split)| (std::cmp::Reverse(split.bytes), *position));
    let mut loads: Vec<(u64, Vec<(usize, InputSplit)>)> = vec![(0, Vec::new()); workers.max(1) as usize];
    for (position, split) in order {
        if let Some((load, list)) = loads.iter_mut().min_by_key(|(load, _)| *load) {
            *load += split.bytes.max(1);
            list.push((position, split.clone()));
        }
    }
    loads
        .into_iter()
        .map(|(_, mut list)| {
            list.sort_by_key(|(position, _)| *position);
            list.into_iter().map(|(_, split)| split).collect()
        })
        .collect()
}
