//! Carries out what the kernels ask for.

use rand::Rng;
use sarsen_kernel::controller::{ControllerAction, ControllerEvent};
use sarsen_kernel::fault::Fault;
use sarsen_kernel::ids::{Incarnation, Millis, WorkOrderId, WorkerNumber};
use sarsen_kernel::shuffle::Boundaries;
use sarsen_kernel::work_order::{OutputMode, WorkOrder};
use sarsen_kernel::worker::{OrderFailure, WorkerAction, WorkerEvent};

use super::definition::Row;
use super::placing::{Partitions, count, place, sizes};
use super::process::Run;
use super::world::{Event, Reader, RunRecord, World};
use crate::builders::{unknown_error, worker_failed};

/// A publish that outlasts every timeout of workers.
const LONG_PUBLISH: Millis = 700_000;

impl World {
    pub fn carry_out(&mut self, action: ControllerAction) {
        assert!(self.end.is_none(), "nothing follows the end");
        match action {
            ControllerAction::LaunchWorker { worker, incarnation } => {
                self.soon(Event::Launch { worker, incarnation })
            }
            ControllerAction::SendWorkOrder { incarnation, order } => {
                let process = self.lives[&(order.id.worker, incarnation)];
                self.command(process, WorkerEvent::Start { order });
            }
            ControllerAction::SendSplits {
                order,
                input,
                portion,
                splits,
                unassigned,
            } => {
                let more = WorkerEvent::TakeSplits {
                    order,
                    input,
                    portion,
                    splits,
                    unassigned,
                };
                self.command_latest(order.worker, more);
            }
            ControllerAction::SendBoundaries { order, boundaries } => {
                let boundaries = boundaries.as_ref().clone();
                self.command_latest(order.worker, WorkerEvent::SetBoundaries { order, boundaries });
            }
            ControllerAction::StopWorkOrder { order } => {
                self.command_latest(order.worker, WorkerEvent::Stop { order })
            }
            ControllerAction::CleanUpOutput { order } => {
                self.command_latest(order.worker, WorkerEvent::CleanUp { order });
            }
            ControllerAction::ReadResults {
                orders, partitions, ..
            } => {
                let life = |order: &WorkOrderId| {
                    let process = self.latest(order.worker)?;
                    Some((*order, self.processes[process].incarnation))
                };
                let orders = orders.iter().filter_map(life).collect();
                let partitions = vec![Vec::new(); partitions as usize];
                self.readers.push(Reader {
                    orders,
                    position: 0,
                    partitions,
                });
                self.soon(Event::Read {
                    reader: self.readers.len() - 1,
                });
            }
            ControllerAction::Publish { orders } => {
                let after = if self.random.random_bool(0.1) {
                    LONG_PUBLISH
                } else {
                    self.random.random_range(1..300)
                };
                self.at(self.now + after, Event::PublishEnds { orders });
            }
            ControllerAction::Warn { .. } => {}
            ControllerAction::FinishWorker { worker, incarnation } => {
                if let Some(process) = self.lives.get(&(worker, incarnation)).copied() {
                    self.command(process, WorkerEvent::Finish);
                    self.processes[process].link.closing = true;
                }
            }
            ControllerAction::QueryFinished { result } => self.end = Some(result),
        }
    }

    fn command_latest(&mut self, worker: WorkerNumber, command: WorkerEvent) {
        if let Some(process) = self.latest(worker) {
            self.command(process, command);
        }
    }

    /// Tells a worker's kernel, and does what it asks for.
    pub fn worker(&mut self, process: usize, event: WorkerEvent) {
        if !self.processes[process].serves() {
            return;
        }
        let actions = self.processes[process].kernel.handle(event, self.now);
        for action in actions {
            self.work(process, action);
        }
        self.processes[process].check();
        self.schedule_worker_tick(process);
    }

    pub fn schedule_worker_tick(&mut self, process: usize) {
        let of = &mut self.processes[process];
        if let Some(deadline) = of.kernel.next_deadline()
            && of.tick_at.is_none()
        {
            of.tick_at = Some(deadline);
            self.at(deadline, Event::WorkerTick { process });
        }
    }

