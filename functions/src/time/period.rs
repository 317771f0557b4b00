//! ISO-8601 periods.

use chrono::{DateTime, Datelike, Months, NaiveDate, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::joda::in_zone;

/// A period as granularities use it: some months, or some milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    months: u32,
    millis: i64,
    /// Whole weeks begin on Monday, other periods of days at the epoch.
    is_weeks: bool,
}

/// A text that is not a usable period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an ISO-8601 period such as P1D, PT6H or P1M")]
pub struct PeriodError {
    text: String,
}

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday: the first Monday is three days earlier.
const MONDAY: i64 = -3 * DAY;

impl Period {
    /// Reads `PnYnMnWnDTnHnMnS` as a granularity.
    ///
    /// # Errors
    /// For any other text, an empty period, and one that mixes months with shorter units.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        match Self::parse_span(text)? {
            Period { months, millis, .. } if months > 0 && millis > 0 => Err(PeriodError {
                text: text.to_owned(),
            }),
            period => Ok(period),
        }
    }

    /// Reads `PnYnMnWnDTnHnMnS` as a distance, which may mix months with shorter units.
    ///
    /// # Errors
    /// For any other text and an empty period.
    pub fn parse_span(text: &str) -> Result<Self, PeriodError> {
        let refuse = || PeriodError {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix('P').ok_or_else(refuse)?;
        let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
        let mut period = Period {
            months: 0,
            millis: 0,
            is_weeks: false,
        };
        let mut weeks_only = true;
        for (part, units) in [
            (date, [('Y', 0), ('M', 0), ('W', WEEK), ('D', DAY)].as_slice()),
            (time, [('H', HOUR), ('M', MINUTE), ('S', SECOND)].as_slice()),
        ] {
            let mut digits = String::new();
            for character in part.chars() {
                if character.is_ascii_digit() {
                    digits.push(character);
                    continue;
                }
                let number: u32 = digits.parse().map_err(|_| refuse())?;
                digits.clear();
                let (_, millis) = units
                    .iter()
                    .find(|(unit, _)| *unit == character)
                    .ok_or_else(refuse)?;
                match character {
                    'Y' => period.months += 12 * number,
                    _ if *millis == 0 => period.months += number,
                    _ => period.millis += millis * i64::from(number),
                }
                weeks_only &= character == 'W';
            }
            if !digits.is_empty() {
                return Err(refuse());
            }
        }
        period.is_weeks = weeks_only && period.millis > 0;
        match (period.months, period.millis) {
            (0, 0) => Err(refuse()),
            _ => Ok(period),
        }
    }

    /// As [`Period::floor`], by the clocks of a zone.
    pub fn floor_in(&self, millis: i64, zone: Tz) -> i64 {
        if zone == Tz::UTC {
            return self.floor(millis);
        }
        let floored = self.floor(local_millis(millis, zone));
        from_local(floored, zone).unwrap_or(floored)
    }

    /// Start of the period that holds `millis` where one begins at `origin`.
    pub fn floor_from(&self, millis: i64, origin: i64, zone: Tz) -> i64 {
        if self.months == 0 {
            return origin + (millis - origin).div_euclid(self.millis) * self.millis;
        }
        let (time, start) = (local_millis(millis, zone), local_millis(origin, zone));
        let months = months_of(time).saturating_sub(months_of(start));
        let mut count = months.div_euclid(i64::from(self.months));
        while self.add(start, count) > time {
            count -= 1;
        }
        from_local(self.add(start, count), zone).unwrap_or(millis)
    }

    /// As [`Period::add`], by the clocks of a zone.
    pub fn add_in(&self, millis: i64, count: i64, zone: Tz) -> i64 {
        let by_clock = self.months > 0 || self.millis % DAY == 0;
        if zone == Tz::UTC || !by_clock {
            return self.add(millis, count);
        }
        let moved = self.add(local_millis(millis, zone), count);
        from_local(moved, zone).unwrap_or(moved)
    }

    /// Start, in ms, of the period that holds `millis`.
    pub fn floor(&self, millis: i64) -> i64 {
        if self.months == 0 {
            let origin = if self.is_weeks { MONDAY } else { 0 };
            return origin + (millis - origin).div_euclid(self.millis) * self.millis;
        }
        let Some(time) = DateTime::<Utc>::from_timestamp_millis(millis) else {
            return millis;
        };
        let months = i64::from(time.year()) * 12 + i64::from(time.month0());
        let length = i64::from(self.months);
        // Periods of months count from January of the year 1970.
        let origin = 1970 * 12;
        let floored = origin + (months - origin).div_euclid(length) * length;
        let date = i32::try_from(floored.div_euclid(12))
            .ok()
            .zip(u32::try_from(floored.rem_euclid(12)).ok());
        date.and_then(|(year, month0)| NaiveDate::from_ymd_opt(year, month0 + 1, 1))
            .and_then(|date| date.and_hms_opt(0, 0, 0))
            .map_or(millis, |start| start.and_utc().timestamp_millis())
    }

    /// Start, in ms, of the period after the one that begins at `start`.
    pub fn next(&self, start: i64) -> i64 {
        self.add(start, 1)
    }

    /// `millis` moved by `count` periods, back when it is negative.
    pub fn add(&self, millis: i64, count: i64) -> i64 {
        let Some(time) = DateTime::<Utc>::from_timestamp_millis(millis) else {
            return millis;
        };
        let months = u32::try_from(count.unsigned_abs())
            .unwrap_or(u32::MAX)
            .saturating_mul(self.months);
        let moved = if count >= 0 {
            time.checked_add_months(Months::new(months))
        } else {
            time.checked_sub_months(Months::new(months))
        };
        let length = TimeDelta::milliseconds(self.millis.saturating_mul(count));
        moved
            .and_then(|time| time.checked_add_signed(length))
            .map_or(millis, |time| time.timestamp_millis())
    }

    /// Its months; 0 for a period of a fixed length.
    pub(super) fn months(&self) -> i64 {
        self.months.into()
    }

    /// The period's fixed length in ms; `None` for months.
    pub fn fixed_millis(&self) -> Option<i64> {
        (self.months == 0).then_some(self.millis)
    }
}

