//! Functions at the end of a JSONPath: `$.a.length()` (Druid: ingestion/data-formats.md#notes-on-flattening).

use serde_json::Value;

/// What becomes of a path's value, or of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Min,
    Max,
    Avg,
    Stddev,
    Sum,
    Length,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "min" => Function::Min,
            "max" => Function::Max,
            "avg" => Function::Avg,
            "stddev" => Function::Stddev,
            "sum" => Function::Sum,
            "length" => Function::Length,
            _ => return None,
        })
    }

    /// `None` where there is nothing to answer: no numbers, or no length.
    pub(super) fn apply(self, value: &Value) -> Option<Value> {
        if self == Function::Length {
            let length = match value {
                Value::Array(elements) => elements.len(),
                Value::Object(members) => members.len(),
                Value::String(text) => text.chars().count(),
                _ => return None,
            };
            return Some(length.into());
        }
        let numbers: Vec<f64> = value.as_array()?.iter().filter_map(Value::as_f64).collect();
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        let result = match self {
            _ if numbers.is_empty() => return None,
            Function::Min => numbers.iter().copied().reduce(f64::min)?,
            Function::Max => numbers.iter().copied().reduce(f64::max)?,
            Function::Avg => sum / count,
            Function::Sum => sum,
            Function::Stddev => {
                let squares: f64 = numbers.iter().map(|number| number * number).sum();
                (squares / count - (sum / count) * (sum / count)).max(0.0).sqrt()
            }
            Function::Length => return None,
        };
        Some(result.into())
    }
}
