//! Runs work orders.
//!
//! [`service`] is the edge: one gRPC stream per worker task, and the Flight service on the same port. [`task`] carries
//! out what the kernel of one worker task decides; [`run`] runs a fragment into the writers of the shuffle store
//! ([`shuffle`]), with outside data as the controller hands it out ([`splits`]); [`flight`] serves partitions to others and [`pull`] fetches theirs.
//!
//! Deliberately absent: plans, SQL, and any decision about other workers.

mod cores;
mod counters;
mod cpu;
pub mod durable;
mod environment;
mod error;
mod flight;
pub mod inputs;
mod observed;
mod options;
pub mod pull;
mod row_checks;
mod run;
mod service;
pub mod shuffle;
mod splits;
pub mod storage_fault;
mod task;
pub mod ticket;

pub use options::{MemorySize, Options, available_memory};
pub use service::{Started, WorkerError, run, start};
