//! A worker process: the interpreter of its kernel, with rows in its hands.

use std::collections::BTreeMap;

use sarsen_kernel::ids::{Epoch, Incarnation, Millis, PartitionNumber, WorkOrderId, WorkerNumber};
use sarsen_kernel::query::InputSplit;
use sarsen_kernel::work_order::{InputSlice, WorkOrder};
use sarsen_kernel::worker::{OrderPhase, WorkerEvent, WorkerTaskKernel};

use super::definition::{Row, SimulatedQuery, Work, identity, rows_of, transform};
use super::placing::Partitions;

/// The stream between a process and its controller, seen from both ends.
#[derive(Debug, Default)]
pub struct Link {
    /// Commands that the worker may not have seen: all are repeated on every new stream.
    pub sent: Vec<WorkerEvent>,
    /// Number of the current or last stream.
    pub connection: u64,
    pub connected: bool,
    /// Messages of one stream overtake nobody.
    pub last_to_worker: Millis,
    pub last_to_controller: Millis,
    /// The controller has said good-bye.
    pub closing: bool,
    /// The controller has given up.
    pub gone: bool,
}

#[derive(Debug)]
pub struct Process {
    pub worker: WorkerNumber,
    pub incarnation: Incarnation,
    pub kernel: WorkerTaskKernel,
    pub link: Link,
    pub alive: bool,
    pub tick_at: Option<Millis>,
    pub runs: BTreeMap<WorkOrderId, Run>,
    /// Rows that wait for boundaries.
    pub uncut: BTreeMap<WorkOrderId, (Box<WorkOrder>, Vec<Row>)>,
    pub outputs: BTreeMap<WorkOrderId, Partitions>,
}

impl Process {
    pub fn new(worker: WorkerNumber, incarnation: Incarnation, now: Millis) -> Self {
        Process {
            worker,
            incarnation,
            kernel: WorkerTaskKernel::new(Epoch(1), now),
            link: Link::default(),
            alive: true,
            tick_at: None,
            runs: BTreeMap::new(),
            uncut: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    pub fn serves(&self) -> bool {
        self.alive && !self.kernel.is_ended()
    }

    pub fn die(&mut self) {
        self.alive = false;
        self.link.connected = false;
        self.forget();
    }

    pub fn forget(&mut self) {
        self.runs.clear();
        self.uncut.clear();
        self.outputs.clear();
    }

    /// A process keeps nothing but what its kernel knows to be alive.
    pub fn check(&self) {
        if self.kernel.is_ended() {
            assert!(
                self.outputs.is_empty() && self.uncut.is_empty(),
                "an ended task keeps nothing"
            );
        }
        for order in self.outputs.keys() {
            assert_eq!(
                self.kernel.phase(*order),
                Some(OrderPhase::ResultsReady),
                "{order} left an output behind"
            );
        }
        for order in self.uncut.keys() {
            let phase = self.kernel.phase(*order);
            let waits = matches!(
                phase,
                Some(OrderPhase::WaitingForBoundaries | OrderPhase::WritingOutput)
            );
            assert!(waits, "{order} left rows behind in {phase:?}");
        }
    }
}

/// What an order reads from one producer.
#[derive(Debug)]
pub struct Fetch {
    pub input: usize,
    pub producer: WorkOrderId,
    pub incarnation: Incarnation,
    pub partitions: Vec<PartitionNumber>,
}

/// A fragment that runs.
#[derive(Debug)]
pub struct Run {
    pub order: Box<WorkOrder>,
    pub fetches: Vec<Fetch>,
    pub position: usize,
    gathered: Vec<Vec<Row>>,
    /// Splits of each input that nobody has yet.
    unassigned: Vec<u32>,
}

impl Run {
    pub fn new(order: Box<WorkOrder>) -> Self {
        let mut fetches = Vec::new();
        let mut gathered = Vec::new();
        let mut unassigned = Vec::new();
        for (input, slice) in order.inputs.iter().enumerate() {
            match slice {
                InputSlice::Splits {
                    splits,
                    unassigned: more,
                } => {
                    gathered.push(splits.iter().flat_map(|split| rows_of(&split.payload)).collect());
                    unassigned.push(*more);
                }
                InputSlice::Partitions {
                    stage,
                    partitions,
                    producers,
                    ..
                } => {
                    gathered.push(Vec::new());
                    unassigned.push(0);
                    fetches.extend(producers.iter().map(|producer| Fetch {
                        input,
                        producer: WorkOrderId {
                            stage: *stage,
                            worker: producer.worker,
                            attempt: producer.attempt,
                        },
                        incarnation: producer.incarnation,
                        partitions: partitions.clone(),
                    }));
                }
            }
        }
        Run {
            order,
            fetches,
            position: 0,
            gathered,
            unassigned,
        }
    }

    /// An input of which there may be more.
    pub fn unfinished(&self) -> Option<u32> {
        let input = self.unassigned.iter().position(|more| *more > 0)?;
        u32::try_from(input).ok()
    }

    pub fn add(&mut self, input: u32, splits: &[InputSplit], unassigned: u32) {
        let rows = splits.iter().flat_map(|split| rows_of(&split.payload));
        self.gathered[input as usize].extend(rows);
        self.unassigned[input as usize] = unassigned;
    }

    pub fn take(&mut self, rows: Vec<Row>) {
        let input = self.fetches[self.position].input;
        self.gathered[input].extend(rows);
        self.position += 1;
    }

    pub fn reads(&self) -> Vec<WorkOrderId> {
        self.fetches.iter().map(|fetch| fetch.producer).collect()
    }

    /// The fragment's output, in the order of its input; `salt` draws new salts.
    pub fn compute(&self, query: &SimulatedQuery, mut salt: impl FnMut() -> u16) -> Vec<Row> {
        let stage = query.stage(self.order.id.stage);
        let work = query.work[stage.number.0 as usize];
        let mut main: Vec<&[Row]> = Vec::new();
        let mut broadcast: Option<Vec<Row>> = None;
        for (slice, rows) in self.order.inputs.iter().zip(&self.gathered) {
            match slice {
                InputSlice::Partitions { merged: true, .. } => broadcast.get_or_insert_default().extend(rows),
                _ => main.push(rows),
            }
        }
        let identities = |rows: &[Row]| -> Vec<u64> { rows.iter().copied().map(identity).collect() };
        let made = transform(
            work,
            stage.number,
            &main.iter().map(|rows| identities(rows)).collect::<Vec<_>>(),
            broadcast.as_deref().map(identities).as_deref(),
        );
        // Rows come out in the order in which they went in, with their salts.
        let went_in: Vec<Row> = match work {
            Work::Join => main[0].to_vec(),
            Work::Forward if main.is_empty() => broadcast.unwrap_or_default(),
            Work::Forward => main.concat(),
        };
        assert_eq!(made.len(), went_in.len());
        made.into_iter()
            .zip(went_in)
            .map(|(identity, row)| {
                identity << 16
                    | if stage.deterministic {
                        row & 0xFFFF
                    } else {
                        u64::from(salt())
                    }
            })
            .collect()
    }
}
