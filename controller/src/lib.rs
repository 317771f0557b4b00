//! Runs controller tasks: one per query.
//!
//! [`service`] is the edge; [`task`] plans a task from its spec, then carries out what the kernel decides until the
//! query's end. [`worker_link`] is the stream to one worker task, [`splits`] lists outside inputs, [`results`] reads the
//! rows of a SELECT, [`publish`] publishes segments ([`sharding`]: their shard specs), [`report`] tells how it stands.
//!
//! Deliberately absent: Druid's JSON, and decisions about stages, which are the kernel's. It depends on the worker
//! crate for its shuffle reader only.

mod context;
mod durable;
mod export;
mod leftovers;
mod log;
mod observed;
mod options;
mod publish;
mod query;
mod query_limits;
mod report;
mod results;
mod service;
mod sharding;
mod signatures;
mod splits;
mod state;
mod task;
mod worker_link;

pub use options::Options;
pub use service::{ControllerError, Started, run, start};
