//! TIME_PARSE and TIME_FORMAT.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray, TimestampMillisecondArray};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err};

use super::joda::Pattern;
use super::{parse_iso, times_of, zone};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{ProperText, Text, Time};

/// How TIME_FORMAT writes without a pattern.
const ISO: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSZZ";
const ISO_UTC: &str = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'";

pub(super) const FUNCTIONS: [Definition; 2] = [
    Definition::new("time_parse", &[ProperText], Gives::Time, parse).or(&[Text, Text]),
    Definition::new("time_format", &[Time], Gives::Text, format).or(&[Text, Text]),
];

fn pattern(call: &Call<'_>) -> Result<Option<Pattern>> {
    match call.literal_text(1)?.map(str::parse::<Pattern>) {
        None => Ok(None),
        Some(Ok(pattern)) => Ok(Some(pattern)),
        Some(Err(error)) => exec_err!("{}: {error}", call.name.to_uppercase()),
    }
}

/// `(text [, pattern [, zone]])`: NULL for a text that is no such time; ISO-8601 without a pattern.
fn parse(call: &Call<'_>) -> Result<ArrayRef> {
    let (pattern, zone) = (pattern(call)?, zone(call, 2)?);
    let times: TimestampMillisecondArray = call
        .texts(0)?
        .iter()
        .map(|text| match &pattern {
            Some(pattern) => pattern.parse(text?, zone),
            None => parse_iso(text?, zone),
        })
        .collect();
    Ok(times_of(times))
}

/// `(time [, pattern [, zone]])`.
fn format(call: &Call<'_>) -> Result<ArrayRef> {
    let (pattern, zone) = (pattern(call)?, zone(call, 2)?);
    let iso = if zone == Tz::UTC { ISO_UTC } else { ISO };
    let pattern = match pattern.map_or_else(|| iso.parse(), Ok) {
        Ok(pattern) => pattern,
        Err(error) => return exec_err!("TIME_FORMAT: {error}"),
    };
    let texts: StringViewArray = call
        .times(0)?
        .iter()
        .map(|time| pattern.format(time?, zone))
        .collect();
    Ok(Arc::new(texts))
}
