//! Time: periods, and the TIME_ functions.

mod convert;
mod floor;
mod joda;
mod period;
mod shift;
mod text;

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::ScalarUDF;

pub use period::{Period, PeriodError};

/// Arrow's type for a Druid TIMESTAMP: ms since the epoch, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(floor::TimeBorder::floor())),
        Arc::new(ScalarUDF::from(floor::TimeBorder::ceil())),
        Arc::new(ScalarUDF::from(shift::TimeShift::new())),
        Arc::new(ScalarUDF::from(text::TimeParse::new())),
        Arc::new(ScalarUDF::from(text::TimeFormat::new())),
        Arc::new(ScalarUDF::from(convert::MillisToTimestamp::new())),
        Arc::new(ScalarUDF::from(convert::TimestampToMillis::new())),
    ]
}
