//! Text in, [`sarsen_kernel::query::QueryDefinition`] out.
//!
//! [`statement`] takes Druid's statement apart around what sqlparser reads; [`syntax`], [`rewrite`], [`analyze`] and
//! [`session`] make DataFusion read it as Druid means it; [`ingest`] adds what INSERT and REPLACE need ([`sharding`]
//! tells their segments apart); [`stages`] cuts the optimised physical plan
//! where rows must change place. [`native`] is the query that Druid would run, for clients to see. [`metadata`] answers queries of tables about the cluster. [`plan()`] is the way through all of them.
//!
//! Deliberately absent: reading anything from outside. A [`PlanRequest`] holds all that a plan depends on.

mod analyze;
mod append;
mod check;
mod depth;
mod derived;
mod dialect;
mod error;
mod export;
mod extend;
mod external;
mod granularity;
mod ingest;
pub mod intervals;
mod key_bounds;
mod lookups;
mod metadata;
pub mod native;
mod operands;
mod operators;
mod parameters;
mod plan;
mod request;
mod rewrite;
mod session;
mod settings;
mod sharding;
mod sql_types;
mod stages;
mod statement;
mod syntax;
mod tables;
mod types;
mod unicode;
mod uninferred;

pub use error::{PlanError, PlanPhase};
pub use key_bounds::KeyBounds;
pub use metadata::{MetadataAnswer, MetadataTable};
pub use plan::{References, answer, plan, references, statement_settings, to_infer};
pub use request::{
    Action, Explain, InferredSignature, Parameter, PlanRequest, Planned, PlannedScan, ResourceAction,
    ResourceKind, StatementKind, TableSchema,
};
pub use sarsen_functions::lookup::Lookups;
pub use sarsen_functions::{Routine, routines};
pub use settings::integer as context_integer;
pub use tables::ScanTarget;
