//! The streams between the controller and its workers: in order while they last, and told anew after they dropped.

use rand::Rng;
use sarsen_kernel::controller::ControllerEvent;
use sarsen_kernel::ids::Epoch;
use sarsen_kernel::worker::WorkerEvent;

use super::world::{Event, World};

impl World {
    /// A command to a worker: now, or once it can be reached again.
    pub fn command(&mut self, process: usize, command: WorkerEvent) {
        let link = &mut self.processes[process].link;
        if link.gone || link.closing {
            return;
        }
        link.sent.push(command.clone());
        self.transmit(process, command);
    }

    fn transmit(&mut self, process: usize, command: WorkerEvent) {
        let delay = self.trouble.delay(&mut self.random);
        let link = &mut self.processes[process].link;
        if !link.connected {
            return;
        }
        if self.trouble.drops(&mut self.random) {
            return self.drop_stream(process);
        }
        link.last_to_worker = link.last_to_worker.max(self.now + delay);
        let (time, connection) = (link.last_to_worker, link.connection);
        if self.random.random_bool(self.trouble.doubles) {
            let delay = self.trouble.delay(&mut self.random);
            self.at(
                time + delay,
                Event::ToWorker {
                    process,
                    connection,
                    command: command.clone(),
                },
            );
        }
        self.at(
            time,
            Event::ToWorker {
                process,
                connection,
                command,
            },
        );
    }

    /// A worker tells its controller, if it can.
    pub fn report(&mut self, process: usize, event: ControllerEvent) {
        let worker = self.processes[process].worker;
        if self.trouble.dies_speaking(worker, &mut self.random) {
            // Once this event has been dealt with.
            self.at(self.now, Event::Die { process });
        }
        let delay = self.trouble.delay(&mut self.random);
        let late = self.random.random_bool(0.1);
        let link = &mut self.processes[process].link;
        if !link.connected {
            return;
        }
        if self.trouble.drops(&mut self.random) {
            return self.drop_stream(process);
        }
        link.last_to_controller = link.last_to_controller.max(self.now + delay);
        let (time, connection) = (link.last_to_controller, link.connection);
        if self.random.random_bool(self.trouble.doubles) {
            let delay = self.trouble.delay(&mut self.random);
            self.at(
                time + delay,
                Event::ToController {
                    process,
                    connection,
                    late,
                    event: event.clone(),
                },
            );
        }
        self.at(
            time,
            Event::ToController {
                process,
                connection,
                late,
                event,
            },
        );
    }

    /// All that is under way on the stream is lost; the controller opens another one.
    pub fn drop_stream(&mut self, process: usize) {
        let link = &mut self.processes[process].link;
        if !std::mem::replace(&mut link.connected, false) {
            return;
        }
        let connection = link.connection;
        let noticed = self.random.random_range(0..200);
        self.at(self.now + noticed, Event::Noticed { process, connection });
        let again = self.random.random_range(1..2_000);
        self.at(self.now + again, Event::Connect { process });
    }

    pub fn connect(&mut self, process: usize) {
        let of = &mut self.processes[process];
        if of.link.gone || of.link.connected || !of.alive {
            return;
        }
        // A controller that has said good-bye may not stay to say it again.
        if of.link.closing && self.random.random_bool(0.5) {
            return;
        }
        if of.kernel.is_ended() {
            if !of.link.closing {
                self.at(self.now, Event::Lost { process });
            }
            return;
        }
        of.link.connection += 1;
        of.link.connected = true;
        let (worker, incarnation) = (of.worker, of.incarnation);
        let reports = of
            .kernel
            .handle(WorkerEvent::Attached { epoch: Epoch(1) }, self.now);
        self.report(process, ControllerEvent::WorkerReady { worker, incarnation });
        for report in reports {
            self.work(process, report);
        }
        for command in self.processes[process].link.sent.clone() {
            self.transmit(process, command);
        }
    }
}
