//! LOOKUP: texts for keys, from tables that are read when a query is planned.
//!
//! The planner puts a lookup's keys and values into the plan ([`resolved`]); so a query sees the lookup as it was then.
//! Source: Druid, querying/lookups.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{Expr, ScalarUDF, lit};

use crate::function::{Call, Definition, Gives, defined};
use crate::operand::Operand::{Any, Text};

/// Lookups by name, each a value for a key.
pub type Lookups = BTreeMap<String, BTreeMap<String, String>>;

/// What a call of LOOKUP becomes.
const FOUND: &str = "__lookup";

/// The function as users write it.
pub const LOOKUP: &str = "lookup";

pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    defined([
        Definition::new(LOOKUP, &[Text, Text], Gives::Text, |call| {
            exec_err!("Lookup [{}] not found", call.literal_text(1)?.unwrap_or("NULL"))
        })
        .or(&[Text]),
        Definition::new(FOUND, &[Text, Any, Any], Gives::Text, found).or(&[Text]),
    ])
}

/// A call of LOOKUP with what it looks up.
///
/// # Errors
/// When the name is no literal, or that of no lookup.
pub fn resolved(arguments: Vec<Expr>, lookups: &Lookups) -> Result<Expr> {
    let mut arguments = arguments.into_iter();
    let (Some(key), Some(name)) = (arguments.next(), arguments.next()) else {
        return plan_err!("Invalid number of arguments to function 'LOOKUP'. Was expecting 2 to 3 arguments");
    };
    let name = match &name {
        Expr::Literal(name, _) => name.try_as_str().flatten(),
        _ => None,
    };
    let Some(name) = name else {
        return plan_err!("Argument to function 'LOOKUP' must be a literal");
    };
    let Some(lookup) = lookups.get(name) else {
        return plan_err!("Lookup [{name}] not found");
    };
    let texts = |texts: Vec<&String>| {
        let texts = StringViewArray::from_iter_values(texts);
        lit(ScalarValue::List(Arc::new(
            datafusion::common::utils::SingleRowListArrayBuilder::new(Arc::new(texts)).build_list_array(),
        )))
    };
    let mut resolved = vec![
        key,
        texts(lookup.keys().collect()),
        texts(lookup.values().collect()),
    ];
    resolved.extend(arguments);
    match crate::call(FOUND, resolved) {
        Some(call) => Ok(call),
        None => plan_err!("LOOKUP is not registered"),
    }
}

/// The elements of a constant array of texts.
fn elements(call: &Call<'_>, position: usize) -> Result<StringViewArray> {
    let Some(ScalarValue::List(list)) = call.constant(position) else {
        return exec_err!("argument {} of LOOKUP is no constant array", position + 1);
    };
    let elements = arrow::compute::cast(list.values(), &arrow::datatypes::DataType::Utf8View)?;
    Ok(elements.as_string_view().clone())
}

/// The value of each key; without one what the last argument says, else NULL.
fn found(call: &Call<'_>) -> Result<ArrayRef> {
    // Keys are sorted: a map of text to text is.
    let (keys, values) = (elements(call, 1)?, elements(call, 2)?);
    let instead = call.literal_text(3)?;
    let value_of = |key: &str| {
        let (mut start, mut end) = (0, keys.len().min(values.len()));
        while start < end {
            let middle = start.midpoint(end);
            match keys.value(middle).cmp(key) {
                std::cmp::Ordering::Less => start = middle + 1,
                std::cmp::Ordering::Greater => end = middle,
                std::cmp::Ordering::Equal => return Some(values.value(middle)),
            }
        }
        None
    };
    let texts = call.texts(0)?;
    let found = texts.iter().map(|key| key.and_then(value_of).or(instead));
    Ok(Arc::new(found.collect::<StringViewArray>()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::logical_expr::{ColumnarValue, col};

    use super::*;

    fn lookups() -> Lookups {
        let airports = [("SJU", "San Juan"), ("IAD", "Dulles"), ("", "nowhere")];
        let airports = airports.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Lookups::from([
            ("airports".to_owned(), airports.into()),
            ("none".to_owned(), BTreeMap::new()),
        ])
    }

    fn looked_up(name: &str, keys: &[Option<&str>], instead: Option<&str>) -> Vec<Option<String>> {
        let mut arguments = vec![col("x"), lit(name)];
        arguments.extend(instead.map(lit));
        let Expr::ScalarFunction(call) = resolved(arguments, &lookups()).unwrap() else {
            return Vec::new();
        };
        let mut arguments = vec![ColumnarValue::Array(Arc::new(StringViewArray::from(
            keys.to_vec(),
        )))];
        arguments.extend(call.args.iter().skip(1).filter_map(|argument| match argument {
            Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
            _ => None,
        }));
        let call = Call {
            name: FOUND,
            arguments: &arguments,
            gives: &arrow::datatypes::DataType::Utf8View,
            rows: keys.len(),
        };
        let found = super::found(&call).unwrap();
        found
            .as_string_view()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect()
    }

    #[test]
    fn keys_have_values() {
        let keys = [Some("IAD"), Some("BOS"), None, Some("SJU"), Some("")];
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            looked_up("airports", &keys, None),
            [text("Dulles"), None, None, text("San Juan"), text("nowhere")]
        );
        assert_eq!(
            looked_up("airports", &keys, Some("?")),
            [
                text("Dulles"),
                text("?"),
                text("?"),
                text("San Juan"),
                text("nowhere")
            ]
        );
        assert_eq!(looked_up("none", &keys[..1], None), [None]);
    }

    #[test]
    fn a_lookup_must_be_known() {
        let wrong = resolved(vec![col("x"), lit("trains")], &lookups()).unwrap_err();
        assert!(wrong.to_string().contains("Lookup [trains] not found"));
        assert!(resolved(vec![col("x"), col("y")], &lookups()).is_err());
    }
}
