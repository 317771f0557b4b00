//! Druid's HTTP API in front of the Overlord.
//!
//! [`service`] is the process and its router; [`routes`] hold a file per part of the API, thin: they read a request
//! ([`request`]), ask the Overlord, and answer with what [`render`] makes. [`submission`] plans a statement before it is
//! submitted, so that bad SQL is refused at once; [`metadata`] answers queries about the cluster itself. [`auth`] stands before all of it.
//!
//! The only crate that knows Druid's JSON. Deliberately absent: state of any kind.

mod auth;
mod body;
mod error;
mod interval;
mod listener;
mod lookups;
mod metadata;
mod options;
mod render;
mod request;
mod routes;
mod scheduling;
mod service;
mod stream;
mod submission;

pub use options::{AuthMode, HttpOptions, Options};
pub use service::{GatewayError, Started, run, start};
