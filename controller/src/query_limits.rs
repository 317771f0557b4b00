//! Limits that a query's context sets for what it reads, holds and gives back. Druid has none of them; their names and
//! faults are in its style.

use std::collections::BTreeMap;

use sarsen_kernel::counters::CounterSnapshot;
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{StageNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::{QueryDefinition, QueryKind, StageInput};
use serde_json::{Map, Value, json};

use crate::context::integer;

/// Context parameters, where they are set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of the files and segments that the query reads from outside.
    max_scanned_bytes: Option<u64>,
    /// Rows that a SELECT returns or an ingestion stores.
    max_output_rows: Option<u64>,
    /// Bytes that all worker tasks of the query may hold in memory; beyond it they spill.
    max_memory_bytes: Option<u64>,
}

impl QueryLimits {
    /// From the context; what is no positive number was refused when the statement was planned.
    pub fn parse(context: &Map<String, Value>) -> Self {
        let limit = |key: &str| {
            let value = integer(context, key)?;
            u64::try_from(value).ok().filter(|value| *value > 0)
        };
        QueryLimits {
            max_scanned_bytes: limit("maxScannedBytes"),
            max_output_rows: limit("maxOutputRows"),
            max_memory_bytes: limit("maxQueryMemoryBytes"),
        }
    }

    /// Refuses a query whose listed inputs are too large, before it takes a worker.
    ///
    /// # Errors
    /// `TooManyScannedBytes`
    pub fn check_listed(&self, definition: &QueryDefinition) -> Result<(), Fault> {
        let inputs = definition.stages.iter().flat_map(|stage| &stage.inputs);
        let listed = inputs.map(|input| match input {
            StageInput::Splits { splits, .. } => splits.iter().map(|split| split.bytes).sum(),
            StageInput::Stage { .. } => 0,
        });
        self.check_scanned(listed.sum())
    }

    fn check_scanned(&self, scanned_bytes: u64) -> Result<(), Fault> {
        match self.max_scanned_bytes {
            Some(max_scanned_bytes) if scanned_bytes > max_scanned_bytes => Err(Fault::TooManyScannedBytes {
                scanned_bytes,
                max_scanned_bytes,
            }),
            _ => Ok(()),
        }
    }

    fn check_output(&self, num_rows: u64) -> Result<(), Fault> {
        match self.max_output_rows {
            Some(max_output_rows) if num_rows > max_output_rows => Err(Fault::TooManyOutputRows {
                num_rows,
                max_output_rows,
            }),
            _ => Ok(()),
        }
    }

    /// The context as the workers see it, of whom there are so many: each has its part of the query's memory.
    pub fn worker_context(&self, mut context: Map<String, Value>, workers: u32) -> Map<String, Value> {
        if let Some(limit) = self.max_memory_bytes {
            let part = i64::try_from(limit / u64::from(workers.max(1))).unwrap_or(i64::MAX);
            let part = integer(&context, "taskMemoryBytes").map_or(part, |set| set.min(part));
            context.insert("taskMemoryBytes".to_owned(), json!(part));
        }
        context
    }

    /// A worker's fault in the query's terms: who set a limit is told of that one.
    pub fn explain(&self, report: FaultReport) -> FaultReport {
        match (self.max_memory_bytes, &report.fault) {
            (Some(max_query_memory_bytes), Fault::NotEnoughMemory { message, .. }) => FaultReport {
                fault: Fault::NotEnoughQueryMemory {
                    max_query_memory_bytes,
                    message: message.trim_end_matches('.').to_owned(),
                },
                ..report
            },
            _ => report,
        }
    }
}

/// What a query has read and made so far, by its workers' counters: of each work order that of its last attempt.
#[derive(Debug, Default)]
pub struct Meter {
    limits: QueryLimits,
    /// Names of the channels by which a stage reads from outside.
    outside: BTreeMap<StageNumber, Vec<String>>,
    ingests: bool,
    scanned: BTreeMap<(StageNumber, WorkerNumber), u64>,
    scanned_bytes: u64,
    produced: BTreeMap<(StageNumber, WorkerNumber), u64>,
}

impl Meter {
    pub fn new(limits: QueryLimits, definition: &QueryDefinition) -> Self {
        let channels = |inputs: &[StageInput]| -> Vec<String> {
            let outside = |input: &StageInput| matches!(input, StageInput::Splits { .. });
            let numbered = inputs.iter().enumerate().filter(|(_, input)| outside(input));
            numbered.map(|(number, _)| format!("input{number}")).collect()
        };
        let stages = definition.stages.iter();
        Meter {
            limits,
            outside: stages
                .map(|stage| (stage.number, channels(&stage.inputs)))
                .collect(),
            ingests: definition.kind != QueryKind::Select,
            ..Meter::default()
        }
    }

