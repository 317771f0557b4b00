//! Tests of the kernel without a cluster: tables, a tester that fast-forwards a stage to any phase, a simulation of a
//! whole query on virtual time, and random orders of events.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

mod builders;
mod choices;
mod limits;
mod phases;
mod random_events;
mod recovery;
mod scale;
mod simulation;
mod splits;
mod statistics;
mod tester;
mod worker_orders;