    pub fn work(&mut self, process: usize, action: WorkerAction) {
        let of = &mut self.processes[process];
        match action {
            WorkerAction::Run { order } => {
                let id = order.id;
                assert!(!of.runs.contains_key(&id), "{id} runs once");
                of.runs.insert(id, Run::new(order));
                self.soon(Event::Step { process, order: id });
            }
            WorkerAction::AskForSplits {
                order,
                input,
                portion,
                wanted,
            } => {
                let question = ControllerEvent::SplitsWanted {
                    order,
                    input,
                    portion,
                    wanted,
                };
                self.report(process, question);
            }
            WorkerAction::AddSplits {
                order,
                input,
                splits,
                unassigned,
            } => {
                if let Some(run) = of.runs.get_mut(&order) {
                    run.add(input, &splits, unassigned);
                    self.soon(Event::Step { process, order });
                }
            }
            WorkerAction::Cut { order, boundaries } => self.soon(Event::Cut {
                process,
                order,
                boundaries,
            }),
            WorkerAction::Cancel { order } => {
                // A fragment may be about to end, and come to its end all the same.
                if self.random.random_bool(0.7) {
                    of.runs.remove(&order);
                }
            }
            WorkerAction::DeleteOutput { order } => {
                of.uncut.remove(&order);
                of.outputs.remove(&order);
                self.durable.remove(&order);
            }
            WorkerAction::ReportStatistics { order, statistics } => {
                self.report(process, ControllerEvent::Statistics { order, statistics });
            }
            WorkerAction::ReportOutput { order, sizes } => {
                self.report(process, ControllerEvent::OutputReady { order, sizes });
            }
            WorkerAction::ReportFailure {
                order,
                failure: OrderFailure::Fault(fault),
            } => {
                self.report(process, ControllerEvent::WorkOrderFailed { order, fault });
            }
            WorkerAction::ReportFailure {
                order,
                failure: OrderFailure::Unavailable { producer, .. },
            } => {
                self.report(
                    process,
                    ControllerEvent::OutputUnavailable {
                        consumer: Some(order),
                        producer,
                    },
                );
            }
            WorkerAction::RefuseAttach { .. } => panic!("there is one epoch"),
            WorkerAction::End => of.runs.clear(),
        }
    }

    /// Rows of some partitions of an output, if they can be fetched.
    fn fetch(&mut self, producer: WorkOrderId, incarnation: Incarnation) -> Option<&Partitions> {
        if self.trouble.hiccup(&mut self.random) {
            return None;
        }
        if self.output == OutputMode::Durable {
            return self.durable.get(&producer);
        }
        let process = *self.lives.get(&(producer.worker, incarnation))?;
        self.processes[process].outputs.get(&producer)
    }

    /// A fragment reads from one more producer, or ends.
    pub fn step(&mut self, process: usize, order: WorkOrderId) {
        let Some(run) = self.processes[process].runs.get(&order) else {
            return;
        };
        if let Some(fetch) = run.fetches.get(run.position) {
            let (producer, incarnation, partitions) =
                (fetch.producer, fetch.incarnation, fetch.partitions.clone());
            let rows: Option<Vec<Row>> = self.fetch(producer, incarnation).map(|output| {
                partitions
                    .iter()
                    .flat_map(|number| output.get(number.0 as usize).into_iter().flatten())
                    .copied()
                    .collect()
            });
            match (rows, self.processes[process].runs.get_mut(&order)) {
                (Some(rows), Some(run)) => {
                    run.take(rows);
                    self.soon(Event::Step { process, order });
                }
                _ => {
                    let failure = OrderFailure::Unavailable {
                        producer,
                        reason: "not there".into(),
                    };
                    self.fail(process, order, failure);
                }
            }
            return;
        }
        if let Some(input) = run.unfinished() {
            let wanted = self.random.random_range(1..4);
            return self.worker(process, WorkerEvent::SplitsBegun { order, input, wanted });
        }
        if self.trouble.hiccup(&mut self.random) {
            return self.fail(process, order, OrderFailure::Fault(worker_failed()));
        }
        if self.trouble.poison > 0.0 && self.random.random_bool(self.trouble.poison) {
            return self.fail(process, order, OrderFailure::Fault(unknown_error()));
        }
        let Some(run) = self.processes[process].runs.remove(&order) else {
            return;
        };
        let mut rows = run.compute(&self.query, || self.random.random());
        // Rows come in any order.
        for position in (1..rows.len()).rev() {
            rows.swap(position, self.random.random_range(0..=position));
        }
        let known = self.records.insert(
            order,
            RunRecord {
                reads: run.reads(),
                boundaries: run.order.boundaries.clone(),
            },
        );
        assert!(known.is_none(), "{order} ran twice");
        let shuffle = run.order.shuffle.clone();
        match &shuffle {
            Some(shuffle) if shuffle.kind.needs_boundaries() && run.order.boundaries.is_none() => {
                let seed = u64::from(order.stage.0) << 32 | u64::from(order.worker.0);
                let statistics = count(shuffle, &rows, seed);
                self.processes[process].uncut.insert(order, (run.order, rows));
                self.worker(process, WorkerEvent::InputRead { order, statistics });
            }
            _ => self.write(process, &run.order, run.order.boundaries.as_ref(), rows),
        }
    }

