//! What a stage's fragment is made of and what it runs in.
//!
//! A fragment is a DataFusion physical plan whose leaves name the stage's inputs by number: [`ShuffleReadExec`],
//! [`ExternScanExec`] and Parquet scans over published segments ([`segment_scan`]). It travels as datafusion-proto
//! bytes with [`codec::FragmentCodec`] for the nodes that are ours; [`fragment`] encodes, validates, decodes and binds
//! it to the inputs of one work order ([`input::FragmentInputs`]). [`guard`] finds the field
//! and row of an error. [`window`] works out window functions. [`key`] makes memcomparable bytes of shuffle keys.
//!
//! Deliberately absent: who runs a fragment and where its rows go (the worker), and SQL (the planner).

mod children;
pub mod codec;
pub mod export_sink;
pub mod extern_scan;
pub mod fragment;
pub mod guard;
pub mod input;
pub mod key;
pub mod runtime;
mod segment_queue;
pub mod segment_scan;
pub mod segment_sink;
pub mod shuffle_read;
pub mod window;

pub use export_sink::ExportSinkExec;
pub use extern_scan::ExternScanExec;
pub use segment_sink::SegmentSinkExec;
pub use shuffle_read::ShuffleReadExec;
pub use window::WindowExec;
