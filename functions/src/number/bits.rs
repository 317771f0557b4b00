//! Bits of whole numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use datafusion::common::Result;

use crate::function::{Body, Call, Definition, Gives};
use crate::operand::Operand::{Double, Long};

const fn of_two(name: &'static str, body: Body) -> Definition {
    Definition::new(name, &[Long, Long], Gives::Long, body)
}

pub(super) const FUNCTIONS: [Definition; 8] = [
    of_two("bitwise_and", |call| zip(call, |left, right| left & right)),
    of_two("bitwise_or", |call| zip(call, |left, right| left | right)),
    of_two("bitwise_xor", |call| zip(call, |left, right| left ^ right)),
    of_two("bitwise_shift_left", |call| {
        zip(call, |left, right| left.wrapping_shl(shift(right)))
    }),
    of_two("bitwise_shift_right", |call| {
        zip(call, |left, right| left.wrapping_shr(shift(right)))
    }),
    Definition::new("bitwise_complement", &[Long], Gives::Long, |call| {
        let longs: Int64Array = call.longs(0)?.unary(|value: i64| !value);
        Ok(Arc::new(longs))
    }),
    Definition::new(
        "bitwise_convert_double_to_long_bits",
        &[Double],
        Gives::Long,
        |call| {
            let longs: Int64Array = call.doubles(0)?.unary(|value: f64| value.to_bits().cast_signed());
            Ok(Arc::new(longs))
        },
    ),
    Definition::new(
        "bitwise_convert_long_bits_to_double",
        &[Long],
        Gives::Double,
        |call| {
            let doubles: Float64Array = call
                .longs(0)?
                .unary(|value: i64| f64::from_bits(value.cast_unsigned()));
            Ok(Arc::new(doubles))
        },
    ),
];

/// Java shifts by the lowest six bits.
fn shift(by: i64) -> u32 {
    u32::try_from(by & 63).unwrap_or(0)
}

fn zip(call: &Call<'_>, of: impl Fn(i64, i64) -> i64) -> Result<ArrayRef> {
    let longs: Int64Array = arrow::compute::binary(&call.longs(0)?, &call.longs(1)?, of)?;
    Ok(Arc::new(longs))
}
