//! Functions of real numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use datafusion::common::Result;

use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::Double;

const fn of_one(name: &'static str, body: crate::function::Body) -> Definition {
    Definition::new(name, &[Double], Gives::Double, body)
}

pub(super) const FUNCTIONS: [Definition; 17] = [
    Definition::new("pi", &[], Gives::Double, |call| {
        Ok(Arc::new(Float64Array::from_value(
            std::f64::consts::PI,
            call.rows,
        )))
    }),
    of_one("exp", |call| map(call, f64::exp)),
    of_one("ln", |call| map(call, f64::ln)),
    of_one("log10", |call| map(call, f64::log10)),
    of_one("sqrt", |call| map(call, f64::sqrt)),
    of_one("sin", |call| map(call, f64::sin)),
    of_one("cos", |call| map(call, f64::cos)),
    of_one("tan", |call| map(call, f64::tan)),
    of_one("cot", |call| map(call, |value| value.cos() / value.sin())),
    of_one("asin", |call| map(call, f64::asin)),
    of_one("acos", |call| map(call, f64::acos)),
    of_one("atan", |call| map(call, f64::atan)),
    of_one("degrees", |call| map(call, f64::to_degrees)),
    of_one("radians", |call| map(call, f64::to_radians)),
    Definition::new("atan2", &[Double, Double], Gives::Double, |call| {
        zip(call, f64::atan2)
    }),
    Definition::new("power", &[Double, Double], Gives::Double, |call| {
        zip(call, f64::powf)
    }),
    of_one("cbrt", |call| map(call, f64::cbrt)),
];

fn map(call: &Call<'_>, of: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let values: Float64Array = call.doubles(0)?.unary(of);
    Ok(Arc::new(values))
}

fn zip(call: &Call<'_>, of: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let values: Float64Array = arrow::compute::binary(&call.doubles(0)?, &call.doubles(1)?, of)?;
    Ok(Arc::new(values))
}