/// What the clocks of a zone show, as if they stood in UTC.
pub(super) fn local_millis(millis: i64, zone: Tz) -> i64 {
    DateTime::<Utc>::from_timestamp_millis(millis).map_or(millis, |time| {
        let offset = zone.offset_from_utc_datetime(&time.naive_utc()).fix();
        millis + i64::from(offset.local_minus_utc()) * SECOND
    })
}

fn from_local(millis: i64, zone: Tz) -> Option<i64> {
    in_zone(DateTime::<Utc>::from_timestamp_millis(millis)?.naive_utc(), zone)
}

/// Months since the year 0.
pub(super) fn months_of(millis: i64) -> i64 {
    DateTime::<Utc>::from_timestamp_millis(millis)
        .map_or(0, |time| i64::from(time.year()) * 12 + i64::from(time.month0()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn millis(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn floors_to_the_start_of_its_period() {
        let time = millis("2015-09-12T13:47:11.123Z");
        for (period, floor) in [
            ("PT1S", "2015-09-12T13:47:11Z"),
            ("PT5M", "2015-09-12T13:45:00Z"),
            ("PT6H", "2015-09-12T12:00:00Z"),
            ("P1D", "2015-09-12T00:00:00Z"),
            ("P1W", "2015-09-07T00:00:00Z"),
            ("P1M", "2015-09-01T00:00:00Z"),
            ("P3M", "2015-07-01T00:00:00Z"),
            ("P1Y", "2015-01-01T00:00:00Z"),
        ] {
            assert_eq!(
                Period::parse(period).unwrap().floor(time),
                millis(floor),
                "{period}"
            );
        }
    }

    #[test]
    fn floors_before_the_epoch_too() {
        assert_eq!(Period::parse("P1D").unwrap().floor(-1), -DAY);
        assert_eq!(
            Period::parse("P1M").unwrap().floor(-1),
            millis("1969-12-01T00:00:00Z")
        );
    }

    #[test]
    fn zones_and_origins_move_the_borders() {
        let zone: Tz = "America/Los_Angeles".parse().unwrap();
        let day = Period::parse("P1D").unwrap();
        let time = millis("2015-09-12T01:00:00Z");
        assert_eq!(day.floor_in(time, zone), millis("2015-09-11T07:00:00Z"));
        let hour = Period::parse("PT1H").unwrap();
        let origin = millis("2016-06-27T00:30:00Z");
        assert_eq!(
            hour.floor_from(millis("2015-09-12T01:10:00Z"), origin, Tz::UTC),
            millis("2015-09-12T00:30:00Z")
        );
        let month = Period::parse("P1M").unwrap();
        assert_eq!(
            month.floor_from(
                millis("2015-09-12T01:10:00Z"),
                millis("2015-01-15T00:00:00Z"),
                Tz::UTC
            ),
            millis("2015-08-15T00:00:00Z")
        );
        // The clocks went forward on the 8th of March: the day had 23 hours.
        assert_eq!(
            day.add_in(millis("2015-03-08T08:00:00Z"), 1, zone),
            millis("2015-03-09T07:00:00Z")
        );
    }

    #[test]
    fn the_next_month_may_be_longer() {
        let month = Period::parse("P1M").unwrap();
        assert_eq!(
            month.next(millis("2024-02-01T00:00:00Z")),
            millis("2024-03-01T00:00:00Z")
        );
    }

    #[test]
    fn refuses_what_is_not_a_period() {
        for text in ["", "P", "1D", "PT", "P1", "PT1D", "P1M1D", "P1.5D", "day"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }
}
