//! DS_QUANTILES_SKETCH, APPROX_QUANTILE_DS, and what quantiles sketches tell.
//!
//! Source: Druid, development/extensions-core/datasketches-quantiles.md.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Definition as Aggregate, Given, Gives as Made, Settings, State, given};
use super::quantiles::{DEFAULT_K, Quantiles, check_k};
use super::read::{doubles, number, texts};
use crate::function::{Call, Definition, Gives};
use crate::number::print::double_text;
use crate::operand::Operand::{self, Any, Double};
use crate::operand::coerce;

pub(super) const AGGREGATES: [Aggregate; 2] = [
    Aggregate {
        name: "ds_quantiles_sketch",
        aliases: &[],
        count: (1, 2),
        takes: of_numbers,
        gives: Made::Complex("quantilesDoublesSketch"),
        empty: |settings| {
            Ok(Box::new(Sketching {
                fraction: None,
                sketch: empty(settings.number(1)?)?,
            }))
        },
    },
    Aggregate {
        name: "approx_quantile_ds",
        aliases: &[],
        count: (2, 3),
        takes: of_numbers,
        gives: Made::Double,
        empty: |settings: &Settings| {
            let fraction = settings.number(1)?;
            if let Some(fraction) = fraction.filter(|fraction| !(0.0..=1.0).contains(fraction)) {
                return plan_err!(
                    "The probability of APPROX_QUANTILE_DS must be between 0 and 1, found {fraction}"
                );
            }
            Ok(Box::new(Sketching {
                fraction: fraction.map(single),
                sketch: empty(settings.number(2)?)?,
            }))
        },
    },
];

/// Numbers and sketches, then numbers.
pub(super) fn of_numbers(position: usize, found: &DataType) -> Option<DataType> {
    match found {
        sketch if position == 0 && sketch.is_binary() => Some(DataType::Binary),
        _ if position == 0 => coerce(Double, found),
        _ => coerce(Operand::Number, found),
    }
}

/// Druid keeps a fraction in single precision.
fn single(fraction: f64) -> f64 {
    f64::from(fraction as f32)
}

fn empty(k: Option<f64>) -> Result<Quantiles> {
    Quantiles::new(k.map_or(Ok(DEFAULT_K), |k| check_k(k as i64))?)
}

struct Sketching {
    /// What is asked for, when it is not the sketch.
    fraction: Option<f64>,
    sketch: Quantiles,
}

impl State for Sketching {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        match given(arguments)? {
            Given::States(states) => states.iter().flatten().try_for_each(|bytes| self.merge(bytes)),
            Given::Numbers(numbers) => {
                numbers
                    .iter()
                    .flatten()
                    .for_each(|number| self.sketch.update(number));
                Ok(())
            }
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        self.sketch.merge(&Quantiles::deserialize(bytes)?);
        Ok(())
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.sketch.serialize())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.fraction {
            Some(fraction) => ScalarValue::Float64(Some(self.sketch.quantile(fraction)?)),
            None => ScalarValue::Binary(Some(self.bytes()?)),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sketch.retained() * size_of::<f64>()
    }
}

pub(super) const FUNCTIONS: [Definition; 6] = [
    Definition::new("ds_get_quantile", &[Any, Double], Gives::Double, |call| {
        let fraction = single(number(call, 1)?);
        doubles(call, |bytes| Quantiles::deserialize(bytes)?.quantile(fraction))
    }),
    Definition::new("ds_get_quantiles", &[Any, Double], Gives::Text, |call| {
        lists(call, |sketch, fractions| sketch.quantiles(fractions))
    })
    .and_more(Double),
    Definition::new("ds_rank", &[Any, Double], Gives::Double, |call| {
        let value = single(number(call, 1)?);
        doubles(call, |bytes| Ok(Quantiles::deserialize(bytes)?.rank(value)))
    }),
    Definition::new("ds_cdf", &[Any, Double], Gives::Text, |call| {
        lists(call, Quantiles::cdf)
    })
    .and_more(Double),
    Definition::new("ds_histogram", &[Any, Double], Gives::Text, |call| {
        lists(call, Quantiles::histogram)
    })
    .and_more(Double),
    Definition::new("ds_quantile_summary", &[Any], Gives::Text, |call| {
        texts(call, |bytes| Ok(Quantiles::deserialize(bytes)?.summary()))
    }),
];

