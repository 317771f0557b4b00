//! Time: periods, and the functions of times.

mod add;
mod border;
mod extract;
mod interval;
mod iso;
mod joda;
mod period;
mod text;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimeUnit};
pub use chrono_tz::Tz;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

use crate::function::{Call, Definition, Gives, defined};
use crate::operand::Operand::{Long, Time};

pub use interval::parse_interval;
pub use iso::parse_iso;
pub(crate) use joda::Pattern;
pub use period::{Period, PeriodError};

/// Arrow's type for a Druid TIMESTAMP: ms since the epoch, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

const FUNCTIONS: [Definition; 2] = [
    Definition::new("millis_to_timestamp", &[Long], Gives::Time, |call| {
        Ok(arrow::compute::cast(&call.longs(0)?, &timestamp_type())?)
    }),
    Definition::new("timestamp_to_millis", &[Time], Gives::Long, |call| {
        let millis: Int64Array = call.times(0)?.unary(|millis: i64| millis);
        Ok(Arc::new(millis))
    }),
];

/// The functions of this family.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = defined(FUNCTIONS);
    functions.extend(defined(add::FUNCTIONS));
    functions.extend(defined(border::FUNCTIONS));
    functions.extend(defined(extract::FUNCTIONS));
    functions.extend(defined(interval::FUNCTIONS));
    functions.extend(defined(text::FUNCTIONS));
    functions
}

fn times_of(times: TimestampMillisecondArray) -> ArrayRef {
    Arc::new(times.with_timezone("UTC"))
}

/// The zone that an argument names, UTC without it.
fn zone(call: &Call<'_>, position: usize) -> Result<Tz> {
    match call.literal_text(position)? {
        None => Ok(Tz::UTC),
        Some(name) => match parse_zone(name) {
            Some(zone) => Ok(zone),
            None => exec_err!(
                "The datetime zone id '{name}' is not recognised (argument {} of {})",
                position + 1,
                call.name.to_uppercase()
            ),
        },
    }
}

/// A zone by its name, or by a whole number of hours such as `-08:00`.
pub fn parse_zone(name: &str) -> Option<Tz> {
    if let Ok(zone) = name.parse() {
        return Some(zone);
    }
    let (sign, digits) = match name.strip_prefix('-') {
        Some(digits) => ('+', digits),
        // The names of these zones count westwards.
        None => ('-', name.strip_prefix('+')?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours.parse::<u32>().ok()?, minutes.parse::<u32>().ok()?),
        None => (
            digits.get(..2)?.parse().ok()?,
            digits
                .get(2..)
                .filter(|rest| !rest.is_empty())
                .map_or(Some(0), |rest| rest.parse().ok())?,
        ),
    };
    match (hours, minutes) {
        (0, 0) => Some(Tz::UTC),
        (_, 0) => format!("Etc/GMT{sign}{hours}").parse().ok(),
        _ => None,
    }
}

/// A time as results show it in a zone: `2015-09-12T00:46:58.771Z`; the number itself beyond what a calendar can say.
pub fn iso_in(millis: i64, zone: Tz) -> String {
    chrono::DateTime::from_timestamp_millis(millis).map_or_else(
        || millis.to_string(),
        |time| {
            let local = time.with_timezone(&zone);
            local.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        },
    )
}

/// The period that an argument names; `None` for NULL.
fn period(call: &Call<'_>, position: usize) -> Result<Option<Period>> {
    let Some(text) = call.literal_text(position)? else {
        return Ok(None);
    };
    match Period::parse_span(text) {
        Ok(period) => Ok(Some(period)),
        Err(error) => exec_err!("{}: {error}", call.name.to_uppercase()),
    }
}

fn no_times(call: &Call<'_>) -> ArrayRef {
    times_of(TimestampMillisecondArray::new_null(call.rows))
}
