//! Segments: where they lie, how they are written, what is published of them.

mod deep_storage;
mod interval;
mod payload;
mod writer;

pub use deep_storage::DeepStorage;
pub use interval::{Interval, IntervalError, format_millis, parse_millis};
pub use payload::{DataSegment, LoadSpec, ShardSpec};
pub use writer::{SegmentLocation, SegmentWriter, WrittenSegment};
