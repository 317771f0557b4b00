//! TIME_FLOOR and TIME_CEIL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::{Period, timestamp_type};

/// Which border of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Border {
    /// The start of the period that holds the time.
    Start,
    /// The start of the first period that does not begin before the time.
    End,
}

/// `TIME_FLOOR(time, period)` and `TIME_CEIL(time, period)`, in UTC.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBorder {
    signature: Signature,
    border: Border,
}

impl TimeBorder {
    pub(super) fn floor() -> Self {
        TimeBorder {
            signature: Signature::user_defined(Volatility::Immutable),
            border: Border::Start,
        }
    }

    pub(super) fn ceil() -> Self {
        TimeBorder {
            border: Border::End,
            ..Self::floor()
        }
    }

    fn of(&self, period: &Period, millis: i64) -> i64 {
        let start = period.floor(millis);
        match self.border {
            Border::End if start < millis => period.next(start),
            _ => start,
        }
    }
}

impl ScalarUDFImpl for TimeBorder {
    fn name(&self) -> &str {
        match self.border {
            Border::Start => "time_floor",
            Border::End => "time_ceil",
        }
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
            _ => plan_err!(
                "{} takes a time and a period, found {} arguments",
                self.name(),
                arguments.len()
            ),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [time, period] = arguments.args.as_slice() else {
            return exec_err!("{} takes a time and a period", self.name());
        };
        let ColumnarValue::Scalar(period) = period else {
            return exec_err!("the period of {} must be a literal", self.name());
        };
        let Some(Some(text)) = period.try_as_str() else {
            return ScalarValue::try_new_null(&timestamp_type()).map(ColumnarValue::Scalar);
        };
        let period = match Period::parse(text) {
            Ok(period) => period,
            Err(error) => return exec_err!("{}: {error}", self.name()),
        };
        let is_scalar = matches!(time, ColumnarValue::Scalar(_));
        let times = time.to_array(if is_scalar { 1 } else { rows })?;
        let floored: TimestampMillisecondArray = times
            .as_primitive::<TimestampMillisecondType>()
            .unary(|millis| self.of(&period, millis));
        let floored: ArrayRef = Arc::new(floored.with_timezone("UTC"));
        match is_scalar {
            true if floored.len() == 1 => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&floored, 0)?))
            }
            _ => Ok(ColumnarValue::Array(floored)),
        }
    }
}
