//! TIME_FLOOR.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::{Period, timestamp_type};

/// `TIME_FLOOR(time, period)`: start of the period that holds `time`, in UTC.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeFloor {
    signature: Signature,
}

impl TimeFloor {
    pub(super) fn new() -> Self {
        TimeFloor { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TimeFloor {
    fn name(&self) -> &str {
        "time_floor"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [_, _] => Ok(vec![timestamp_type(), DataType::Utf8View]),
            _ => plan_err!("TIME_FLOOR takes a time and a period, found {} arguments", arguments.len()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [time, period] = arguments.args.as_slice() else {
            return exec_err!("TIME_FLOOR takes a time and a period");
        };
        let ColumnarValue::Scalar(period) = period else {
            return exec_err!("the period of TIME_FLOOR must be a literal");
        };
        let Some(Some(text)) = period.try_as_str() else {
            return ScalarValue::try_new_null(&timestamp_type()).map(ColumnarValue::Scalar);
        };
        let period = match Period::parse(text) {
            Ok(period) => period,
            Err(error) => return exec_err!("TIME_FLOOR: {error}"),
        };
        let is_scalar = matches!(time, ColumnarValue::Scalar(_));
        let times = time.to_array(if is_scalar { 1 } else { rows })?;
        let floored: TimestampMillisecondArray =
            times.as_primitive::<TimestampMillisecondType>().unary(|millis| period.floor(millis));
        let floored: ArrayRef = Arc::new(floored.with_timezone("UTC"));
        match is_scalar {
            true if floored.len() == 1 => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&floored, 0)?)),
            _ => Ok(ColumnarValue::Array(floored)),
        }
    }
}
