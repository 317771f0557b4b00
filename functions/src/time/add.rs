//! TIME_SHIFT, TIMESTAMPADD and TIMESTAMPDIFF.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use datafusion::common::{Result, exec_err};

use super::period::months_of;
use super::{Period, no_times, period, times_of, zone};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Long, Text, Time};

pub(super) const FUNCTIONS: [Definition; 3] = [
    Definition::new("time_shift", &[Time, Text, Long], Gives::Time, shift).or(&[Text]),
    Definition::new("timestampadd", &[Text, Long, Time], Gives::Time, add),
    Definition::new("timestampdiff", &[Text, Time, Time], Gives::Long, difference),
];

/// `(time, period, step [, zone])`: a time moved by so many periods.
fn shift(call: &Call<'_>) -> Result<ArrayRef> {
    let (Some(period), zone) = (period(call, 1)?, zone(call, 3)?) else {
        return Ok(no_times(call));
    };
    let (times, steps) = (call.times(0)?, call.longs(2)?);
    let pairs = times.iter().zip(&steps);
    let shifted: TimestampMillisecondArray = pairs
        .map(|(time, step)| Some(period.add_in(time?, step?, zone)))
        .collect();
    Ok(times_of(shifted))
}

/// The period of a unit of time arithmetic.
fn unit(call: &Call<'_>) -> Result<Period> {
    let name = call.literal_text(0)?.unwrap_or_default();
    let name = name.to_uppercase();
    let text = match name.trim_start_matches("SQL_TSI_") {
        "SECOND" => "PT1S",
        "MINUTE" => "PT1M",
        "HOUR" => "PT1H",
        "DAY" => "P1D",
        "WEEK" => "P1W",
        "MONTH" => "P1M",
        "QUARTER" => "P3M",
        "YEAR" => "P1Y",
        _ => return exec_err!("'{name}' is not a valid time frame"),
    };
    match Period::parse(text) {
        Ok(period) => Ok(period),
        Err(error) => exec_err!("{error}"),
    }
}

fn add(call: &Call<'_>) -> Result<ArrayRef> {
    let period = unit(call)?;
    let (counts, times) = (call.longs(1)?, call.times(2)?);
    let added: TimestampMillisecondArray = times
        .iter()
        .zip(&counts)
        .map(|(time, count)| Some(period.add(time?, count?)))
        .collect();
    Ok(times_of(added))
}

/// Whole units from the first time to the second.
fn difference(call: &Call<'_>) -> Result<ArrayRef> {
    let period = unit(call)?;
    let (from, to) = (call.times(1)?, call.times(2)?);
    let differences: Int64Array = from
        .iter()
        .zip(&to)
        .map(|(from, to)| {
            let (from, to) = (from?, to?);
            Some(match period.fixed_millis() {
                Some(length) => (to - from) / length,
                None => whole_months(from, to) / period.months(),
            })
        })
        .collect();
    Ok(Arc::new(differences))
}

/// Months that have passed in full between two times.
fn whole_months(from: i64, to: i64) -> i64 {
    let Ok(month) = Period::parse("P1M") else { return 0 };
    let mut months = months_of(to) - months_of(from);
    let reached = month.add(from, months);
    if to >= from && reached > to {
        months -= 1;
    } else if to < from && reached < to {
        months += 1;
    }
    months
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse_iso;
    use super::*;
    use chrono_tz::Tz;

    #[test]
    fn only_full_months_count() {
        let time = |text: &str| parse_iso(text, Tz::UTC).unwrap();
        for (from, to, months) in [
            ("2020-01-15", "2020-03-14", 1),
            ("2020-01-15", "2020-03-15", 2),
            ("2020-03-15", "2020-01-16", -1),
            ("2020-03-15", "2020-01-15", -2),
        ] {
            assert_eq!(whole_months(time(from), time(to)), months, "{from} {to}");
        }
    }
}
