//! `sarsen demo`.

use clap::Args;

use crate::Outcome;

/// Flags of `sarsen demo`.
#[derive(Debug, Clone, Args)]
pub struct Options {}

pub fn run(_options: &Options) -> Outcome {
    Err("not yet".into())
}
