//! APPROX_QUANTILE_FIXED_BUCKETS: quantiles of a histogram of equally wide buckets.
//!
//! A state's bytes are those of Druid's full form: version and mode, the limits, the number of buckets, how outliers
//! are handled, the counts of values, lower and upper outliers and NULLs, the greatest and the least value, the buckets;
//! big-endian. The sparse form has only buckets that are not empty, each with its number.
//! Source: Druid, development/extensions-core/approximate-histograms.md.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Definition as Aggregate, Given, Gives as Made, Settings, State, given};
use crate::operand::Operand::{self, Double, Text};
use crate::operand::coerce;

const VERSION: u8 = 1;
const FULL: u8 = 1;
const SPARSE: u8 = 2;
/// A histogram of more would take more than 80 MB.
const MOST_BUCKETS: usize = 10_000_000;

pub(super) const AGGREGATES: [Aggregate; 1] = [Aggregate {
    name: "approx_quantile_fixed_buckets",
    aliases: &[],
    count: (5, 6),
    takes: |position, found| match (position, found) {
        (0, found) if found.is_binary() => Some(DataType::Binary),
        (0, found) => coerce(Double, found),
        (5, found) => coerce(Text, found),
        (_, found) => coerce(Operand::Number, found),
    },
    gives: Made::Double,
    empty: |settings| {
        let fraction = settings.number(1)?.unwrap_or(0.5);
        if !(0.0..=1.0).contains(&fraction) {
            return plan_err!(
                "The probability of APPROX_QUANTILE_FIXED_BUCKETS must be between 0 and 1, found {fraction}"
            );
        }
        Ok(Box::new(Quantile {
            fraction: fraction as f32,
            histogram: Histogram::new(settings)?,
        }))
    },
}];

/// What becomes of values outside the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outliers {
    Ignore,
    Overflow,
    Clip,
}

#[derive(Debug, Clone, PartialEq)]
struct Histogram {
    lower: f64,
    upper: f64,
    outliers: Outliers,
    count: u64,
    below: u64,
    above: u64,
    missing: u64,
    greatest: f64,
    least: f64,
    buckets: Vec<u64>,
}

