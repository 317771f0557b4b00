//! Intervals as clients write them: `start/end`, `start/period` or `period/end` in ISO 8601, in paths with `_` for `/`.

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use sarsen_planner::intervals::ETERNITY;
use sarsen_proto::v1;

use crate::error::ApiError;

/// Reads one.
///
/// # Errors
/// A 400 that says what is wrong with it.
pub fn parse(text: &str) -> Result<v1::Interval, ApiError> {
    let bad = |reason: &str| ApiError::Invalid {
        message: format!("Bad Interval[{text}]: [{reason}]"),
    };
    if text.eq_ignore_ascii_case("eternity") {
        return Ok(v1::Interval {
            start_ms: ETERNITY.0,
            end_ms: ETERNITY.1,
        });
    }
    let separated = text.replace('_', "/");
    let (start, end) = separated
        .split_once('/')
        .ok_or_else(|| bad("Format requires a '/' separator"))?;
    let invalid = |part: &str| bad(&format!("Invalid format: \"{part}\""));
    let (start_ms, end_ms) = match (Period::parse(start), Period::parse(end)) {
        (None, None) => (
            instant(start).ok_or_else(|| invalid(start))?,
            instant(end).ok_or_else(|| invalid(end))?,
        ),
        (None, Some(period)) => {
            let start = instant(start).ok_or_else(|| invalid(start))?;
            (start, period.after(start).ok_or_else(|| invalid(end))?)
        }
        (Some(period), None) => {
            let end = instant(end).ok_or_else(|| invalid(end))?;
            (period.before(end).ok_or_else(|| invalid(&separated))?, end)
        }
        (Some(_), Some(_)) => return Err(bad("Interval composed of two durations")),
    };
    if end_ms < start_ms {
        return Err(bad("The end instant must be greater than the start instant"));
    }
    Ok(v1::Interval { start_ms, end_ms })
}

/// Whether one lies wholly in another.
pub fn contains(outer: &v1::Interval, inner: &v1::Interval) -> bool {
    outer.start_ms <= inner.start_ms && inner.end_ms <= outer.end_ms
}

pub fn overlaps(a: &v1::Interval, b: &v1::Interval) -> bool {
    a.start_ms < b.end_ms && b.start_ms < a.end_ms
}

/// `start/end` as Druid writes it.
pub fn text(interval: &v1::Interval) -> String {
    crate::render::stages::interval(interval.start_ms, interval.end_ms)
}

/// A date with as many of its parts as are given, in UTC unless it says otherwise.
fn instant(text: &str) -> Option<i64> {
    let eternity = crate::render::stages::interval(ETERNITY.0, ETERNITY.1);
    let (first, last) = eternity.split_once('/')?;
    if text == first {
        return Some(ETERNITY.0);
    }
    if text == last {
        return Some(ETERNITY.1);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = date.split('-');
    let number = |part: Option<&str>, default: u32| match part {
        None => Some(default),
        Some(part) => part.parse().ok(),
    };
    let year: i32 = parts.next()?.parse().ok()?;
    let (month, day) = (number(parts.next(), 1)?, number(parts.next(), 1)?);
    if parts.next().is_some() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    let time = time.strip_suffix('Z').unwrap_or(time);
    let mut parts = time.split(':').filter(|part| !part.is_empty());
    let (hour, minute) = (number(parts.next(), 0)?, number(parts.next(), 0)?);
    let seconds: f64 = match parts.next() {
        None => 0.0,
        Some(part) => part.parse().ok()?,
    };
    if parts.next().is_some() || !(0.0..60.0).contains(&seconds) {
        return None;
    }
    let time: NaiveDateTime = date.and_hms_opt(hour, minute, 0)?;
    #[allow(clippy::cast_possible_truncation)]
    let milliseconds = (seconds * 1000.0) as i64;
    Some(time.and_utc().timestamp_millis() + milliseconds)
}

/// An ISO 8601 period: months, and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    months: u32,
    milliseconds: i64,
}

impl Period {
    /// `P1Y2M3W4DT5H6M7S`
    pub fn parse(text: &str) -> Option<Period> {
        let text = text.strip_prefix('P')?;
        let (date, time) = text.split_once('T').unwrap_or((text, ""));
        if date.is_empty() && time.is_empty() {
            return None;
        }
        let mut period = Period {
            months: 0,
            milliseconds: 0,
        };
        for (part, is_time) in [(date, false), (time, true)] {
            let mut number = String::new();
            for letter in part.chars() {
                if letter.is_ascii_digit() {
                    number.push(letter);
                    continue;
                }
                let count: u32 = std::mem::take(&mut number).parse().ok()?;
                let (months, milliseconds) = match (letter, is_time) {
                    ('Y', false) => (12, 0),
                    ('M', false) => (1, 0),
                    ('W', false) => (0, 7 * 86_400_000),
                    ('D', false) => (0, 86_400_000),
                    ('H', true) => (0, 3_600_000),
                    ('M', true) => (0, 60_000),
                    ('S', true) => (0, 1000),
                    _ => return None,
                };
                period.months = period.months.checked_add(count.checked_mul(months)?)?;
                period.milliseconds += i64::from(count) * milliseconds;
            }
            if !number.is_empty() {
                return None;
            }
        }
        Some(period)
    }

    /// The instant that lies so long after another.
    pub fn after(self, ms: i64) -> Option<i64> {
        let time =
            DateTime::<Utc>::from_timestamp_millis(ms)?.checked_add_months(Months::new(self.months))?;
        let time = time.checked_add_signed(TimeDelta::try_milliseconds(self.milliseconds)?)?;
        Some(time.timestamp_millis())
    }

    /// The instant that lies so long before another.
    pub fn before(self, ms: i64) -> Option<i64> {
        let time =
            DateTime::<Utc>::from_timestamp_millis(ms)?.checked_sub_months(Months::new(self.months))?;
        let time = time.checked_sub_signed(TimeDelta::try_milliseconds(self.milliseconds)?)?;
        Some(time.timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn intervals_are_read_in_all_their_forms() {
        for (given, meant) in [
            (
                "2015-09-12/2015-09-13",
                "2015-09-12T00:00:00.000Z/2015-09-13T00:00:00.000Z",
            ),
            (
                "2015-09-12_2015-09-13",
                "2015-09-12T00:00:00.000Z/2015-09-13T00:00:00.000Z",
            ),
            ("2015/2016", "2015-01-01T00:00:00.000Z/2016-01-01T00:00:00.000Z"),
            ("2015-09/P1M", "2015-09-01T00:00:00.000Z/2015-10-01T00:00:00.000Z"),
            (
                "P1DT1H/2015-09-12T01:00",
                "2015-09-11T00:00:00.000Z/2015-09-12T01:00:00.000Z",
            ),
            (
                "2015-09-12T01:00:00.500+01:00/2015-09-12T01:00:01.25Z",
                "2015-09-12T00:00:00.500Z/2015-09-12T01:00:01.250Z",
            ),
            (
                "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z",
                "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z",
            ),
        ] {
            assert_eq!(text(&parse(given).unwrap()), meant, "{given}");
        }
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for given in [
            "",
            "2015",
            "nope/2015",
            "2015/nope",
            "P1D/P1D",
            "2016/2015",
            "2015-13/2016",
            "2015/P1X",
            "2015/P",
            "2015/PT",
            "2015-01-01T25/2016",
        ] {
            assert!(matches!(parse(given), Err(ApiError::Invalid { .. })), "{given}");
        }
    }
}
