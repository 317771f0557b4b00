//! ISO-8601 intervals, and TIME_IN_INTERVAL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err};

use super::{Period, parse_iso};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Text, Time};

pub(super) const FUNCTIONS: [Definition; 1] = [Definition::new(
    "time_in_interval",
    &[Time, Text],
    Gives::Condition,
    is_in,
)];

/// Start and end, in ms, of `start/end`, `start/period` or `period/end`.
pub fn parse_interval(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once('/')?;
    let time = |text: &str| parse_iso(text, Tz::UTC);
    if start.starts_with('P') {
        let end = time(end)?;
        return Some((Period::parse_span(start).ok()?.add(end, -1), end));
    }
    let start = time(start)?;
    if end.starts_with('P') {
        return Some((start, Period::parse_span(end).ok()?.add(start, 1)));
    }
    Some((start, time(end)?))
}

fn is_in(call: &Call<'_>) -> Result<ArrayRef> {
    let Some(text) = call.literal_text(1)? else {
        return Ok(Arc::new(BooleanArray::new_null(call.rows)));
    };
    let Some((start, end)) = parse_interval(text) else {
        return exec_err!(
            "Function 'TIME_IN_INTERVAL' second argument is not a valid ISO8601 interval: [{text}]"
        );
    };
    let inside: BooleanArray = call
        .times(0)?
        .iter()
        .map(|time| time.map(|time| (start..end).contains(&time)))
        .collect();
    Ok(Arc::new(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_end_may_be_a_period() {
        let day = Some((978_307_200_000, 978_393_600_000));
        assert_eq!(parse_interval("2001-01-01/P1D"), day);
        assert_eq!(parse_interval("2001-01-01/2001-01-02T00:00:00"), day);
        assert_eq!(parse_interval("P1D/2001-01-02"), day);
        assert_eq!(parse_interval("2001-01-01"), None);
    }
}
