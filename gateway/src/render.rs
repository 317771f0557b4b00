//! Druid's JSON out of our values. Pure.

pub mod counters;
pub mod errors;
pub mod explain;
mod export;
mod native;
pub mod payload;
mod redact;
pub mod report;
pub mod results;
pub mod security;
pub mod stages;
pub mod statements;
pub mod status;
mod time;

pub use time::iso;
