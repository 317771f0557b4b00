//! COMPLEX<json>: JSON texts, of an Arrow type of their own ([`json_type`](crate::types::json_type)).

mod extract;
mod make;
mod path;
mod value;
pub(crate) mod write;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::function::defined;

pub use extract::HAS_VALUE as JSON_HAS_VALUE;

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = defined(extract::FUNCTIONS);
    functions.extend(defined(make::FUNCTIONS));
    functions
}
