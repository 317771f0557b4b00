//! Numbers. A function of whole numbers only gives a whole number where Druid's does.

mod bits;
mod divide;
pub mod print;
mod real;
mod round;
mod size;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::function::defined;

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = defined(real::FUNCTIONS);
    functions.extend(defined(round::FUNCTIONS));
    functions.extend(defined(divide::FUNCTIONS));
    functions.extend(defined(bits::FUNCTIONS));
    functions.extend(defined(size::FUNCTIONS));
    functions
}
