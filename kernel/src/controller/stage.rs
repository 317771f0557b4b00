//! State of one stage: its work orders and what has been decided for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assign::Assigned;
use super::hand_out::SplitQueue;
use super::phase::StagePhase;
use crate::ids::{Attempt, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use crate::query::InputSplit;
use crate::shuffle::{Boundaries, OutputSizes, ShuffleSpec};
use crate::statistics::KeyStatistics;
use crate::work_order::InputSlice;

#[derive(Debug, Clone)]
pub(super) struct StageState {
    pub number: StageNumber,
    pub phase: StagePhase,
    /// Of an alternative that was not taken.
    pub skipped: bool,
    pub orders: BTreeMap<WorkerNumber, Order>,
    /// Splits that no order has yet, by input.
    pub queues: BTreeMap<usize, SplitQueue>,
    /// With the number of partitions decided.
    pub shuffle: Option<ShuffleSpec>,
    pub boundaries: Option<Arc<Boundaries>>,
    /// Bytes by partition of all outputs, for spreading them over readers: estimates, since an order that ran again is
    /// taken to have made what it made before. Empty once the output is cleaned.
    pub weights: Vec<u64>,
    /// Attempts of all orders as they are now, shared by all who read them.
    attempts: Option<Arc<Attempts>>,
    /// An input is cut anew, perhaps into another number of partitions: they have to be spread again over the orders,
    /// all of which wait for them.
    pub inputs_changed: bool,
    pub started: Option<Millis>,
    pub ended: Option<Millis>,
}

/// Attempts of a stage's orders, by worker.
pub(super) type Attempts = BTreeMap<WorkerNumber, Attempt>;

/// One work order over all its attempts.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub attempt: Attempt,
    /// Runs that were not the fault of a lost worker, beside the first.
    pub reruns: u32,
    /// Incarnation of the worker to which the attempt was sent.
    pub incarnation: Incarnation,
    pub status: OrderStatus,
    /// Its part of the inputs, of splits all that it was given so far; producers are filled in when it is sent.
    pub inputs: Vec<InputSlice>,
    /// Portions of splits that the current attempt has asked for, by input.
    pub portions: BTreeMap<usize, u32>,
    /// An attempt has read its inputs to the end: it is given no more splits.
    pub given_all: bool,
    /// Attempts that the current attempt reads, by producing stage; while it waits and the stage has boundaries, those
    /// from which they were cut.
    pub reads: BTreeMap<StageNumber, Arc<Attempts>>,
    /// Until the boundaries are cut.
    pub statistics: Option<KeyStatistics>,
    /// Of the last complete output.
    pub output_bytes: u64,
    /// Whether its stage's weights hold what it made.
    weighed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderStatus {
    /// To be sent once its worker and its inputs are there.
    Waiting,
    /// Sent, perhaps with boundaries.
    Reading,
    /// Has read its input and waits for boundaries.
    Counted,
    /// Has read its input and been told boundaries.
    Cutting,
    /// The output can be read.
    Ready,
    /// The output was read by all and is gone.
    Cleaned,
}

impl Order {
    pub fn new(inputs: Vec<InputSlice>) -> Self {
        Order {
            attempt: Attempt(0),
            reruns: 0,
            incarnation: Incarnation(0),
            status: OrderStatus::Waiting,
            inputs,
            portions: BTreeMap::new(),
            given_all: false,
            reads: BTreeMap::new(),
            statistics: None,
            output_bytes: 0,
            weighed: false,
        }
    }

    /// Its input has been read to the end.
    pub fn has_read(&self) -> bool {
        !matches!(self.status, OrderStatus::Waiting | OrderStatus::Reading)
    }

    /// Its output is complete, or was.
    pub fn is_done(&self) -> bool {
        matches!(self.status, OrderStatus::Ready | OrderStatus::Cleaned)
    }

    /// Sent and not done.
    pub fn is_running(&self) -> bool {
        matches!(
            self.status,
            OrderStatus::Reading | OrderStatus::Counted | OrderStatus::Cutting
        )
    }
}

impl StageState {
    pub fn new(number: StageNumber) -> Self {
        StageState {
            number,
            phase: StagePhase::New,
            skipped: false,
            orders: BTreeMap::new(),
            queues: BTreeMap::new(),
            shuffle: None,
            boundaries: None,
            weights: Vec::new(),
            attempts: None,
            inputs_changed: false,
            started: None,
            ended: None,
        }
    }

    pub fn has_started(&self) -> bool {
        self.phase != StagePhase::New
    }

    /// Gives each order its part of the partitions as they are now; splits stay with whoever was given them.
    pub fn replace_partitions(&mut self, assigned: Assigned) {
        for (worker, new) in assigned.orders {
            let Some(order) = self.orders.get_mut(&worker) else {
                continue;
            };
            for (known, new) in order.inputs.iter_mut().zip(new.inputs) {
                if let InputSlice::Partitions { .. } = known {
                    *known = new;
                }
            }
        }
        self.inputs_changed = false;
    }

    /// A further portion of an input for an order that can begin `wanted` splits, and how many splits nobody has then.
    /// `listed` are all splits of that input.
    pub fn hand_out(
        &mut self,
        worker: WorkerNumber,
        input: usize,
        listed: &[InputSplit],
        wanted: u32,
    ) -> (Vec<InputSplit>, u32) {
        let (Some(order), Some(queue)) = (self.orders.get_mut(&worker), self.queues.get_mut(&input)) else {
            return (Vec::new(), 0);
        };
        let Some(InputSlice::Splits { splits, .. }) =
            order.inputs.get_mut(input).filter(|_| !order.given_all)
        else {
            return (Vec::new(), 0);
        };
        let portion = queue.take(listed, wanted);
        splits.extend(portion.iter().cloned());
        (portion, queue.len())
    }

    /// Splits of an input that nobody has yet and that an order may ask for.
    pub fn unassigned(&self, worker: WorkerNumber, input: usize) -> u32 {
        let may_ask = self.orders.get(&worker).is_some_and(|order| !order.given_all);
        let queue = self.queues.get(&input).filter(|_| may_ask);
        queue.map_or(0, SplitQueue::len)
    }

    pub fn order_id(&self, worker: WorkerNumber) -> Option<WorkOrderId> {
        let attempt = self.orders.get(&worker)?.attempt;
        Some(WorkOrderId {
            stage: self.number,
            worker,
            attempt,
        })
    }

    /// Every order's output can be read.
    pub fn all_ready(&self) -> bool {
        !self.orders.is_empty()
            && self
                .orders
                .values()
                .all(|order| order.status == OrderStatus::Ready)
    }

    /// Every order's output is or was complete.
    pub fn all_done(&self) -> bool {
        !self.orders.is_empty() && self.orders.values().all(Order::is_done)
    }

    pub fn output_bytes(&self) -> u64 {
        self.orders.values().map(|order| order.output_bytes).sum()
    }

    /// Takes note of what an order has made.
    pub fn weigh(&mut self, worker: WorkerNumber, sizes: &OutputSizes) {
        let count = self.partition_count().unwrap_or(0);
        let Some(order) = self.orders.get_mut(&worker) else {
            return;
        };
        order.output_bytes = sizes.values().map(|size| size.bytes).sum();
        if std::mem::replace(&mut order.weighed, true) {
            return;
        }
        self.weights.resize(count as usize, 0);
        for (partition, size) in sizes {
            if let Some(weight) = self.weights.get_mut(partition.0 as usize) {
                *weight += size.bytes;
            }
        }
    }

    /// The partitions will be others.
    pub fn forget_weights(&mut self) {
        self.weights = Vec::new();
        self.orders.values_mut().for_each(|order| order.weighed = false);
    }

    /// Attempts of all orders as they are now.
    pub fn attempts(&mut self) -> Arc<Attempts> {
        let now = || {
            self.orders
                .iter()
                .map(|(worker, order)| (*worker, order.attempt))
                .collect()
        };
        Arc::clone(self.attempts.get_or_insert_with(|| Arc::new(now())))
    }

    /// An order has begun another attempt.
    pub fn forget_attempts(&mut self) {
        self.attempts = None;
    }

    /// Whether these are still the attempts of the orders that they name.
    pub fn has_attempts(&self, read: &Arc<Attempts>) -> bool {
        let stands = |(worker, attempt): (&WorkerNumber, &Attempt)| {
            self.orders.get(worker).map(|order| order.attempt) == Some(*attempt)
        };
        self.attempts.as_ref().is_some_and(|now| Arc::ptr_eq(now, read)) || read.iter().all(stands)
    }

    /// Partitions of the output, once known.
    pub fn partition_count(&self) -> Option<u32> {
        use crate::shuffle::{PartitionCount, ShuffleKind};
        match &self.shuffle.as_ref()?.kind {
            ShuffleKind::Mix | ShuffleKind::Broadcast => Some(1),
            ShuffleKind::Hash { partitions } | ShuffleKind::HashLocalSort { partitions } => {
                match partitions {
                    PartitionCount::Fixed(count) => Some(*count),
                    PartitionCount::Measured { .. } => None,
                }
            }
            ShuffleKind::GlobalSort(_) | ShuffleKind::Bucket { .. } => {
                let count = self.boundaries.as_ref()?.partition_count();
                Some(u32::try_from(count).unwrap_or(u32::MAX))
            }
        }
    }
}
