//! Sketches of Apache DataSketches: aggregations that make them, and functions that read and combine them. A sketch's
//! value is its serialised bytes.

mod distinct;
mod read;
mod sketch;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use crate::function::defined;

/// The aggregations of this family.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let mut functions = distinct::functions();
    functions.extend(sketch::functions());
    functions
}

/// The scalar functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    defined(read::FUNCTIONS)
}