    fn fail(&mut self, process: usize, order: WorkOrderId, failure: OrderFailure) {
        self.processes[process].runs.remove(&order);
        self.worker(process, WorkerEvent::Failed { order, failure });
    }

    pub fn cut(&mut self, process: usize, order: WorkOrderId, boundaries: &Boundaries) {
        let Some((order, rows)) = self.processes[process].uncut.remove(&order) else {
            return;
        };
        if let Some(record) = self.records.get_mut(&order.id) {
            record.boundaries = Some(boundaries.clone());
        }
        self.write(process, &order, Some(boundaries), rows);
    }

    fn write(&mut self, process: usize, order: &WorkOrder, boundaries: Option<&Boundaries>, rows: Vec<Row>) {
        let hashed_by = self.query.hashed_by[order.id.stage.0 as usize];
        let partitions = place(
            order.shuffle.as_ref(),
            boundaries,
            hashed_by,
            order.id.worker,
            rows,
        );
        let sizes = sizes(&partitions);
        if order.shuffle.is_none() {
            self.segments.insert(order.id, partitions.concat());
        }
        match self.output {
            OutputMode::Durable => self.durable.insert(order.id, partitions),
            _ => self.processes[process].outputs.insert(order.id, partitions),
        };
        self.worker(
            process,
            WorkerEvent::OutputWritten {
                order: order.id,
                sizes,
            },
        );
    }

    pub fn read(&mut self, reader: usize) {
        if self.end.is_some() {
            return;
        }
        let next = self.readers[reader]
            .orders
            .get(self.readers[reader].position)
            .copied();
        let Some((order, incarnation)) = next else {
            let partitions = std::mem::take(&mut self.readers[reader].partitions);
            let orders = self.readers[reader]
                .orders
                .iter()
                .map(|(order, _)| *order)
                .collect();
            self.results = Some((partitions, orders));
            return self.controller(ControllerEvent::ResultsRead);
        };
        let Some(output) = self.fetch(order, incarnation).cloned() else {
            return self.controller(ControllerEvent::OutputUnavailable {
                consumer: None,
                producer: order,
            });
        };
        let of = &mut self.readers[reader];
        for (partition, rows) in of.partitions.iter_mut().zip(output) {
            partition.extend(rows);
        }
        of.position += 1;
        self.soon(Event::Read { reader });
    }

    pub fn publish(&mut self, orders: Vec<WorkOrderId>) {
        if self.end.is_some() {
            return;
        }
        if self.trouble.fails_publish {
            let fault = Fault::InsertLockPreempted {}.into();
            return self.controller(ControllerEvent::PublishFailed { fault });
        }
        let rows = orders.iter().map(|order| self.segments[order].clone()).collect();
        self.results = Some((rows, orders));
        self.controller(ControllerEvent::Published);
    }
}
