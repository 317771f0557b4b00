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
mod connections;
mod depth;
mod doctor;
mod export;
mod figures;
mod http_source;
mod million;
mod object_storage;
mod observed;
mod oracle;
mod page;
#[path = "../../../tests/support/ports.rs"]
mod ports;
mod processes;
#[allow(dead_code)]
#[path = "../../../tests/support/s3.rs"]
mod s3;
mod scenarios;
mod security;
mod statements;