impl Histogram {
    fn new(settings: &Settings) -> Result<Self> {
        let number = |position| {
            Ok::<f64, datafusion::common::DataFusionError>(settings.number(position)?.unwrap_or_default())
        };
        let (buckets, lower, upper) = (number(2)?, number(3)?, number(4)?);
        if !(1.0..=MOST_BUCKETS as f64).contains(&buckets) {
            return plan_err!(
                "numBuckets must be > 0 and at most {MOST_BUCKETS}, got [{}] instead.",
                buckets as i64
            );
        }
        if upper <= lower || !(upper - lower).is_finite() {
            return plan_err!("Upper limit [{upper:?}] must be greater than lower limit [{lower:?}].");
        }
        let outliers = match settings.text(5)?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("ignore") => Outliers::Ignore,
            Some("overflow") => Outliers::Overflow,
            Some("clip") => Outliers::Clip,
            Some(other) => {
                return plan_err!("Invalid outlierHandlingMode [{other}]: expected ignore, overflow or clip");
            }
        };
        Ok(Histogram {
            lower,
            upper,
            outliers,
            count: 0,
            below: 0,
            above: 0,
            missing: 0,
            greatest: f64::NEG_INFINITY,
            least: f64::INFINITY,
            buckets: vec![0; buckets as usize],
        })
    }

    fn width(&self) -> f64 {
        (self.upper - self.lower) / self.buckets.len() as f64
    }

    fn count_in(&mut self, bucket: usize, count: u64) {
        let last = self.buckets.len() - 1;
        if let Some(bucket) = self.buckets.get_mut(bucket.min(last)) {
            *bucket += count;
            self.count += count;
        }
    }

    fn add(&mut self, value: Option<f64>) {
        let Some(value) = value else {
            self.missing += 1;
            return;
        };
        if value < self.lower || value >= self.upper {
            self.add_outliers(u64::from(value < self.lower), u64::from(value >= self.upper));
            return;
        }
        self.cover(value, value);
        let bucket = (value - self.lower) / self.width();
        self.count_in(bucket as usize, 1);
    }

    fn cover(&mut self, least: f64, greatest: f64) {
        self.least = self.least.min(least);
        self.greatest = self.greatest.max(greatest);
    }

    fn add_outliers(&mut self, below: u64, above: u64) {
        match self.outliers {
            Outliers::Ignore => {}
            Outliers::Overflow => {
                self.below += below;
                self.above += above;
            }
            Outliers::Clip => {
                for (count, limit, bucket) in [(below, self.lower, 0), (above, self.upper, usize::MAX)] {
                    if count > 0 {
                        self.cover(limit, limit);
                        self.count_in(bucket, count);
                    }
                }
            }
        }
    }

    fn merge(&mut self, other: &Histogram) -> Result<()> {
        if (self.lower, self.upper, self.buckets.len()) != (other.lower, other.upper, other.buckets.len()) {
            return exec_err!(
                "a histogram of {} buckets from {} to {} cannot be merged with one of {} buckets from {} to {}",
                self.buckets.len(),
                self.lower,
                self.upper,
                other.buckets.len(),
                other.lower,
                other.upper
            );
        }
        self.missing += other.missing;
        self.buckets
            .iter_mut()
            .zip(&other.buckets)
            .for_each(|(own, other)| *own += other);
        self.count += other.count;
        self.cover(other.least, other.greatest);
        self.add_outliers(other.below, other.above);
        Ok(())
    }

    /// The value at a percentage, in single precision; 0 for an empty histogram.
    fn percentile(&self, percent: f64) -> f32 {
        let (mut before, mut before_percent, mut start) = (0, 0.0, self.lower);
        for (bucket, count) in self.buckets.iter().enumerate() {
            let up_to = before + count;
            let up_to_percent = 100.0 * up_to as f64 / self.count as f64;
            let end = (bucket + 1) as f64 * self.width() + self.lower;
            if up_to_percent >= percent {
                let share = (percent - before_percent) / (up_to_percent - before_percent);
                return (share * (end - start) + start) as f32;
            }
            (before, before_percent, start) = (up_to, up_to_percent, end);
        }
        0.0
    }

    fn serialize(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, FULL];
        bytes.extend(self.lower.to_be_bytes());
        bytes.extend(self.upper.to_be_bytes());
        bytes.extend((self.buckets.len() as u32).to_be_bytes());
        bytes.push(self.outliers as u8);
        for count in [self.count, self.below, self.above, self.missing] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(self.greatest.to_be_bytes());
        bytes.extend(self.least.to_be_bytes());
        self.buckets
            .iter()
            .for_each(|count| bytes.extend(count.to_be_bytes()));
        bytes
    }

    fn deserialize(bytes: &[u8]) -> Result<Self> {
        match Self::read(bytes) {
            Some(histogram) => Ok(histogram),
            None => exec_err!(
                "expected the bytes of a fixed buckets histogram, found {} bytes",
                bytes.len()
            ),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, mode], mut rest) = bytes.split_first_chunk::<2>()? else {
            return None;
        };
        let mut word = || {
            let (word, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(*word)
        };
        let (lower, upper) = (f64::from_be_bytes(word()?), f64::from_be_bytes(word()?));
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (outliers, after) = after.split_first()?;
        let outliers = *[Outliers::Ignore, Outliers::Overflow, Outliers::Clip].get(usize::from(*outliers))?;
        let (words, mut tail) = after.split_at_checked(48)?;
        let mut words = words.as_chunks::<8>().0.iter().copied();
        let mut count = || words.next().map(u64::from_be_bytes);
        let [values, below, above, missing, greatest, least] =
            [count()?, count()?, count()?, count()?, count()?, count()?];
        if !(1..=MOST_BUCKETS).contains(&length) {
            return None;
        }
        let mut buckets = Vec::new();
        if *mode == FULL {
            let (chunks, rest) = tail.as_chunks::<8>();
            if chunks.len() != length || !rest.is_empty() {
                return None;
            }
            buckets = chunks.iter().map(|count| u64::from_be_bytes(*count)).collect();
        } else if *mode == SPARSE {
            let (filled, after) = tail.split_first_chunk::<4>()?;
            tail = after;
            let filled = u32::from_be_bytes(*filled) as usize;
            // Each has its number and its count.
            if filled.checked_mul(12) != Some(tail.len()) {
                return None;
            }
            buckets.resize(length, 0);
            for _ in 0..filled {
                let (bucket, after) = tail.split_first_chunk::<4>()?;
                let (count, after) = after.split_first_chunk::<8>()?;
                *buckets.get_mut(u32::from_be_bytes(*bucket) as usize)? = u64::from_be_bytes(*count);
                tail = after;
            }
        } else {
            return None;
        }
        Some(Histogram {
            lower,
            upper,
            outliers,
            count: values,
            below,
            above,
            missing,
            greatest: f64::from_bits(greatest),
            least: f64::from_bits(least),
            buckets,
        })
    }
}

