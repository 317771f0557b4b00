//! TIME_SHIFT.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{Period, timestamp_type};

/// `TIME_SHIFT(time, period, step)`: `time` moved by so many periods, in UTC.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeShift {
    signature: Signature,
}

impl TimeShift {
    pub(super) fn new() -> Self {
        TimeShift {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for TimeShift {
    fn name(&self) -> &str {
        "time_shift"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [_, _, _] => Ok(vec![timestamp_type(), DataType::Utf8View, DataType::Int64]),
            _ => plan_err!(
                "TIME_SHIFT takes a time, a period and a step, found {} arguments",
                arguments.len()
            ),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times, ColumnarValue::Scalar(period), steps] = arguments.args.as_slice() else {
            return exec_err!("the period of TIME_SHIFT must be a literal");
        };
        let period = match Period::parse(period.try_as_str().flatten().unwrap_or_default()) {
            Ok(period) => period,
            Err(error) => return exec_err!("TIME_SHIFT: {error}"),
        };
        let (times, steps) = (
            times.to_array(arguments.number_rows)?,
            steps.to_array(arguments.number_rows)?,
        );
        let pairs = times
            .as_primitive::<TimestampMillisecondType>()
            .iter()
            .zip(steps.as_primitive::<Int64Type>());
        let shifted: TimestampMillisecondArray =
            pairs.map(|(time, step)| Some(period.add(time?, step?))).collect();
        Ok(ColumnarValue::Array(
            Arc::new(shifted.with_timezone("UTC")) as ArrayRef
        ))
    }
}
