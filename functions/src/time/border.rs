//! TIME_FLOOR, TIME_CEIL and DATE_TRUNC.

use arrow::array::{ArrayRef, TimestampMillisecondArray};
use datafusion::common::{Result, exec_err};
use datafusion::scalar::ScalarValue;

use super::{Period, no_times, period, times_of, timestamp_type, zone};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Text, Time};

pub(super) const FUNCTIONS: [Definition; 3] = [
    Definition::new("time_floor", &[Time, Text], Gives::Time, |call| {
        border(call, Border::Start)
    })
    .or(&[Time, Text]),
    Definition::new("time_ceil", &[Time, Text], Gives::Time, |call| {
        border(call, Border::End)
    })
    .or(&[Time, Text]),
    Definition::new("date_trunc", &[Text, Time], Gives::Time, truncate),
];

/// Which border of a period.
#[derive(Clone, Copy)]
enum Border {
    /// The start of the period that holds the time.
    Start,
    /// The start of the first period that does not begin before the time.
    End,
}

/// `(time, period [, origin [, zone]])`.
fn border(call: &Call<'_>, border: Border) -> Result<ArrayRef> {
    let (Some(period), zone) = (period(call, 1)?, zone(call, 3)?) else {
        return Ok(no_times(call));
    };
    let origin = match call.constant(2) {
        Some(origin) => match origin.cast_to(&timestamp_type())? {
            ScalarValue::TimestampMillisecond(origin, _) => origin,
            _ => None,
        },
        None if call.has(2) => {
            return exec_err!("the origin of {} must be a literal", call.name.to_uppercase());
        }
        None => None,
    };
    let start = |millis: i64| match origin {
        Some(origin) => period.floor_from(millis, origin, zone),
        None => period.floor_in(millis, zone),
    };
    let borders: TimestampMillisecondArray = call.times(0)?.unary(|millis| {
        let floor = start(millis);
        match border {
            Border::End if floor < millis => period.add_in(floor, 1, zone),
            _ => floor,
        }
    });
    Ok(times_of(borders))
}

/// The period of a unit of DATE_TRUNC.
fn unit_period(unit: &str) -> Option<Period> {
    let text = match unit.to_lowercase().as_str() {
        "second" | "seconds" => "PT1S",
        "minute" | "minutes" => "PT1M",
        "hour" | "hours" => "PT1H",
        "day" | "days" => "P1D",
        "week" | "weeks" => "P1W",
        "month" | "months" => "P1M",
        "quarter" | "quarters" => "P3M",
        "year" | "years" => "P1Y",
        "decade" | "decades" => "P10Y",
        "century" | "centuries" => "P100Y",
        "millennium" | "millennia" => "P1000Y",
        _ => return None,
    };
    Period::parse(text).ok()
}

fn truncate(call: &Call<'_>) -> Result<ArrayRef> {
    let Some(unit) = call.literal_text(0)? else {
        return Ok(no_times(call));
    };
    let times = call.times(1)?;
    if matches!(unit.to_lowercase().as_str(), "millisecond" | "milliseconds") {
        return Ok(times_of(times));
    }
    let Some(period) = unit_period(unit) else {
        return exec_err!("Operator[DATE_TRUNC] cannot truncate to unit[{unit}]");
    };
    Ok(times_of(times.unary(|millis| period.floor(millis))))
}
