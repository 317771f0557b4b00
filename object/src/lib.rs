//! Object stores by URL: local folders, S3, Google Cloud Storage and Azure Blob Storage.
//!
//! [`location`] reads URLs, [`settings`] holds a process's flags, [`access`] what one source or destination sets instead;
//! [`stores`] opens buckets with them. [`write`] uploads, [`list`] lists in pages, [`uploads`] finds multipart uploads
//! that nobody will complete, [`probe`] finds out whether a prefix can be used, [`credentials`] are those of AWS that `object_store` does not know.
//!
//! Deliberately absent: what is stored, and Arrow.

pub mod access;
mod azure;
mod connector;
pub mod credentials;
mod error;
mod google;
pub mod list;
pub mod location;
pub mod probe;
mod s3;
pub mod settings;
pub mod stores;
pub mod uploads;
pub mod write;

pub use access::{Access, AzureAccess, Keys};
pub use error::ObjectError;
pub use location::{Location, StoreKind};
pub use settings::ObjectSettings;
pub use stores::{Bucket, Stores};
pub use write::{Staged, StagedUpload, Upload};
