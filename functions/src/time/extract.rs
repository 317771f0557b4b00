//! TIME_EXTRACT: parts of a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
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
