//! One controller and its workers on virtual time, and all that can happen between them.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sarsen_kernel::controller::{ControllerEvent, ControllerKernel, Limits};
use sarsen_kernel::fault::{Fault, FaultReport};
use sarsen_kernel::ids::{Epoch, Incarnation, Millis, WorkOrderId, WorkerNumber};
use sarsen_kernel::shuffle::Boundaries;
use sarsen_kernel::work_order::OutputMode;
use sarsen_kernel::worker::WorkerEvent;

use super::definition::{Row, SimulatedQuery};
use super::placing::Partitions;
use super::process::Process;
use super::trouble::Trouble;
use crate::builders::worker_failed;

#[derive(Debug)]
pub enum Event {
    ToWorker {
        process: usize,
        connection: u64,
        command: WorkerEvent,
    },
    /// `late`: it comes although its stream is gone.
    ToController {
        process: usize,
        connection: u64,
        late: bool,
        event: ControllerEvent,
    },
    Launch {
        worker: WorkerNumber,
        incarnation: Incarnation,
    },
    Connect {
        process: usize,
    },
    /// The worker sees that its stream has dropped.
    Noticed {
        process: usize,
        connection: u64,
    },
    Step {
        process: usize,
        order: WorkOrderId,
    },
    Cut {
        process: usize,
        order: WorkOrderId,
        boundaries: Boundaries,
    },
    Die {
        process: usize,
    },
    /// The controller gives up a worker that lives on.
    GiveUp {
        process: usize,
    },
    Lost {
        process: usize,
    },
    ControllerTick,
    WorkerTick {
        process: usize,
    },
    Read {
        reader: usize,
    },
    PublishEnds {
        orders: Vec<WorkOrderId>,
    },
    Cancel,
}

/// What a run of an order was made of.
#[derive(Debug, Clone)]
pub struct RunRecord {
    pub reads: Vec<WorkOrderId>,
    pub boundaries: Option<Boundaries>,
}

/// Reads the results of a SELECT.
#[derive(Debug)]
pub struct Reader {
    pub orders: Vec<(WorkOrderId, Incarnation)>,
    pub position: usize,
    pub partitions: Vec<Vec<Row>>,
}

pub struct World {
    pub query: SimulatedQuery,
    pub kernel: ControllerKernel,
    pub output: OutputMode,
    pub random: SmallRng,
    pub trouble: Trouble,
    pub now: Millis,
    queue: BTreeMap<(Millis, u64), Event>,
    sequence: u64,
    tick_at: Option<Millis>,
    pub processes: Vec<Process>,
    pub lives: BTreeMap<(WorkerNumber, Incarnation), usize>,
    /// Outputs on an object store.
    pub durable: BTreeMap<WorkOrderId, Partitions>,
    /// Segments in deep storage.
    pub segments: BTreeMap<WorkOrderId, Vec<Row>>,
    pub records: BTreeMap<WorkOrderId, RunRecord>,
    pub readers: Vec<Reader>,
    /// What the query gave: partitions, and the orders they are from.
    pub results: Option<(Vec<Vec<Row>>, Vec<WorkOrderId>)>,
    pub end: Option<Result<(), FaultReport>>,
}

