//! Times as ISO-8601 and SQL write them.

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Weekday};
use chrono_tz::Tz;

use super::joda::in_zone;
use super::parse_zone;

/// Milliseconds of a text such as `2019-08-25T01:02:03.004Z`, `2019-08-25 01:02:03`, `2019-08` or `2019-W34-7`; without
/// an offset it is in `zone`.
pub fn parse_iso(text: &str, zone: Tz) -> Option<i64> {
    let (date, time) = match text.find(['T', ' ']) {
        Some(position) => (text.get(..position)?, text.get(position + 1..)?),
        None => (text, ""),
    };
    let date = parse_date(date)?;
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(position) => (time.get(..position)?, time.get(position..)?),
        None => match time.split_once(' ') {
            Some((clock, offset)) => (clock, offset),
            None => (time, ""),
        },
    };
    if time.is_empty() && text.ends_with(['T', ' ']) {
        return None;
    }
    let local = NaiveDateTime::new(date, parse_clock(clock.trim_end())?);
    match offset.trim() {
        "" => in_zone(local, zone),
        "Z" => in_zone(local, Tz::UTC),
        offset => match parse_offset(offset) {
            Some(offset) => Some(offset.from_local_datetime(&local).single()?.timestamp_millis()),
            None => in_zone(local, parse_zone(offset)?),
        },
    }
}

fn digits<T: std::str::FromStr>(text: &str, width: std::ops::RangeInclusive<usize>) -> Option<T> {
    let fits = width.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `yyyy`, `yyyy-MM`, `yyyy-MM-dd`, `yyyy-DDD`, `yyyy-Www` or `yyyy-Www-e`.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split('-');
    let year: i32 = digits(parts.next()?, 1..=9)?;
    let year = if negative { -year } else { year };
    let (second, third, end) = (parts.next(), parts.next(), parts.next());
    if end.is_some() {
        return None;
    }
    match (second, third) {
        (None, _) => NaiveDate::from_ymd_opt(year, 1, 1),
        (Some(week), day) if week.starts_with('W') => {
            let day = match day {
                Some(day) => digits::<u8>(day, 1..=1)?.checked_sub(1)?,
                None => 0,
            };
            NaiveDate::from_isoywd_opt(year, digits(week.get(1..)?, 1..=2)?, Weekday::try_from(day).ok()?)
        }
        (Some(day), None) if day.len() == 3 => NaiveDate::from_yo_opt(year, digits(day, 3..=3)?),
        (Some(month), day) => {
            let day = match day {
                Some(day) => digits(day, 1..=2)?,
                None => 1,
            };
            NaiveDate::from_ymd_opt(year, digits(month, 1..=2)?, day)
        }
    }
}

/// `HH`, `HH:mm`, `HH:mm:ss`, with a fraction after a point or a comma; empty for midnight.
fn parse_clock(text: &str) -> Option<NaiveTime> {
    if text.is_empty() {
        return Some(NaiveTime::MIN);
    }
    let (clock, fraction) = match text.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let parts: Vec<u32> = clock
        .split(':')
        .map(|part| digits(part, 1..=2))
        .collect::<Option<_>>()?;
    let nanos: u32 = match fraction {
        Some(fraction) if parts.len() == 3 => {
            digits::<u64>(fraction, 1..=9)?;
            format!("{fraction:0<9}").parse().ok()?
        }
        Some(_) => return None,
        None => 0,
    };
    match parts.as_slice() {
        [hour] => NaiveTime::from_hms_nano_opt(*hour, 0, 0, nanos),
        [hour, minute] => NaiveTime::from_hms_nano_opt(*hour, *minute, 0, nanos),
        [hour, minute, second] => NaiveTime::from_hms_nano_opt(*hour, *minute, *second, nanos),
        _ => None,
    }
}

/// `+HH`, `+HHmm` or `+HH:mm`.
fn parse_offset(text: &str) -> Option<FixedOffset> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None => rest.split_at_checked(2)?,
    };
    let hours: i32 = digits(hours, 1..=2)?;
    let minutes: i32 = if minutes.is_empty() {
        0
    } else {
        digits(minutes, 2..=2)?
    };
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_iso_and_sql_write() {
        for (text, millis) in [
            ("2019-08-25T00:00:00.031Z", 1_566_691_200_031),
            ("2019-08-25 00:00:00.031", 1_566_691_200_031),
            ("2019-08-25", 1_566_691_200_000),
            ("2019-08-25T01:00+01:00", 1_566_691_200_000),
            ("2019-08-24T16:00:00-0800", 1_566_691_200_000),
            ("2019-W34-7", 1_566_691_200_000),
            ("2019-237", 1_566_691_200_000),
            ("1970", 0),
            ("1970-01-01T00", 0),
        ] {
            assert_eq!(parse_iso(text, Tz::UTC), Some(millis), "{text}");
        }
        for text in [
            "",
            "x",
            "2019-13-01",
            "2019-08-25T",
            "2019-08-25T25:00",
            "20190825x",
        ] {
            assert_eq!(parse_iso(text, Tz::UTC), None, "{text}");
        }
    }
}
