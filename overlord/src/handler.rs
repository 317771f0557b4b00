//! One function per request; a request that changes things runs to its end whether or not its caller waits.

pub(crate) mod completion;
mod coordinator;
mod ingest;
mod nodes;
mod security;
mod tasks;
mod waiting;
pub(crate) mod workers;
