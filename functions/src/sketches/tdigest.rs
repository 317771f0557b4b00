//! TDIGEST_GENERATE_SKETCH and TDIGEST_QUANTILE.

use arrow::array::ArrayRef;
use datafusion::common::{Result, plan_err};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Definition as Aggregate, Given, Gives as Made, Settings, State, given};
use super::digest::Digest;
use super::quantile::of_numbers;

/// Druid's default.
const COMPRESSION: f64 = 100.0;

pub(super) const AGGREGATES: [Aggregate; 2] = [
    Aggregate {
        name: "tdigest_generate_sketch",
        aliases: &[],
        count: (1, 2),
        takes: of_numbers,
        gives: Made::Complex("tDigestSketch"),
        empty: |settings: &Settings| {
            Ok(Box::new(Digesting {
                fraction: None,
                digest: empty(settings.number(1)?)?,
            }))
        },
    },
    Aggregate {
        name: "tdigest_quantile",
        aliases: &[],
        count: (2, 3),
        takes: of_numbers,
        gives: Made::Double,
        empty: |settings| {
            let fraction = settings.number(1)?;
            if let Some(fraction) = fraction.filter(|fraction| !(0.0..=1.0).contains(fraction)) {
                return plan_err!(
                    "The quantileFraction of TDIGEST_QUANTILE must be between 0 and 1, found {fraction}"
                );
            }
            Ok(Box::new(Digesting {
                fraction,
                digest: empty(settings.number(2)?)?,
            }))
        },
    },
];

fn empty(compression: Option<f64>) -> Result<Digest> {
    match compression.unwrap_or(COMPRESSION) {
        compression if (1.0..=100_000.0).contains(&compression) => Ok(Digest::new(compression.trunc())),
        other => plan_err!(
            "The compression of a T-Digest must be from 1 to 100000, found {}",
            other as i64
        ),
    }
}

struct Digesting {
    /// What is asked for, when it is not the digest.
    fraction: Option<f64>,
    digest: Digest,
}

impl State for Digesting {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        match given(arguments)? {
            Given::States(states) => states.iter().flatten().try_for_each(|bytes| self.merge(bytes)),
            Given::Numbers(numbers) => {
                numbers
                    .iter()
                    .flatten()
                    .for_each(|number| self.digest.add(number));
                Ok(())
            }
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            self.digest.merge(Digest::deserialize(bytes)?);
        }
        Ok(())
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.digest.serialize())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.fraction {
            Some(fraction) => ScalarValue::Float64(Some(self.digest.quantile(fraction))),
            None => ScalarValue::Binary(Some(self.bytes()?)),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.digest.size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::Float64Array;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};

    #[test]
    fn values_and_digests_of_values_are_aggregated_alike() {
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values((1..=101).map(f64::from)));
        let digest = aggregated(&AGGREGATES[0], &[std::slice::from_ref(&values)], &[]);
        let fraction = [ScalarValue::from(0.5)];
        assert_eq!(aggregated(&AGGREGATES[1], &[&[values]], &fraction), 51.0.into());
        let column = digest.to_array().unwrap();
        assert_eq!(aggregated(&AGGREGATES[1], &[&[column]], &fraction), 51.0.into());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(complaint(&AGGREGATES[0], &[ScalarValue::Int64(Some(0))]).contains("from 1 to"));
        assert!(complaint(&AGGREGATES[1], &[1.5.into()]).contains("between 0 and 1"));
    }
}
