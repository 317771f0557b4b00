//! Druid's SQL functions as DataFusion functions, and the registry that holds them.
//!
//! Where a DataFusion built-in already means what Druid means, it is used as it is; the rest are here, one file a
//! family. Every function of the [`registry`] can travel by name in a stage's fragment.
//!
//! Deliberately absent: parsing of SQL and knowledge of tables.

pub mod ingest;
pub mod registry;
mod sketches;
pub mod time;

pub use registry::{aggregate_functions, registry, scalar_functions, window_functions};
