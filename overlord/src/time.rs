//! Instants and intervals as Druid writes them: ISO 8601 in UTC with milliseconds, any year.

use sarsen_proto::v1;

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// `[start, end)` in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Interval {
    /// Druid's `ETERNITY`.
    pub const ETERNITY: Interval = Interval {
        start_ms: i64::MIN / 2,
        end_ms: i64::MAX / 2,
    };

    pub fn overlaps(&self, other: &Interval) -> bool {
        self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }

    pub fn contains(&self, other: &Interval) -> bool {
        self.start_ms <= other.start_ms && other.end_ms <= self.end_ms
    }
}

impl From<&v1::Interval> for Interval {
    fn from(interval: &v1::Interval) -> Self {
        Interval {
            start_ms: interval.start_ms,
            end_ms: interval.end_ms,
        }
    }
}

impl From<Interval> for v1::Interval {
    fn from(interval: Interval) -> Self {
        v1::Interval {
            start_ms: interval.start_ms,
            end_ms: interval.end_ms,
        }
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", format_ms(self.start_ms), format_ms(self.end_ms))
    }
}

/// `2026-01-01T00:00:00.000Z`. Written by hand because Druid's eternity lies far outside of chrono's years.
pub fn format_ms(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let rest = ms.rem_euclid(DAY_MS);
    let (hour, minute, second, milli) = (
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000,
    );
    let sign = if year < 0 { "-" } else { "" };
    let year = year.abs();
    format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads what [`format_ms`] writes.
pub fn parse_ms(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (sign * date.next()??, date.next()??, date.next()??);
    let (clock, milli) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let seconds = (hour * 60 + minute) * 60 + second;
    days(year, month, day)
        .checked_mul(DAY_MS)?
        .checked_add(seconds * 1000 + milli.parse::<i64>().ok()?)
}

/// Proleptic Gregorian date of a day number (Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
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

/// Day number of a date: the inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eternity_is_written_as_druid_writes_it() {
        let text = "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z";
        assert_eq!(Interval::ETERNITY.to_string(), text);
    }

    #[test]
    fn instants_survive_being_written_and_read() {
        for ms in [
            0,
            -1,
            1_442_016_000_000,
            i64::MIN / 2,
            i64::MAX / 2,
            -62_167_219_200_001,
            951_782_400_123,
        ] {
            assert_eq!(parse_ms(&format_ms(ms)), Some(ms), "{}", format_ms(ms));
        }
        assert_eq!(format_ms(1_442_016_000_000), "2015-09-12T00:00:00.000Z");
        assert_eq!(parse_ms("2015-09-12"), None);
    }
}
