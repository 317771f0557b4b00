//! BLOOM_FILTER and BLOOM_FILTER_TEST.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Definition as Aggregate, Gives as Made, Settings, State};
use super::bloom_filter::BloomFilter;
use crate::cast::{to_text, to_type};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{self, Any};
use crate::operand::coerce;

pub(super) const AGGREGATES: [Aggregate; 1] = [Aggregate {
    name: "bloom_filter",
    aliases: &[],
    count: (2, 2),
    takes: |position, found| match position {
        0 => Some(coerce(Any, found).unwrap_or_else(|| found.clone())),
        _ => coerce(Operand::Number, found),
    },
    gives: Made::Complex("bloom"),
    empty: |settings: &Settings| match settings.number(1)? {
        Some(entries) => Ok(Box::new(Bloom(BloomFilter::for_entries(entries)?))),
        None => plan_err!("BLOOM_FILTER needs the number of entries"),
    },
}];

pub(super) const FUNCTIONS: [Definition; 1] = [Definition::new(
    "bloom_filter_test",
    &[Any, Any],
    Gives::Condition,
    test,
)];

struct Bloom(BloomFilter);

impl State for Bloom {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let Some(values) = arguments.first() else {
            return exec_err!("a value is missing");
        };
        if let Some(filters) = values.as_binary_opt::<i32>() {
            return filters.iter().flatten().try_for_each(|bytes| self.merge(bytes));
        }
        each(values, |_, value| {
            self.0.add(value);
            Ok(())
        })
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.merge(&BloomFilter::deserialize(bytes)?)
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.0.serialize())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }
}

/// The bytes of each value as Hive hashes them: numbers big-endian, floats by the bits of their own.
fn each(values: &ArrayRef, mut to: impl FnMut(usize, Option<&[u8]>) -> Result<()>) -> Result<()> {
    match values.data_type() {
        found if found.is_integer() || matches!(found, DataType::Timestamp(..) | DataType::Boolean) => {
            let longs = to_type(values, &DataType::Int64)?;
            for (row, value) in longs.as_primitive::<Int64Type>().iter().enumerate() {
                to(
                    row,
                    value.map(i64::to_be_bytes).as_ref().map(|bytes| bytes.as_slice()),
                )?;
            }
        }
        DataType::Float64 => {
            for (row, value) in values.as_primitive::<Float64Type>().iter().enumerate() {
                let bits = value.map(|value| if value.is_nan() { f64::NAN } else { value });
                to(
                    row,
                    bits.map(f64::to_be_bytes).as_ref().map(|bytes| bytes.as_slice()),
                )?;
            }
        }
        DataType::Float32 => {
            for (row, value) in values.as_primitive::<Float32Type>().iter().enumerate() {
                let bits = value.map(|value| if value.is_nan() { f32::NAN } else { value });
                to(
                    row,
                    bits.map(f32::to_le_bytes).as_ref().map(|bytes| bytes.as_slice()),
                )?;
            }
        }
        _ => {
            let texts = to_text(values)?;
            for (row, text) in texts.as_string_view().iter().enumerate() {
                to(row, text.map(str::as_bytes))?;
            }
        }
    }
    Ok(())
}

/// The filter of a value: bytes, or their base64.
fn filter(value: &ScalarValue) -> Result<Option<BloomFilter>> {
    let bytes = match value {
        value if value.is_null() => return Ok(None),
        ScalarValue::Binary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => bytes.clone(),
        value => match value.try_as_str().flatten().and_then(crate::base64::decode) {
            Some(bytes) => bytes,
            None => return exec_err!("Failed to deserialize bloom filter: [{value}] is no base64"),
        },
    };
    BloomFilter::deserialize(&bytes).map(Some)
}

/// Whether a filter may have seen a value.
fn test(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.array(0)?;
    let mut found = vec![None; values.len()];
    let mut set = |row: usize, answer| {
        if let Some(found) = found.get_mut(row) {
            *found = answer;
        }
    };
    if let Some(constant) = call.constant(1) {
        let filter = filter(constant)?;
        each(&values, |row, value| {
            set(row, filter.as_ref().map(|filter| filter.contains(value)));
            Ok(())
        })?;
    } else {
        let filters = call.array(1)?;
        each(&values, |row, value| {
            let filter = filter(&ScalarValue::try_from_array(&filters, row)?)?;
            set(row, filter.map(|filter| filter.contains(value)));
            Ok(())
        })?;
    }
    Ok(Arc::new(BooleanArray::from(found)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use arrow::array::{Float64Array, Int64Array, StringViewArray};
    use base64::Engine;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};
    use crate::sketches::read::tests::called;

    fn made(column: ArrayRef) -> ScalarValue {
        aggregated(&AGGREGATES[0], &[&[column]], &[ScalarValue::Int64(Some(100))])
    }

    #[test]
    fn a_filter_knows_the_values_of_its_column() {
        let texts = made(Arc::new(StringViewArray::from(vec![Some("a"), None, Some("b")])));
        let longs = made(Arc::new(Int64Array::from(vec![1, 2])));
        let doubles = made(Arc::new(Float64Array::from(vec![1.5, 2.5])));
        let table = [
            (ScalarValue::from("a"), &texts, true),
            (ScalarValue::from("c"), &texts, false),
            (ScalarValue::Utf8View(None), &texts, true),
            (ScalarValue::Int64(Some(2)), &longs, true),
            (ScalarValue::Int64(Some(3)), &longs, false),
            (ScalarValue::Int64(None), &longs, false),
            (ScalarValue::from(2.5), &doubles, true),
            (ScalarValue::from(3.5), &doubles, false),
        ];
        for (value, filter, expected) in table {
            let ScalarValue::Binary(Some(bytes)) = filter else {
                panic!("no filter")
            };
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            for filter in [filter.clone(), ScalarValue::from(text)] {
                let found = called(&FUNCTIONS, "bloom_filter_test", &[value.clone(), filter]).unwrap();
                assert_eq!(found, expected.into(), "{value}");
            }
        }
    }

    #[test]
    fn filters_of_filters_know_all_values() {
        let parts = [1, 2].map(|value| made(Arc::new(Int64Array::from(vec![value]))));
        let whole = made(ScalarValue::iter_to_array(parts).unwrap());
        let two = called(
            &FUNCTIONS,
            "bloom_filter_test",
            &[ScalarValue::Int64(Some(2)), whole],
        )
        .unwrap();
        assert_eq!(two, true.into());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let wrong = called(&FUNCTIONS, "bloom_filter_test", &["a".into(), "?".into()]).unwrap_err();
        assert!(wrong.to_string().contains("base64"));
        assert!(complaint(&AGGREGATES[0], &[ScalarValue::Int64(Some(0))]).contains("> 0"));
    }
}
