//! What crosses process borders: the messages and services of `proto/`, conversions between them and the kernel's
//! types, and the transports that carry them ([`transport`]).
//!
//! Deliberately absent: decisions. A message means what its comment in the `.proto` file says.

pub mod access;
mod convert;
pub mod directory;
pub mod flow;
pub mod labels;
pub mod leader;
pub mod membership;
mod pipe;
mod repeat;
pub mod secret;
pub mod tls;
pub mod transport;
pub mod version;

/// Generated from `proto/sarsen/v1`.
#[allow(clippy::all, clippy::pedantic, clippy::indexing_slicing, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("sarsen.v1");
}

pub use convert::{DecodeError, from_kernel, to_kernel};