    /// Takes note of counters.
    ///
    /// # Errors
    /// The limit that is passed.
    pub fn count(
        &mut self,
        order: WorkOrderId,
        snapshot: &CounterSnapshot,
        is_last: bool,
    ) -> Result<(), Fault> {
        let channels = self.outside.get(&order.stage).into_iter().flatten();
        let read = channels.filter_map(|name| snapshot.channels.get(name));
        let read: u64 = read.flat_map(|channel| &channel.bytes).sum();
        let known = self.scanned.entry((order.stage, order.worker)).or_default();
        self.scanned_bytes = self.scanned_bytes - *known + read;
        *known = read;
        self.limits.check_scanned(self.scanned_bytes)?;
        if !is_last {
            return Ok(());
        }
        let rows = if self.ingests {
            snapshot
                .segment_generation
                .map_or(0, |progress| progress.rows_processed)
        } else {
            let output = snapshot.channels.get("output");
            output.map_or(0, |channel| channel.rows.iter().sum())
        };
        self.produce(order, rows)
    }

    /// Takes note of rows that a work order of the last stage has made.
    ///
    /// # Errors
    /// `TooManyOutputRows`
    pub fn produce(&mut self, order: WorkOrderId, rows: u64) -> Result<(), Fault> {
        self.produced.insert((order.stage, order.worker), rows);
        if self.limits.max_output_rows.is_none() {
            return Ok(());
        }
        let of_stage = self
            .produced
            .iter()
            .filter(|((stage, _), _)| *stage == order.stage);
        self.limits.check_output(of_stage.map(|(_, rows)| rows).sum())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sarsen_kernel::counters::ChannelCounters;
    use sarsen_kernel::ids::Attempt;

    use super::*;

    fn limits(context: Value) -> QueryLimits {
        QueryLimits::parse(context.as_object().unwrap())
    }

    fn order(worker: u32, attempt: u32) -> WorkOrderId {
        WorkOrderId {
            stage: StageNumber(0),
            worker: WorkerNumber(worker),
            attempt: Attempt(attempt),
        }
    }

    fn snapshot(read: u64, rows: u64) -> CounterSnapshot {
        let channel = |bytes, rows| ChannelCounters {
            bytes: vec![bytes],
            rows: vec![rows],
            ..ChannelCounters::default()
        };
        let channels = [("input0", channel(read, 0)), ("output", channel(0, rows))];
        CounterSnapshot {
            channels: channels.map(|(name, channel)| (name.to_owned(), channel)).into(),
            ..CounterSnapshot::default()
        }
    }

    #[test]
    fn a_new_attempt_counts_instead_of_the_old_one() {
        let mut meter = Meter {
            limits: limits(json!({ "maxScannedBytes": 100, "maxOutputRows": "7" })),
            outside: [(StageNumber(0), vec!["input0".to_owned()])].into(),
            ..Meter::default()
        };
        assert_eq!(meter.count(order(0, 0), &snapshot(60, 4), true), Ok(()));
        assert_eq!(meter.count(order(1, 0), &snapshot(40, 3), true), Ok(()));
        assert_eq!(meter.count(order(0, 1), &snapshot(10, 0), true), Ok(()));
        assert_eq!(meter.count(order(0, 1), &snapshot(60, 4), true), Ok(()));
        let scanned = meter.count(order(0, 1), &snapshot(61, 4), true).unwrap_err();
        assert_eq!(scanned.code(), "TooManyScannedBytes");
        assert!(
            scanned.message().contains("maxScannedBytes"),
            "{}",
            scanned.message()
        );
        let rows = meter.count(order(0, 1), &snapshot(60, 5), true).unwrap_err();
        assert_eq!(
            rows,
            Fault::TooManyOutputRows {
                num_rows: 8,
                max_output_rows: 7
            }
        );
    }

    #[test]
    fn workers_share_the_memory_of_their_query() {
        let context = json!({ "maxQueryMemoryBytes": 4000, "taskMemoryBytes": 1500 });
        let memory = |workers| {
            let context =
                limits(context.clone()).worker_context(context.as_object().unwrap().clone(), workers);
            integer(&context, "taskMemoryBytes")
        };
        assert_eq!(memory(4), Some(1000));
        assert_eq!(memory(2), Some(1500));
    }
}