/// A text of several numbers for each sketch.
fn lists(call: &Call<'_>, of: impl Fn(&Quantiles, &[f64]) -> Result<Vec<f64>>) -> Result<ArrayRef> {
    let points = 1..call.arguments.len();
    let points: Vec<f64> = points
        .map(|position| number(call, position))
        .collect::<Result<_>>()?;
    texts(call, |bytes| {
        let found = of(&Quantiles::deserialize(bytes)?, &points)?;
        let found: Vec<String> = found.into_iter().map(json_number).collect();
        Ok(format!("[{}]", found.join(",")))
    })
}

/// A number as Jackson writes it: what is no number is a text.
pub(super) fn json_number(number: f64) -> String {
    let text = double_text(number);
    if number.is_finite() {
        text
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::{Array, Float64Array};
    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};
    use crate::sketches::read::tests::{bytes, called, called_with_column};

    fn numbers(values: std::ops::RangeInclusive<i32>) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(values.map(f64::from)))
    }

    fn sketch() -> ScalarValue {
        aggregated(&AGGREGATES[0], &[&[numbers(1..=6)], &[numbers(7..=10)]], &[])
    }

    #[test]
    fn functions_read_sketches() {
        let table: [(&str, &[f64], ScalarValue); 6] = [
            ("ds_get_quantile", &[0.5], 5.0.into()),
            ("ds_rank", &[3.0], 0.3.into()),
            (
                "ds_get_quantiles",
                &[0.25, 0.5, 0.75],
                ScalarValue::Utf8View(Some("[3.0,5.0,8.0]".into())),
            ),
            (
                "ds_cdf",
                &[2.0, 5.0],
                ScalarValue::Utf8View(Some("[0.2,0.5,1.0]".into())),
            ),
            (
                "ds_histogram",
                &[2.0, 5.0],
                ScalarValue::Utf8View(Some("[2.0,3.0,5.0]".into())),
            ),
            (
                "ds_histogram",
                &[0.0],
                ScalarValue::Utf8View(Some("[0.0,10.0]".into())),
            ),
        ];
        for (name, numbers, expected) in table {
            let mut arguments = vec![sketch()];
            arguments.extend(numbers.iter().map(|number| ScalarValue::from(*number)));
            assert_eq!(called(&FUNCTIONS, name, &arguments).unwrap(), expected, "{name}");
        }
        let null = [ScalarValue::Binary(None), 0.5.into()];
        assert_eq!(
            called(&FUNCTIONS, "ds_get_quantile", &null).unwrap(),
            ScalarValue::Float64(None)
        );
        let empty = [bytes(&[]), 0.5.into()];
        let text = called(&FUNCTIONS, "ds_get_quantiles", &empty).unwrap();
        assert_eq!(text, ScalarValue::Utf8View(Some("[\"NaN\"]".into())));
    }

    #[test]
    fn fractions_are_literals() {
        let sketches = ScalarValue::iter_to_array([sketch(), sketch()]).unwrap();
        let column = ColumnarValue::Array(Arc::new(Float64Array::from(vec![0.1, 0.9])));
        for name in [
            "ds_get_quantile",
            "ds_get_quantiles",
            "ds_rank",
            "ds_cdf",
            "ds_histogram",
        ] {
            let wrong = called_with_column(&FUNCTIONS, name, Arc::clone(&sketches), column.clone());
            let wrong = wrong.unwrap_err().to_string();
            assert!(wrong.contains("must be a literal"), "{name}: {wrong}");
        }
        let half = ColumnarValue::Scalar(0.5.into());
        let none = called_with_column(&FUNCTIONS, "ds_get_quantile", sketches.slice(0, 0), half);
        assert_eq!(none.unwrap().len(), 0);
    }

    #[test]
    fn values_and_sketches_of_values_are_aggregated_alike() {
        let fraction = [ScalarValue::from(0.9)];
        let values = aggregated(&AGGREGATES[1], &[&[numbers(1..=10)]], &fraction);
        assert_eq!(values, 9.0.into());
        let column = sketch().to_array().unwrap();
        assert_eq!(aggregated(&AGGREGATES[1], &[&[column]], &fraction), values);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(complaint(&AGGREGATES[0], &[ScalarValue::Int64(Some(100))]).contains("power of 2"));
        assert!(complaint(&AGGREGATES[1], &[1.5.into()]).contains("between 0 and 1"));
    }
}