/// Far more than any query takes.
const MAX_EVENTS: u32 = 200_000;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let query = super::definition::draw(&mut random);
        let trouble = Trouble::draw(seed, &mut random);
        let output = match random.random_range(0..8) {
            0 => OutputMode::Durable,
            1 => OutputMode::Disk,
            _ => OutputMode::Memory,
        };
        let workers = random.random_range(1..=8);
        let limits = Limits {
            output,
            ..Limits::default()
        };
        let kernel = ControllerKernel::new(query.definition.clone(), limits, workers, Epoch(1)).unwrap();
        World {
            query,
            kernel,
            output,
            random,
            trouble,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            tick_at: None,
            processes: Vec::new(),
            lives: BTreeMap::new(),
            durable: BTreeMap::new(),
            segments: BTreeMap::new(),
            records: BTreeMap::new(),
            readers: Vec::new(),
            results: None,
            end: None,
        }
    }

    /// Runs until nothing more can happen, long after the end of the query.
    pub fn run(&mut self) {
        if let Some(at) = self.trouble.cancel_at {
            self.at(at, Event::Cancel);
        }
        self.controller(ControllerEvent::Started);
        let mut events = 0;
        while let Some(((time, _), event)) = self.queue.pop_first() {
            events += 1;
            assert!(events < MAX_EVENTS, "the query goes round in circles");
            self.now = time;
            self.happen(event);
        }
    }

    pub fn at(&mut self, time: Millis, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    /// Some time from now, as the seed's delays are.
    pub fn soon(&mut self, event: Event) {
        let delay = self.trouble.delay(&mut self.random);
        self.at(self.now + delay, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToWorker {
                process,
                connection,
                command,
            } => {
                let link = &self.processes[process].link;
                if link.connected && link.connection == connection {
                    self.worker(process, command);
                }
            }
            Event::ToController {
                process,
                connection,
                late,
                event,
            } => {
                let link = &self.processes[process].link;
                if late || (link.connected && link.connection == connection) {
                    self.controller(event);
                }
            }
            Event::Launch { worker, incarnation } => self.launch(worker, incarnation),
            Event::Connect { process } => self.connect(process),
            Event::Noticed { process, connection } => {
                let link = &self.processes[process].link;
                if !link.connected && link.connection == connection {
                    self.worker(process, WorkerEvent::Detached);
                }
            }
            Event::Step { process, order } => self.step(process, order),
            Event::Cut {
                process,
                order,
                boundaries,
            } => self.cut(process, order, &boundaries),
            Event::Die { process } => self.die(process),
            Event::GiveUp { process } => {
                if self.processes[process].alive && !self.processes[process].link.closing {
                    self.drop_stream(process);
                    self.lost(process);
                }
            }
            Event::Lost { process } => self.lost(process),
            Event::ControllerTick => {
                self.tick_at = None;
                self.controller(ControllerEvent::Tick);
            }
            Event::WorkerTick { process } => {
                self.processes[process].tick_at = None;
                self.worker(process, WorkerEvent::Tick);
            }
            Event::Read { reader } => self.read(reader),
            Event::PublishEnds { orders } => self.publish(orders),
            Event::Cancel => self.controller(ControllerEvent::Cancel {
                fault: Fault::Canceled {}.into(),
            }),
        }
    }

    /// Tells the controller's kernel, and does what it asks for.
    pub fn controller(&mut self, event: ControllerEvent) {
        let actions = self.kernel.handle(event, self.now);
        for action in actions {
            self.carry_out(action);
        }
        if let Some(deadline) = self.kernel.next_deadline()
            && self.tick_at.is_none_or(|tick| deadline < tick)
        {
            self.tick_at = Some(deadline);
            self.at(deadline, Event::ControllerTick);
        }
    }

    fn launch(&mut self, worker: WorkerNumber, incarnation: Incarnation) {
        if self.end.is_some() {
            return;
        }
        let process = self.processes.len();
        self.processes.push(Process::new(worker, incarnation, self.now));
        let known = self.lives.insert((worker, incarnation), process);
        assert_eq!(known, None, "a life is launched once");
        self.soon(Event::Connect { process });
        self.schedule_worker_tick(process);
        if let Some((after, survives)) = self.trouble.death_of(worker, &mut self.random) {
            let event = if survives {
                Event::GiveUp { process }
            } else {
                Event::Die { process }
            };
            self.at(self.now + after, event);
        }
    }

    pub fn die(&mut self, process: usize) {
        if !self.processes[process].serves() {
            return;
        }
        self.processes[process].die();
        let after = self.random.random_range(0..500);
        self.at(self.now + after, Event::Lost { process });
    }

    fn lost(&mut self, process: usize) {
        let of = &mut self.processes[process];
        if std::mem::replace(&mut of.link.gone, true) {
            return;
        }
        let (worker, incarnation) = (of.worker, of.incarnation);
        self.controller(ControllerEvent::WorkerLost {
            worker,
            incarnation,
            reason: worker_failed(),
        });
    }

    /// The process of a worker number that was launched last.
    pub fn latest(&self, worker: WorkerNumber) -> Option<usize> {
        let lives = self
            .lives
            .range((worker, Incarnation(0))..=(worker, Incarnation(u32::MAX)));
        lives.map(|(_, process)| *process).next_back()
    }
}
