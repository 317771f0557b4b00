//! The Overlord's decisions and its metadata store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

mod election;
mod locks;
mod place;
mod queue;
mod service;
mod slots;
mod store;
