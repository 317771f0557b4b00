//! What an ingestion checks in its rows.

use std::sync::{Arc, LazyLock};

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::time::timestamp_type;

/// A row to be stored has no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Null timestamp (__time) encountered during INSERT or REPLACE.")]
pub struct NullTime;

/// `time`, or [`NullTime`] as an error for a row where it is NULL.
pub fn require_time(time: Expr) -> Expr {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(RequireTime::new())));
    FUNCTION.call(vec![time])
}

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::from(RequireTime::new()))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RequireTime {
    signature: Signature,
}

impl RequireTime {
    fn new() -> Self {
        RequireTime {
            signature: Signature::exact(vec![timestamp_type()], Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RequireTime {
    fn name(&self) -> &str {
        "__require_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time] = arguments.args.as_slice() else {
            return exec_err!("__require_time takes one time");
        };
        let has_null = match time {
            ColumnarValue::Array(times) => times.null_count() > 0,
            ColumnarValue::Scalar(time) => time.is_null(),
        };
        if has_null {
            Err(DataFusionError::External(Box::new(NullTime)))
        } else {
            Ok(time.clone())
        }
    }
}
