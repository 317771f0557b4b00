//! Intervals of time as Druid writes them.

use std::fmt;
use std::str::FromStr;

/// `[start, end)` in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    pub start_ms: i64,
    pub end_ms: i64,
}

/// A text that is no interval or time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{0}] is not an ISO-8601 interval such as 2015-09-12T00:00:00.000Z/2015-09-13T00:00:00.000Z")]
pub struct IntervalError(String);

impl Interval {
    /// All of time, half of what an i64 of ms can hold.
    pub const ETERNITY: Interval = Interval {
        start_ms: i64::MIN / 2,
        end_ms: i64::MAX / 2,
    };

    /// As it stands in paths and segment ids: with `_` instead of `/`.
    pub fn path_name(&self) -> String {
        format!("{}_{}", format_millis(self.start_ms), format_millis(self.end_ms))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            format_millis(self.start_ms),
            format_millis(self.end_ms)
        )
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || IntervalError(text.to_owned());
        let (start, end) = text.split_once('/').ok_or_else(refuse)?;
        let (start_ms, end_ms) = (
            parse_millis(start).ok_or_else(refuse)?,
            parse_millis(end).ok_or_else(refuse)?,
        );
        Ok(Interval { start_ms, end_ms })
    }
}

const DAY_MS: i64 = 86_400_000;

/// ISO-8601 in UTC with ms, for any i64: chrono's years end long before Druid's eternity.
pub fn format_millis(millis: i64) -> String {
    let (year, month, day) = civil_from_days(millis.div_euclid(DAY_MS));
    let of_day = millis.rem_euclid(DAY_MS);
    let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (seconds, milliseconds) = (of_day / 1_000 % 60, of_day % 1_000);
    let sign = if year < 0 { "-" } else { "" };
    let year = year.unsigned_abs();
    format!("{sign}{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}Z")
}

/// The reverse of [`format_millis`]; the time of day may be left out.
pub fn parse_millis(text: &str) -> Option<i64> {
    let (date, time) = text
        .trim_end_matches('Z')
        .split_once('T')
        .unwrap_or((text, "00:00:00.000"));
    let (negative, date) = date.strip_prefix('-').map_or((false, date), |rest| (true, rest));
    let mut date = date.splitn(3, '-');
    let year: i64 = date.next()?.parse().ok()?;
    let month: i64 = date.next().unwrap_or("1").parse().ok()?;
    let day: i64 = date.next().unwrap_or("1").parse().ok()?;
    let mut time = time.splitn(3, ':');
    let hours: i64 = time.next()?.parse().ok()?;
    let minutes: i64 = time.next().unwrap_or("0").parse().ok()?;
    let (seconds, fraction) = time.next().unwrap_or("0").split_once('.').unwrap_or(("0", "0"));
    let seconds: i64 = seconds.parse().ok()?;
    let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let days = days_from_civil(if negative { -year } else { year }, month, day);
    Some(days * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1_000 + milliseconds)
}

/// Proleptic Gregorian date of a day since the epoch, by 400-year eras that begin in March.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn eternity_reads_as_in_druid() {
        let text = "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z";
        assert_eq!(Interval::ETERNITY.to_string(), text);
        assert_eq!(text.parse::<Interval>().unwrap(), Interval::ETERNITY);
    }

    #[test]
    fn times_survive_their_text() {
        for millis in [0, -1, 1_442_016_000_000, 951_782_400_123, -62_135_596_800_000] {
            assert_eq!(parse_millis(&format_millis(millis)), Some(millis));
        }
        assert_eq!(format_millis(1_442_016_000_000), "2015-09-12T00:00:00.000Z");
    }
}
