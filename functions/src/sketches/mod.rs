//! Sketches of Apache DataSketches: aggregations that make them, and functions that read and combine them. A sketch's
//! value is its serialised bytes, those of Java's library; what is hashed are the bytes that Druid hashes.

mod aggregate;
mod approximate;
mod bloom;
mod bloom_filter;
mod decode;
mod digest;
mod feed;
mod fixed_buckets;
mod hll;
mod murmur;
mod quantile;
mod quantiles;
mod read;
mod tdigest;
mod text;
mod theta;
mod tuple;
mod tuples;

use std::fmt;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use crate::function::defined;

/// The aggregations of this family.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let families = [
        &hll::AGGREGATES[..],
        &theta::AGGREGATES,
        &quantile::AGGREGATES,
        &tuple::AGGREGATES,
        &bloom::AGGREGATES,
        &approximate::AGGREGATES,
        &fixed_buckets::AGGREGATES,
        &tdigest::AGGREGATES,
    ];
    aggregate::defined(families.into_iter().flatten())
}

/// The scalar functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let families = [
        &hll::FUNCTIONS[..],
        &theta::FUNCTIONS,
        &quantile::FUNCTIONS,
        &tuple::FUNCTIONS,
        &bloom::FUNCTIONS,
        &decode::FUNCTIONS,
    ];
    defined(families.into_iter().flatten().copied())
}

/// An error of a sketch's bytes or settings.
fn refused(error: impl fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("sketch: {error}"))
}
