//! Druid's SQL functions as DataFusion functions, and the registry that holds them.
//!
//! Where a DataFusion built-in already means what Druid means, it is used as it is; the rest are here, one file a
//! family. Every function of the [`registry`] can travel by name in a stage's fragment.
//!
//! Deliberately absent: parsing of SQL and knowledge of tables.

mod aggregate;
mod array;
mod base64;
pub mod cast;
mod documentation;
mod function;
pub mod ingest;
mod json;
pub mod lookup;
pub mod multivalue;
mod network;
mod number;
pub mod operand;
pub mod registry;
mod routines;
mod sketches;
mod text;
pub mod time;
pub mod types;

pub use json::JSON_HAS_VALUE;
pub use number::print::{double_text, number_text};
pub use registry::{
    aggregate_functions, call, each_value, registry, scalar_functions, takes_each_value, window_functions,
};
pub use routines::{Routine, routines};
