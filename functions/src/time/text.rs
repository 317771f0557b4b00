//! TIME_PARSE and TIME_FORMAT.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::joda::{Pattern, in_zone};
use super::timestamp_type;

/// How TIME_FORMAT writes without a pattern.
const ISO: &str = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'";

/// `TIME_PARSE(text [, pattern [, zone]])`: NULL for a text that is no such time; ISO-8601 without a pattern.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeParse {
    signature: Signature,
}

/// `TIME_FORMAT(time [, pattern [, zone]])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeFormat {
    signature: Signature,
}

impl TimeParse {
    pub(super) fn new() -> Self {
        TimeParse {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl TimeFormat {
    pub(super) fn new() -> Self {
        TimeFormat {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// The literal text of an optional argument.
fn literal<'a>(function: &str, arguments: &'a [ColumnarValue], position: usize) -> Result<Option<&'a str>> {
    match arguments.get(position) {
        None => Ok(None),
        Some(ColumnarValue::Scalar(scalar)) if scalar.is_null() => Ok(None),
        Some(ColumnarValue::Scalar(scalar)) => match scalar.try_as_str() {
            Some(text) => Ok(text),
            None => exec_err!("argument {} of {function} must be a text", position + 1),
        },
        Some(ColumnarValue::Array(_)) => {
            exec_err!("argument {} of {function} must be a literal", position + 1)
        }
    }
}

fn pattern_and_zone(function: &str, arguments: &[ColumnarValue]) -> Result<(Option<Pattern>, Tz)> {
    let pattern = match literal(function, arguments, 1)?.map(str::parse::<Pattern>) {
        None => None,
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(error)) => return exec_err!("{function}: {error}"),
    };
    let zone = match literal(function, arguments, 2)? {
        None => Tz::UTC,
        Some(name) => match name.parse() {
            Ok(zone) => zone,
            Err(_) => return exec_err!("{function}: time zone [{name}] is unknown"),
        },
    };
    Ok((pattern, zone))
}

/// One row for literals, so that the optimiser can fold them.
fn folded(arguments: &ScalarFunctionArgs, make: impl FnOnce(ArrayRef) -> ArrayRef) -> Result<ColumnarValue> {
    let Some(first) = arguments.args.first() else {
        return exec_err!("an argument is missing");
    };
    let is_scalar = matches!(first, ColumnarValue::Scalar(_));
    let made = make(first.to_array(if is_scalar { 1 } else { arguments.number_rows })?);
    if is_scalar {
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?))
    } else {
        Ok(ColumnarValue::Array(made))
    }
}

impl ScalarUDFImpl for TimeParse {
    fn name(&self) -> &str {
        "time_parse"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.len() {
            1..=3 => Ok(vec![DataType::Utf8View; arguments.len()]),
            others => {
                plan_err!("TIME_PARSE takes a text, a pattern and a time zone, found {others} arguments")
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (pattern, zone) = pattern_and_zone("TIME_PARSE", &arguments.args)?;
        folded(&arguments, |texts| {
            let parse = |text: &str| match &pattern {
                Some(pattern) => pattern.parse(text, zone),
                None => parse_iso(text, zone),
            };
            let times = texts.as_string_view().iter().map(|text| text.and_then(parse));
            Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
        })
    }
}

/// Milliseconds of an ISO-8601 text; without a zone it is in `zone`.
fn parse_iso(text: &str, zone: Tz) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return in_zone(time, zone);
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    in_zone(date.and_hms_opt(0, 0, 0)?, zone)
}

impl ScalarUDFImpl for TimeFormat {
    fn name(&self) -> &str {
        "time_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.len() {
            1..=3 => Ok([timestamp_type(), DataType::Utf8View, DataType::Utf8View]
                .into_iter()
                .take(arguments.len())
                .collect()),
            others => {
                plan_err!("TIME_FORMAT takes a time, a pattern and a time zone, found {others} arguments")
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (pattern, zone) = pattern_and_zone("TIME_FORMAT", &arguments.args)?;
        let pattern = match pattern.map_or_else(|| ISO.parse(), Ok) {
            Ok(pattern) => pattern,
            Err(error) => return exec_err!("TIME_FORMAT: {error}"),
        };
        folded(&arguments, |times| {
            let times = times.as_primitive::<TimestampMillisecondType>().iter();
            Arc::new(
                times
                    .map(|time| pattern.format(time?, zone))
                    .collect::<StringViewArray>(),
            )
        })
    }
}
