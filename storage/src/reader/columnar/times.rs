//! Days and moments of files with typed columns.

use chrono::{DateTime, Datelike};

/// Midnight of a day as ISO 8601 text, as Druid shows ORC's dates; `days` count from 1970.
pub(super) fn days_text(days: i64) -> String {
    match days
        .checked_mul(86_400)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
    {
        // Years of more than four digits have a sign in chrono, and none in Druid.
        Some(day) if day.year() > 9_999 => {
            format!("{}-{:02}-{:02}T00:00:00.000Z", day.year(), day.month(), day.day())
        }
        Some(day) => day.format("%Y-%m-%dT00:00:00.000Z").to_string(),
        None => days.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_as_texts() {
        for (days, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T00:00:00.000Z"),
            (16_801, "2016-01-01T00:00:00.000Z"),
            (3_000_000, "10183-09-21T00:00:00.000Z"),
        ] {
            assert_eq!(days_text(days), text);
        }
    }
}
