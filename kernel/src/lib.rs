//! The kernel decides; everybody else acts.
//!
//! Query and stage definitions, shuffle specs, faults, counters and two state machines: [`controller`] decides for a
//! whole query what may start, what must be re-run and what may be cleaned; [`worker`] does so for the work orders of
//! one worker task. Inputs are data, time is an argument, outputs are closed enums that one interpreter each in the
//! `controller` and `worker` crates carries out.
//!
//! Deliberately absent: tokio, tonic, DataFusion, files, clocks and randomness.

pub mod controller;
pub mod counters;
pub mod fault;
pub mod ids;
pub mod print;
pub mod query;
pub mod report;
pub mod secret;
pub mod shuffle;
pub mod statistics;
pub mod work_order;
pub mod worker;
