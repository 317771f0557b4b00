//! The binary as users run it: processes, signals, the HTTP API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod cluster;
mod command_line;
mod concurrency;
mod configuration;
mod depth;
mod figures;
mod http_source;
mod observed;
mod oracle;
mod page;
mod processes;
mod scenarios;
mod security;
