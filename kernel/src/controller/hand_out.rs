//! Units of outside data that wait for whoever is free: work stealing over a stage's workers.
//!
//! An order begins with a portion and asks for another when it has none left, so that a slow worker holds up no more than
//! what it has in hand. Portions shrink with what is left: few questions while there is much to do, even ends when there
//! is little. What an order was given stays its own, and another attempt of it reads just that again.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::event::ControllerAction;
use super::kernel::ControllerKernel;
use super::stage::OrderStatus;
use crate::ids::{StageNumber, WorkOrderId, WorkerNumber};
use crate::query::{InputSplit, StageInput};

/// Known bytes for each worker below which all of an input is placed at once: asking would take longer than it saves.
const SMALL_BYTES: u64 = 1 << 20;

/// Portions in what would be a worker's even share of what is left.
const PORTIONS_PER_SHARE: u64 = 8;

/// Splits of one input that no order has yet, the largest first.
#[derive(Debug, Clone)]
pub(super) struct SplitQueue {
    /// Positions in the stage's list.
    waiting: VecDeque<u32>,
    /// Bytes of all that wait; one for a split without any.
    bytes: u64,
    workers: u64,
}

fn weight(split: &InputSplit) -> u64 {
    split.bytes.max(1)
}

impl SplitQueue {
    /// A queue of all `splits` for so many workers; `None` where they are better placed at once.
    pub fn new(splits: &[InputSplit], workers: u32) -> Option<Self> {
        let bytes = splits.iter().map(weight).sum();
        let is_known = splits.iter().all(|split| split.bytes > 0);
        let is_small = is_known && bytes <= SMALL_BYTES * u64::from(workers);
        if workers <= 1 || is_small || splits.len() <= workers as usize {
            return None;
        }
        let mut waiting: Vec<(u32, &InputSplit)> = (0..).zip(splits).collect();
        waiting.sort_by_key(|(position, split)| (Reverse(split.bytes), *position));
        Some(SplitQueue {
            waiting: waiting.into_iter().map(|(position, _)| position).collect(),
            bytes,
            workers: u64::from(workers),
        })
    }

    /// Splits that wait.
    pub fn len(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// A portion for a worker that could begin `wanted` splits at once, in the order of the list; empty once all are
    /// handed out. `splits` is the list of [`SplitQueue::new`].
    pub fn take(&mut self, splits: &[InputSplit], wanted: u32) -> Vec<InputSplit> {
        let bytes = self.bytes / (PORTIONS_PER_SHARE * self.workers);
        let share = (self.waiting.len() as u64).div_ceil(self.workers);
        let count = u64::from(wanted).clamp(1, share.max(1));
        let mut taken: Vec<(u32, InputSplit)> = Vec::new();
        let mut taken_bytes = 0;
        while let Some(split) = self
            .waiting
            .front()
            .and_then(|position| splits.get(*position as usize))
        {
            let is_enough = taken.len() as u64 >= count && taken_bytes + weight(split) > bytes;
            if is_enough {
                break;
            }
            taken_bytes += weight(split);
            taken.extend(self.waiting.pop_front().map(|position| (position, split.clone())));
        }
        self.bytes = self.bytes.saturating_sub(taken_bytes);
        taken.sort_by_key(|(position, _)| *position);
        taken.into_iter().map(|(_, split)| split).collect()
    }
}

impl ControllerKernel {
    /// More splits for an order that has none left. A question that was answered before is a repeated one: so is its
    /// answer, by whoever carries it.
    pub(super) fn answer_for_splits(
        &mut self,
        order: WorkOrderId,
        input: u32,
        portion: u32,
        wanted: u32,
        actions: &mut Vec<ControllerAction>,
    ) {
        let Some(current) = self
            .current(order)
            .filter(|current| current.status == OrderStatus::Reading)
        else {
            return;
        };
        let asked = current.portions.entry(input as usize).or_default();
        if portion != *asked + 1 {
            return;
        }
        *asked = portion;
        let (splits, unassigned) = self.hand_out(order.stage, order.worker, input as usize, wanted);
        actions.push(ControllerAction::SendSplits {
            order,
            input,
            portion,
            splits,
            unassigned,
        });
    }

    /// Gives an order that has no splits of an input its first ones; answers how many nobody has then.
    pub(super) fn first_portion(
        &mut self,
        stage: StageNumber,
        worker: WorkerNumber,
        input: usize,
        splits: &mut Vec<InputSplit>,
    ) -> u32 {
        if !splits.is_empty() {
            let state = self.stages.get(stage.0 as usize);
            return state.map_or(0, |state| state.unassigned(worker, input));
        }
        let (first, unassigned) = self.hand_out(stage, worker, input, 1);
        *splits = first;
        unassigned
    }

    /// A further portion of an input for a stage's order on `worker`, and how many splits nobody has then.
    fn hand_out(
        &mut self,
        stage: StageNumber,
        worker: WorkerNumber,
        input: usize,
        wanted: u32,
    ) -> (Vec<InputSplit>, u32) {
        let listed = self
            .query
            .stages
            .get(stage.0 as usize)
            .and_then(|stage| stage.inputs.get(input));
        match (listed, self.stages.get_mut(stage.0 as usize)) {
            (Some(StageInput::Splits { splits, .. }), Some(state)) => {
                state.hand_out(worker, input, splits, wanted)
            }
            _ => (Vec::new(), 0),
        }
    }
}
