//! Joda-Time patterns, as Druid's TIME_PARSE and TIME_FORMAT take them.

use std::fmt::Write;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::Tz;

/// A pattern, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter and how often it stands there.
    Field(char, usize),
}

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{0}] is not a time pattern: letter [{1}] is unknown")]
pub struct PatternError(String, char);

/// Letters with a meaning.
const LETTERS: &str = "yYuMdDHhKkmsSaZzEewx";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter == '\'' {
                let quoted: String = letters.by_ref().take_while(|letter| *letter != '\'').collect();
                parts.push(Part::Text(if quoted.is_empty() {
                    "'".to_owned()
                } else {
                    quoted
                }));
            } else if letter.is_ascii_alphabetic() {
                if !LETTERS.contains(letter) {
                    return Err(PatternError(text.to_owned(), letter));
                }
                let mut count = 1;
                while letters.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                parts.push(Part::Field(letter, count));
            } else {
                parts.push(Part::Text(letter.to_string()));
            }
        }
        Ok(Pattern { parts })
    }
}

impl Pattern {
    /// `yyyy-MM-dd HH:mm:ss`, as CAST writes times.
    pub fn sql() -> Self {
        let field = |letter, count| Part::Field(letter, count);
        let text = |text: &str| Part::Text(text.to_owned());
        Pattern {
            parts: vec![
                field('y', 4),
                text("-"),
                field('M', 2),
                text("-"),
                field('d', 2),
                text(" "),
                field('H', 2),
                text(":"),
                field('m', 2),
                text(":"),
                field('s', 2),
            ],
        }
    }

    /// A time as text; `None` beyond what a calendar can say.
    pub fn format(&self, millis: i64, zone: Tz) -> Option<String> {
        let time = DateTime::<Utc>::from_timestamp_millis(millis)?.with_timezone(&zone);
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Field(letter, count) => format_field(&mut text, *letter, *count, &time).ok()?,
            }
        }
        Some(text)
    }

    /// Milliseconds of a text that is all of this pattern; `None` for any other.
    pub fn parse(&self, text: &str, zone: Tz) -> Option<i64> {
        let mut fields = Fields::default();
        let mut rest = text;
        for (position, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(fixed) => rest = rest.strip_prefix(fixed.as_str())?,
                Part::Field(letter, count) => {
                    // Digits that follow each other without a border have the width of their letters.
                    let is_tight = matches!(self.parts.get(position + 1), Some(Part::Field(next, _)) if !"aZzE".contains(*next));
                    rest = fields.read(*letter, *count, rest, is_tight)?;
                }
            }
        }
        if rest.is_empty() {
            fields.millis(zone)
        } else {
            None
        }
    }
}

fn format_field(text: &mut String, letter: char, count: usize, time: &DateTime<Tz>) -> std::fmt::Result {
    let month = MONTHS.get(time.month0() as usize).copied().unwrap_or_default();
    let day = DAYS
        .get(time.weekday().num_days_from_monday() as usize)
        .copied()
        .unwrap_or_default();
    let short = |name: &str| name.chars().take(3).collect::<String>();
    match letter {
        'y' | 'Y' | 'u' if count == 2 => write!(text, "{:02}", time.year().rem_euclid(100)),
        'y' | 'Y' | 'u' => write!(text, "{:0count$}", time.year()),
        'x' => write!(text, "{:0count$}", time.iso_week().year()),
        'w' => write!(text, "{:0count$}", time.iso_week().week()),
        'e' => write!(text, "{:0count$}", time.weekday().number_from_monday()),
        'M' if count >= 4 => write!(text, "{month}"),
        'M' if count == 3 => write!(text, "{}", short(month)),
        'M' => write!(text, "{:0count$}", time.month()),
        'd' => write!(text, "{:0count$}", time.day()),
        'D' => write!(text, "{:0count$}", time.ordinal()),
        'E' if count >= 4 => write!(text, "{day}"),
        'E' => write!(text, "{}", short(day)),
        'H' => write!(text, "{:0count$}", time.hour()),
        'k' => write!(
            text,
            "{:0count$}",
            if time.hour() == 0 { 24 } else { time.hour() }
        ),
        'h' => write!(text, "{:0count$}", time.hour12().1),
        'K' => write!(text, "{:0count$}", time.hour() % 12),
        'm' => write!(text, "{:0count$}", time.minute()),
        's' => write!(text, "{:0count$}", time.second()),
        'S' => {
            let digits = format!("{:09}", time.nanosecond() % 1_000_000_000);
            write!(text, "{:0<count$}", digits.get(..count.min(9)).unwrap_or(&digits))
        }
        'a' => write!(text, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        'z' => write!(text, "{}", time.format("%Z")),
        'Z' if count >= 3 => write!(text, "{}", time.timezone().name()),
        'Z' if count == 2 => write!(text, "{}", time.format("%:z")),
        _ => write!(text, "{}", time.format("%z")),
    }
}

/// What a text told of a time.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    week_year: Option<i32>,
    week: Option<u32>,
    weekday: Option<u32>,
    hour: Option<u32>,
    hour12: Option<u32>,
    minute: u32,
    second: u32,
    nanosecond: u32,
    afternoon: bool,
    offset: Option<FixedOffset>,
    zone: Option<Tz>,
}

