//! Readers: files in, rows out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod access;
mod compression;
mod formats;
mod http;
mod objects;
mod reading;
#[allow(dead_code)]
#[path = "../../../tests/support/s3.rs"]
mod s3;
