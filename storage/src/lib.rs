//! What lies outside: input sources and formats of EXTERN, segments, deep storage.
//!
//! [`source`] lists and opens files, [`format`] and [`signature`] say what is in them, [`reader`] makes record batches of
//! them, [`infer`] a signature from samples of files; [`segment`] writes published files and their payloads; [`export`] writes files elsewhere, [`results`] reads pages of
//! durable results.
//!
//! Deliberately absent: SQL, plans, and who reads or writes when.

pub mod decompress;
mod error;
pub mod export;
pub mod format;
pub mod infer;
mod parquet_sink;
pub mod reader;
pub mod results;
pub mod segment;
pub mod signature;
pub mod source;
mod spec;

pub use error::StorageError;