impl Fields {
    fn read<'t>(&mut self, letter: char, count: usize, text: &'t str, is_tight: bool) -> Option<&'t str> {
        match letter {
            'M' if count >= 3 => {
                let (position, rest) = name(text, &MONTHS)?;
                self.month = Some(position + 1);
                return Some(rest);
            }
            'E' => {
                let (_, rest) = name(text, &DAYS)?;
                return Some(rest);
            }
            'a' => {
                let rest = text.get(2..)?;
                self.afternoon = match text.get(..2)?.to_ascii_uppercase().as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                };
                self.hour12 = self.hour12.or(Some(0));
                return Some(rest);
            }
            'Z' | 'z' => return self.read_zone(text),
            _ => {}
        }
        let is_year = "yYux".contains(letter);
        let sign = usize::from(is_year && text.starts_with('-'));
        let most = if is_tight { count } else { 9 };
        let digits = text
            .get(sign..)?
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if digits == 0 {
            return None;
        }
        let (number, rest) = text.split_at(sign + digits);
        if letter == 'S' {
            self.nanosecond = format!("{number:0<9}").get(..9)?.parse().ok()?;
            return Some(rest);
        }
        if is_year {
            let mut year: i32 = number.parse().ok()?;
            if count == 2 && digits == 2 {
                // Joda's pivot: fifty years around now, which is fixed here so that a query means the same for ever.
                year += if year < 70 { 2000 } else { 1900 };
            }
            *(if letter == 'x' {
                &mut self.week_year
            } else {
                &mut self.year
            }) = Some(year);
            return Some(rest);
        }
        let value: u32 = number.parse().ok()?;
        match letter {
            'M' => self.month = Some(value),
            'd' => self.day = Some(value),
            'D' => self.day_of_year = Some(value),
            'w' => self.week = Some(value),
            'e' => self.weekday = Some(value),
            'H' => self.hour = Some(value),
            'k' => self.hour = Some(value % 24),
            'h' | 'K' => self.hour12 = Some(value % 12),
            'm' => self.minute = value,
            's' => self.second = value,
            _ => return None,
        }
        Some(rest)
    }

    fn read_zone<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix('Z') {
            self.zone = Some(Tz::UTC);
            return Some(rest);
        }
        if text.starts_with(['+', '-']) {
            let length = text
                .bytes()
                .skip(1)
                .take_while(|byte| byte.is_ascii_digit() || *byte == b':')
                .count()
                + 1;
            let (offset, rest) = text.split_at(length);
            let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
            let hours: i32 = digits.get(..2)?.parse().ok()?;
            let minutes: i32 = digits.get(2..4).unwrap_or("0").parse().ok()?;
            let seconds = hours * 3600 + minutes * 60;
            self.offset = FixedOffset::east_opt(if offset.starts_with('-') {
                -seconds
            } else {
                seconds
            });
            self.offset?;
            return Some(rest);
        }
        let length = text
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || b"/_".contains(byte))
            .count();
        let (zone, rest) = text.split_at(length);
        self.zone = Some(zone.parse().ok()?);
        Some(rest)
    }

    fn date(&self) -> Option<NaiveDate> {
        let year = self.year.unwrap_or(if self.week.is_some() { 1970 } else { 2000 });
        if let Some(day) = self.day_of_year {
            return NaiveDate::from_yo_opt(year, day);
        }
        if let Some(week) = self.week {
            let weekday =
                Weekday::try_from(u8::try_from(self.weekday.unwrap_or(1).checked_sub(1)?).ok()?).ok()?;
            return NaiveDate::from_isoywd_opt(self.week_year.unwrap_or(year), week, weekday);
        }
        NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))
    }

    fn millis(&self, default_zone: Tz) -> Option<i64> {
        let hour = match (self.hour, self.hour12) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour + if self.afternoon { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanosecond)?;
        let local = NaiveDateTime::new(self.date()?, time);
        match self.offset {
            Some(offset) => Some(offset.from_local_datetime(&local).single()?.timestamp_millis()),
            None => in_zone(local, self.zone.unwrap_or(default_zone)),
        }
    }
}

