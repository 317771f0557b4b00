//! The Overlord's decisions and its metadata store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

mod concurrency;
mod concurrent_replace;
mod connection_loss;
mod coordinator;
mod election;
mod inspection;
mod line;
mod locks;
mod million;
mod place;
mod portable;
#[path = "../../../tests/support/ports.rs"]
mod ports;
mod queue;
mod service;
mod slots;
mod store;
mod versions;
