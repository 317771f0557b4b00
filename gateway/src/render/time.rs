//! Times as Druid writes them.

use chrono::{DateTime, SecondsFormat, Utc};

/// `2015-09-12T00:46:58.771Z`; the number itself beyond what a calendar can say.
pub fn iso(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).map_or_else(
        || ms.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}