struct Quantile {
    fraction: f32,
    histogram: Histogram,
}

impl State for Quantile {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        match given(arguments)? {
            Given::States(states) => states.iter().flatten().try_for_each(|bytes| self.merge(bytes)),
            Given::Numbers(numbers) => {
                numbers.iter().for_each(|number| self.histogram.add(number));
                Ok(())
            }
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        self.histogram.merge(&Histogram::deserialize(bytes)?)
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.histogram.serialize())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = self.histogram.percentile(f64::from(self.fraction) * 100.0);
        Ok(ScalarValue::Float64(Some(f64::from(found))))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.histogram.buckets.len() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::Float64Array;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};

    fn settings(fraction: f64, mode: &str) -> Vec<ScalarValue> {
        vec![
            fraction.into(),
            ScalarValue::Int64(Some(10)),
            0.0.into(),
            100.0.into(),
            mode.into(),
        ]
    }

    fn quantile(values: &[Option<f64>], fraction: f64, mode: &str) -> ScalarValue {
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        aggregated(&AGGREGATES[0], &[&[values]], &settings(fraction, mode))
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let values: Vec<Option<f64>> = (0..100).map(|value| Some(f64::from(value))).collect();
        for (fraction, expected) in [(0.5, 50.0), (0.25, 25.0), (1.0, 100.0)] {
            assert_eq!(
                quantile(&values, fraction, "ignore"),
                expected.into(),
                "{fraction}"
            );
        }
        assert_eq!(quantile(&[None], 0.5, "ignore"), 0.0.into());
    }

    #[test]
    fn outliers_are_handled_as_asked() {
        let values = [Some(-5.0), Some(55.0), Some(200.0), Some(300.0)];
        for (mode, expected) in [("ignore", 55.0), ("overflow", 55.0), ("CLIP", 60.0)] {
            assert_eq!(quantile(&values, 0.5, mode), expected.into(), "{mode}");
        }
    }

    #[test]
    fn a_histogram_is_read_back() {
        let sparse = |buckets: u32, filled: u32| {
            [
                &[1, 2][..],
                &0_f64.to_be_bytes(),
                &10_f64.to_be_bytes(),
                &buckets.to_be_bytes(),
                &[1],
                &7_u64.to_be_bytes(),
                &[0; 24],
                &9_f64.to_be_bytes(),
                &3_f64.to_be_bytes(),
                &filled.to_be_bytes(),
                &2_u32.to_be_bytes(),
                &7_u64.to_be_bytes(),
            ]
            .concat()
        };
        for (buckets, filled) in [(0, 1), (2, 1), (10_000_001, 1), (u32::MAX, 1), (5, 2), (5, 0)] {
            let found = Histogram::deserialize(&sparse(buckets, filled));
            assert!(found.is_err(), "{buckets} {filled}");
        }
        let mut histogram = Quantile {
            fraction: 0.5,
            histogram: Histogram::read(&sparse(5, 1)).unwrap(),
        };
        assert_eq!(histogram.histogram.buckets, [0, 0, 7, 0, 0]);
        let bytes = histogram.bytes().unwrap();
        assert_eq!(Histogram::deserialize(&bytes).unwrap(), histogram.histogram);
        assert!(Histogram::deserialize(&bytes[..20]).is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for fraction in [-0.1, 1.5, f64::NAN] {
            let wrong = complaint(&AGGREGATES[0], &settings(fraction, "ignore"));
            assert!(wrong.contains("between 0 and 1"), "{fraction}");
        }
        let mut wrong = settings(0.5, "drop");
        assert!(complaint(&AGGREGATES[0], &wrong).contains("ignore, overflow or clip"));
        wrong[3] = 0.0.into();
        assert!(complaint(&AGGREGATES[0], &wrong).contains("greater than lower limit"));
        wrong[1] = ScalarValue::Int64(Some(0));
        assert!(complaint(&AGGREGATES[0], &wrong).contains("numBuckets"));
    }
}
