//! The Overlord: takes tasks, gives them locks, a controller process and worker slots, and keeps the metadata of
//! tables with their publish transaction, and the reports of ended tasks.
//!
//! [`service`] is the edge and owns the process; `handler` carries out one request each over [`state`] (one mutex, never
//! held over an await), [`metadata`] (SQLite or PostgreSQL) and `reports` (deep storage). What is decided is decided by pure code:
//! [`locks`], [`slots`], [`line`], [`queue`], [`membership`] (over [`coordination`]). `dispatch` alone talks to controllers.
//!
//! Deliberately absent: SQL, plans, rows, and any knowledge of what a query does.

mod audit;
pub mod coordination;
mod dispatch;
mod election;
mod error;
mod handler;
pub mod ids;
mod leftovers;
pub mod line;
pub mod locks;
pub mod membership;
pub mod metadata;
mod observed;
mod options;
mod overlord;
pub mod pool;
pub mod queue;
pub mod quotas;
pub mod rank;
mod reports;
pub mod security;
mod service;
pub mod slots;
pub mod state;
pub mod time;

pub use error::{OverlordError, RequestError};
pub use options::{METADATA_CONNECTIONS, Options, Retention, SecurityOptions};
pub use quotas::Quotas;
pub use service::{Started, run, start};
