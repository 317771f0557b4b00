//! What a controller knows of a running query beside the kernel: its workers, counters, warnings and segments.

use std::collections::BTreeMap;

use sarsen_kernel::counters::CounterSnapshot;
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Attempt, Incarnation, Millis, StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::InputDescriptor;
use sarsen_kernel::report::{ResultPage, SegmentLoadReport};
use sarsen_proto::v1;
use sarsen_storage::export::StagedFile;

/// One life of a worker number.
#[derive(Debug)]
pub struct WorkerLife {
    pub incarnation: Incarnation,
    /// `host:port`; empty before a process was found.
    pub location: String,
    /// `http://host:port`
    pub address: String,
    pub node_id: String,
    pub launched: Millis,
    pub ready: Option<Millis>,
    pub lost: Option<(Millis, Fault)>,
}

/// Work orders of which a report shows each one.
const UNFOLDED: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct QueryState {
    pub started: Millis,
    pub workers: BTreeMap<WorkerNumber, Vec<WorkerLife>>,
    counters: BTreeMap<(StageNumber, WorkerNumber), (Attempt, CounterSnapshot)>,
    warnings: BTreeMap<WorkOrderId, Vec<FaultReport>>,
    /// Of the kernel, about stages.
    notices: Vec<FaultReport>,
    pub segments: BTreeMap<WorkOrderId, Vec<v1::SegmentOutput>>,
    /// Of an export.
    pub files: BTreeMap<WorkOrderId, Vec<StagedFile>>,
    pub published_segments: Option<u64>,
    pub segment_load: Option<SegmentLoadReport>,
    /// Of durable results.
    pub pages: Vec<ResultPage>,
    /// EXTERNs whose columns were inferred.
    pub inferred: Vec<InputDescriptor>,
}

impl QueryState {
    pub fn new(started: Millis) -> Self {
        QueryState {
            started,
            ..Self::default()
        }
    }

    /// The same with EXTERNs whose columns were inferred.
    pub fn inferring(self, inferred: Vec<InputDescriptor>) -> Self {
        QueryState { inferred, ..self }
    }

    /// A worker number is looked for a process.
    pub fn launch(&mut self, worker: WorkerNumber, incarnation: Incarnation, now: Millis) {
        self.workers.entry(worker).or_default().push(WorkerLife {
            incarnation,
            location: String::new(),
            address: String::new(),
            node_id: String::new(),
            launched: now,
            ready: None,
            lost: None,
        });
    }

    pub fn life(&mut self, worker: WorkerNumber, incarnation: Incarnation) -> Option<&mut WorkerLife> {
        self.workers
            .get_mut(&worker)?
            .iter_mut()
            .find(|life| life.incarnation == incarnation)
    }

    /// Address of the process that plays or played a worker number.
    pub fn address(&self, worker: WorkerNumber, incarnation: Incarnation) -> Option<&str> {
        let lives = self.workers.get(&worker)?;
        lives
            .iter()
            .find(|life| life.incarnation == incarnation)
            .map(|life| life.address.as_str())
    }

    /// Takes a snapshot; one of an older attempt than what is known is late.
    pub fn count(&mut self, order: WorkOrderId, mut snapshot: CounterSnapshot) {
        if self.counters.len() >= UNFOLDED {
            snapshot = snapshot.without_partitions();
        }
        let known = self
            .counters
            .entry((order.stage, order.worker))
            .or_insert((order.attempt, CounterSnapshot::default()));
        if order.attempt >= known.0 {
            *known = (order.attempt, snapshot);
        }
    }

    /// By stage and worker; of a query with more of them than a report should show, the workers of each stage are added
    /// up under the first one's number.
    pub fn counters(&self) -> BTreeMap<StageNumber, BTreeMap<WorkerNumber, CounterSnapshot>> {
        let mut counters: BTreeMap<_, BTreeMap<_, CounterSnapshot>> = BTreeMap::new();
        if self.counters.len() > UNFOLDED {
            for ((stage, _), (_, snapshot)) in &self.counters {
                let workers = counters.entry(*stage).or_default();
                let all = workers.entry(WorkerNumber(0)).or_default();
                all.add(&snapshot.clone().without_partitions());
            }
            return counters;
        }
        for ((stage, worker), (_, snapshot)) in &self.counters {
            counters
                .entry(*stage)
                .or_default()
                .insert(*worker, snapshot.clone());
        }
        counters
    }

    /// Takes a worker's warning; one that was repeated after a reconnection is known already.
    pub fn warn(&mut self, order: WorkOrderId, fault: FaultReport) {
        let warnings = self.warnings.entry(order).or_default();
        if !warnings.contains(&fault) {
            warnings.push(fault);
        }
    }

    /// Takes the kernel's own warning.
    pub fn notice(&mut self, fault: FaultReport) {
        self.notices.push(fault);
    }

    /// Warnings of the last attempt of each work order, and the kernel's.
    pub fn warnings(&self) -> Vec<FaultReport> {
        let mut last: BTreeMap<(StageNumber, WorkerNumber), &Vec<FaultReport>> = BTreeMap::new();
        for (order, warnings) in &self.warnings {
            last.insert((order.stage, order.worker), warnings);
        }
        last.into_values()
            .flatten()
            .chain(&self.notices)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_report_of_many_work_orders_shows_sums_by_stage() {
        use sarsen_kernel::counters::ChannelCounters;
        let mut state = QueryState::new(0);
        let mut count = |stages: u32, workers: u32| {
            for (stage, worker) in
                (0..stages).flat_map(|stage| (0..workers).map(move |worker| (stage, worker)))
            {
                let order = WorkOrderId {
                    stage: StageNumber(stage),
                    worker: WorkerNumber(worker),
                    attempt: Attempt(0),
                };
                let channel = ChannelCounters {
                    rows: vec![1, 2, 3],
                    ..ChannelCounters::default()
                };
                let snapshot = CounterSnapshot {
                    channels: [("output".to_owned(), channel)].into(),
                    ..CounterSnapshot::default()
                };
                state.count(order, snapshot);
            }
            state.counters()
        };
        let few = count(2, 500);
        assert_eq!(few[&StageNumber(1)].len(), 500);
        assert_eq!(
            few[&StageNumber(1)][&WorkerNumber(7)].channels["output"].rows,
            [1, 2, 3]
        );
        let many = count(3, 500);
        assert_eq!(many.len(), 3);
        for workers in many.values() {
            assert_eq!(workers.len(), 1);
            assert_eq!(workers[&WorkerNumber(0)].channels["output"].rows, [3_000]);
        }
    }

    #[test]
    fn late_counters_of_an_older_attempt_are_ignored() {
        let mut state = QueryState::new(0);
        let order = |attempt| WorkOrderId {
            stage: StageNumber(0),
            worker: WorkerNumber(1),
            attempt: Attempt(attempt),
        };
        state.count(
            order(1),
            CounterSnapshot {
                spilled_bytes: 7,
                ..CounterSnapshot::default()
            },
        );
        state.count(
            order(0),
            CounterSnapshot {
                spilled_bytes: 9,
                ..CounterSnapshot::default()
            },
        );
        assert_eq!(
            state.counters()[&StageNumber(0)][&WorkerNumber(1)].spilled_bytes,
            7
        );
    }
}
