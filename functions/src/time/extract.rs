//! TIME_EXTRACT: parts of a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::{DatePart, date_part};
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err};

use super::zone;
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Text, Time};

pub(super) const FUNCTIONS: [Definition; 1] =
    [Definition::new("time_extract", &[Time, Text], Gives::Long, extract).or(&[Text])];

/// `(time, unit [, zone])`.
fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let zone = zone(call, 2)?;
    let Some(unit) = call.literal_text(1)? else {
        return Ok(Arc::new(Int64Array::new_null(call.rows)));
    };
    let Some(of) = part(&unit.to_uppercase()) else {
        return exec_err!("Operator[TIME_EXTRACT] does not know unit[{unit}]");
    };
    if zone == Tz::UTC
        && let Some((part, plus)) = arrows_part(&unit.to_uppercase())
    {
        let times = call.times(0)?.with_timezone_opt(None::<String>);
        let parts = arrow::compute::cast(&date_part(&times, part)?, &DataType::Int64)?;
        let parts: Int64Array = parts.as_primitive::<Int64Type>().unary(|value| value + plus);
        return Ok(Arc::new(parts));
    }
    let parts: Int64Array = call
        .times(0)?
        .iter()
        .map(|millis| {
            Some(of(
                &DateTime::<Utc>::from_timestamp_millis(millis?)?.with_timezone(&zone)
            ))
        })
        .collect();
    Ok(Arc::new(parts))
}

/// What Arrow calls a part that it has, and what is to be added to it.
fn arrows_part(unit: &str) -> Option<(DatePart, i64)> {
    Some(match unit {
        "SECOND" => (DatePart::Second, 0),
        "MINUTE" => (DatePart::Minute, 0),
        "HOUR" => (DatePart::Hour, 0),
        "DAY" => (DatePart::Day, 0),
        "DOW" | "ISODOW" => (DatePart::DayOfWeekMonday0, 1),
        "DOY" => (DatePart::DayOfYear, 0),
        "WEEK" => (DatePart::Week, 0),
        "MONTH" => (DatePart::Month, 0),
        "QUARTER" => (DatePart::Quarter, 0),
        "YEAR" | "ISOYEAR" => (DatePart::Year, 0),
        _ => return None,
    })
}

fn part(unit: &str) -> Option<fn(&DateTime<Tz>) -> i64> {
    Some(match unit {
        "EPOCH" => |time| time.timestamp_millis() / 1000,
        "MICROSECOND" => |time| i64::from(time.timestamp_subsec_micros()),
        "MILLISECOND" => |time| i64::from(time.timestamp_subsec_millis()),
        "SECOND" => |time| i64::from(time.second()),
        "MINUTE" => |time| i64::from(time.minute()),
        "HOUR" => |time| i64::from(time.hour()),
        "DAY" => |time| i64::from(time.day()),
        "DOW" | "ISODOW" => |time| i64::from(time.weekday().number_from_monday()),
        "DOY" => |time| i64::from(time.ordinal()),
        "WEEK" => |time| i64::from(time.iso_week().week()),
        "MONTH" => |time| i64::from(time.month()),
        "QUARTER" => |time| i64::from(time.month0() / 3 + 1),
        "YEAR" | "ISOYEAR" => |time| i64::from(time.year()),
        "DECADE" => |time| i64::from(time.year() / 10),
        "CENTURY" => {
            |time| i64::from(time.year()).div_euclid(100) + i64::from(time.year().rem_euclid(100) > 0)
        }
        "MILLENNIUM" => {
            |time| i64::from(time.year()).div_euclid(1000) + i64::from(time.year().rem_euclid(1000) > 0)
        }
        _ => return None,
    })
}
