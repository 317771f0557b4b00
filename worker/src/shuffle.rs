//! The shuffle store: what work orders left for their consumers, and how it is written and read.
//!
//! An output is a list of partitions, a partition a list of runs (one where the shuffle does not sort), a run a list of
//! blocks: record batches in memory while there is room, else framed bytes in a file. [`writers`] make outputs, the
//! [`store`] keeps them, [`frames`] is a block's form in files and on the wire.

pub mod frames;
pub mod output;
pub mod spill;
pub mod store;
pub mod writers;

#[cfg(test)]
pub(crate) mod tests;

pub use output::{Block, BlockStore, Output, PartitionData, Run};
pub use store::{Held, OutputKey, ShuffleStore};
