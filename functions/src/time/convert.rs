//! Conversions between times, texts and numbers.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::timestamp_type;

macro_rules! time_function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub(super) struct $name {
            signature: Signature,
        }

        impl $name {
            pub(super) fn new() -> Self {
                $name { signature: Signature::user_defined(Volatility::Immutable) }
            }
        }
    };
}

time_function!(
    /// `MILLIS_TO_TIMESTAMP(ms)`.
    MillisToTimestamp
);
time_function!(
    /// `TIMESTAMP_TO_MILLIS(time)`.
    TimestampToMillis
);

fn one_argument(arguments: &ScalarFunctionArgs) -> Result<&ColumnarValue> {
    match arguments.args.as_slice() {
        [argument] => Ok(argument),
        others => exec_err!("expected one argument, found {}", others.len()),
    }
}

impl ScalarUDFImpl for MillisToTimestamp {
    fn name(&self) -> &str {
        "millis_to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [_] => Ok(vec![DataType::Int64]),
            _ => plan_err!(
                "MILLIS_TO_TIMESTAMP takes one number, found {} arguments",
                arguments.len()
            ),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let millis = one_argument(&arguments)?.to_array(arguments.number_rows)?;
        Ok(ColumnarValue::Array(arrow::compute::cast(
            &millis,
            &timestamp_type(),
        )?))
    }
}

impl ScalarUDFImpl for TimestampToMillis {
    fn name(&self) -> &str {
        "timestamp_to_millis"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [_] => Ok(vec![timestamp_type()]),
            _ => plan_err!(
                "TIMESTAMP_TO_MILLIS takes one time, found {} arguments",
                arguments.len()
            ),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = one_argument(&arguments)?.to_array(arguments.number_rows)?;
        let millis = arrow::compute::cast(&times, &DataType::Int64)?;
        Ok(ColumnarValue::Array(Arc::new(
            millis.as_primitive::<Int64Type>().clone(),
        )))
    }
}
