//! Readers: files in, rows out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod access;
mod archives;
mod compression;
mod formats;
mod http;
mod infer;
mod objects;
#[path = "../../../tests/support/ports.rs"]
mod ports;
mod reading;
#[allow(dead_code)]
#[path = "../../../tests/support/s3.rs"]
mod s3;
mod typed;