/// A local time in a zone: the earlier one where clocks are set back, and where they are set forward the same distance
/// behind the gap.
pub fn in_zone(local: NaiveDateTime, zone: Tz) -> Option<i64> {
    match zone.from_local_datetime(&local).earliest() {
        Some(time) => Some(time.timestamp_millis()),
        None => {
            let before = zone.offset_from_utc_datetime(&local).fix();
            Some(
                (local - chrono::TimeDelta::seconds(before.local_minus_utc().into()))
                    .and_utc()
                    .timestamp_millis(),
            )
        }
    }
}

/// Position of the name that a text begins with, long or short.
fn name<'t>(text: &'t str, names: &[&str]) -> Option<(u32, &'t str)> {
    let begins = |name: &str| {
        text.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    for (position, name) in (0_u32..).zip(names) {
        for candidate in [*name, name.get(..3)?] {
            if begins(candidate) {
                return Some((position, text.get(candidate.len()..)?));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_formatted_is_parsed_back() {
        // 2015-09-12T00:46:58.771Z, and one before the epoch.
        for millis in [1_442_018_818_771, -62_135_596_800_000 + 3_723_004] {
            for text in [
                "yyyy-MM-dd'T'HH:mm:ss.SSSZZ",
                "yyyyMMddHHmmssSSS",
                "MMM d, yyyy h:mm:ss.SSS a",
                "yyyy/D HH:mm:ss.SSS",
            ] {
                let shown = pattern(text).format(millis, Tz::UTC).unwrap();
                assert_eq!(
                    pattern(text).parse(&shown, Tz::UTC),
                    Some(millis),
                    "{text}: {shown}"
                );
            }
        }
    }

    #[test]
    fn zones_count() {
        let zone: Tz = "America/Los_Angeles".parse().unwrap();
        assert_eq!(
            pattern("yyyy-MM-dd HH:mm")
                .format(1_442_018_818_771, zone)
                .unwrap(),
            "2015-09-11 17:46"
        );
        assert_eq!(
            pattern("yyyy-MM-dd HH:mm").parse("2015-09-11 17:46", zone),
            Some(1_442_018_760_000)
        );
        assert_eq!(
            pattern("yyyy-MM-dd HH:mm Z").parse("2015-09-12 02:46 +0200", zone),
            Some(1_442_018_760_000)
        );
    }

    #[test]
    fn what_does_not_match_is_no_time() {
        for text in ["2015-13-01", "2015-09", "2015-09-01x", ""] {
            assert_eq!(pattern("yyyy-MM-dd").parse(text, Tz::UTC), None, "{text}");
        }
        assert!("yyyy-bb".parse::<Pattern>().is_err());
    }
}
