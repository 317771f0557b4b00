//! APPROX_QUANTILE: quantiles of a histogram whose bins follow the values (Ben-Haim and Tom-Tov).
//!
//! A state's bytes are those of Druid's sparse form: the size, the number of bins negated, the bins' positions (floats),
//! their counts (longs, the highest bit for a bin of several values), the least and the greatest value; big-endian. A
//! dense form has all `size` bins, and its number of bins is not negated.
//! Source: Druid, development/extensions-core/approximate-histograms.md.

use arrow::array::ArrayRef;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Definition as Aggregate, Given, Gives as Made, Settings, State, given};
use super::quantile::of_numbers;

/// Druid's default number of bins.
const SIZE: f64 = 50.0;

/// Marks the count of a bin that stands for several values.
const APPROXIMATE: u64 = 1 << 63;

pub(super) const AGGREGATES: [Aggregate; 1] = [Aggregate {
    name: "approx_quantile",
    aliases: &[],
    count: (2, 3),
    takes: of_numbers,
    gives: Made::Double,
    empty: |settings: &Settings| {
        let given = settings.number(1)?.unwrap_or(0.5);
        // A histogram knows it in single precision.
        let fraction = given as f32;
        if fraction.is_nan() || fraction <= 0.0 || fraction >= 1.0 {
            return plan_err!("quantile probabilities must be strictly between 0 and 1, found {given}");
        }
        let size = settings.number(2)?.unwrap_or(SIZE);
        if !(2.0..=1e6).contains(&size) {
            return plan_err!("resolution must be greater than 1, found {}", size as i64);
        }
        Ok(Box::new(Quantile {
            fraction,
            histogram: Histogram::new(size as usize),
        }))
    },
}];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    position: f32,
    count: u64,
    is_approximate: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Histogram {
    size: usize,
    /// By position.
    bins: Vec<Bin>,
    least: f32,
    greatest: f32,
    count: u64,
}

impl Histogram {
    fn new(size: usize) -> Self {
        Histogram {
            size,
            bins: Vec::new(),
            least: f32::INFINITY,
            greatest: f32::NEG_INFINITY,
            count: 0,
        }
    }

    fn add(&mut self, value: f32) {
        if value.is_nan() {
            return;
        }
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.count += 1;
        let at = self.bins.partition_point(|bin| bin.position < value);
        if let Some(bin) = self.bins.get_mut(at).filter(|bin| bin.position == value) {
            bin.count += 1;
            return;
        }
        let own = Bin {
            position: value,
            count: 1,
            is_approximate: false,
        };
        if self.bins.len() < self.size {
            self.bins.insert(at, own);
            return;
        }
        let distance = |bin: Option<&Bin>| bin.map_or(f32::INFINITY, |bin| (bin.position - value).abs());
        let (right, left) = (
            distance(self.bins.get(at)),
            distance(at.checked_sub(1).and_then(|at| self.bins.get(at))),
        );
        let (closest, between) = self.closest();
        let near = if right < between && right <= left {
            Some(at)
        } else {
            at.checked_sub(1).filter(|_| left < between)
        };
        match near.and_then(|near| self.bins.get_mut(near)) {
            Some(bin) => {
                let count = bin.count as f32;
                bin.position = (bin.position * count + value) / (count + 1.0);
                bin.count += 1;
                bin.is_approximate = true;
            }
            None => {
                self.join(closest);
                let at = self.bins.partition_point(|bin| bin.position < value);
                self.bins.insert(at, own);
            }
        }
    }

    /// The bin that is closest to the next one, and how far they are from each other.
    fn closest(&self) -> (usize, f32) {
        let gaps = self.bins.iter().zip(self.bins.iter().skip(1));
        let gaps = gaps.map(|(bin, next)| next.position - bin.position).enumerate();
        gaps.fold(
            (0, f32::INFINITY),
            |least, gap| if gap.1 < least.1 { gap } else { least },
        )
    }

    /// Makes one of a bin and the next.
    fn join(&mut self, at: usize) {
        if at + 1 >= self.bins.len() {
            return;
        }
        let next = self.bins.remove(at + 1);
        if let Some(bin) = self.bins.get_mut(at) {
            let (own, others) = (bin.count as f64, next.count as f64);
            let sum = f64::from(bin.position) * own + f64::from(next.position) * others;
            bin.position = (sum / (own + others)) as f32;
            bin.count += next.count;
            bin.is_approximate = true;
        }
    }

    /// Takes what another histogram has seen.
    fn merge(&mut self, other: &Histogram) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.count += other.count;
        let mut all = std::mem::take(&mut self.bins);
        all.extend(&other.bins);
        all.sort_by(|one, other| one.position.total_cmp(&other.position));
        // Without more bins than there is room for only equal positions become one.
        let cutoff = if all.len() <= self.size {
            0.0
        } else {
            (self.greatest - self.least) / (self.size - 1) as f32
        };
        for bin in all {
            match self.bins.last_mut() {
                Some(last) if bin.position - last.position <= cutoff => {
                    let (own, others) = (last.count as f32, bin.count as f32);
                    let is_same = last.position == bin.position;
                    last.position = bin.position - (bin.position - last.position) * (own / (own + others));
                    last.count += bin.count;
                    last.is_approximate |= bin.is_approximate || !is_same;
                }
                _ => self.bins.push(bin),
            }
        }
    }

    /// NaN for an empty histogram.
    fn quantile(&self, fraction: f32) -> f32 {
        if self.count == 0 {
            return f32::NAN;
        }
        let wanted = f64::from(fraction * self.count as f32);
        let mut before = 0_u64;
        let mut last: Option<&Bin> = None;
        for bin in &self.bins {
            if (before + bin.count) as f64 > wanted {
                let Some(last) = last else { return self.least };
                let missing = wanted - before as f64;
                let (slope, height) = (bin.count as f64 - last.count as f64, 2.0 * last.count as f64);
                let share = if slope == 0.0 {
                    2.0 * missing / height
                } else {
                    (-height + (height * height + 8.0 * slope * missing).sqrt()) / (2.0 * slope)
                };
                let between = f64::from(bin.position - last.position) * share;
                return ((f64::from(last.position) + between) as f32).min(self.greatest);
            }
            before += bin.count;
            last = Some(bin);
        }
        self.least
    }

    fn serialize(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 12 * self.bins.len());
        bytes.extend((self.size as i32).to_be_bytes());
        bytes.extend((-(self.bins.len() as i32)).to_be_bytes());
        self.bins
            .iter()
            .for_each(|bin| bytes.extend(bin.position.to_be_bytes()));
        for bin in &self.bins {
            let mark = if bin.is_approximate { APPROXIMATE } else { 0 };
            bytes.extend((bin.count | mark).to_be_bytes());
        }
        bytes.extend(self.least.to_be_bytes());
        bytes.extend(self.greatest.to_be_bytes());
        bytes
    }

    fn deserialize(bytes: &[u8]) -> Result<Self> {
        match Self::read(bytes).or_else(|| Self::read_compact(bytes)) {
            Some(histogram) => Ok(histogram),
            None => exec_err!(
                "expected the bytes of an approximate histogram, found {} bytes",
                bytes.len()
            ),
        }
    }

    /// The compact form: the size negated (2 bytes), then each value of exact bins after their number, or with the number
    /// negated those of approximate bins, the limits, and the exact ones.
    fn read_compact(bytes: &[u8]) -> Option<Self> {
        fn floats(bytes: &[u8], count: usize) -> Option<(Vec<f32>, &[u8])> {
            let (floats, rest) = bytes.split_at_checked(4 * count)?;
            let floats = floats
                .as_chunks::<4>()
                .0
                .iter()
                .map(|value| f32::from_be_bytes(*value));
            Some((floats.collect(), rest))
        }
        let (size, rest) = bytes.split_first_chunk::<2>()?;
        let size = usize::try_from(-i32::from(i16::from_be_bytes(*size))).ok()?;
        let (count, mut rest) = rest.split_first()?;
        let mut count = *count as i8;
        let mut histogram = Histogram::new(size);
        let mut limits = None;
        if count < 0 {
            let (values, after) = floats(rest, usize::from(count.unsigned_abs()))?;
            values.into_iter().for_each(|value| histogram.add(value));
            histogram
                .bins
                .iter_mut()
                .for_each(|bin| bin.is_approximate = true);
            let (found, after) = floats(after, 2)?;
            limits = Some(found);
            let (exact, after) = after.split_first()?;
            (count, rest) = (*exact as i8, after);
        }
        let (values, rest) = floats(rest, usize::try_from(count).ok()?)?;
        values.into_iter().for_each(|value| histogram.add(value));
        if let Some([least, greatest]) = limits.as_deref() {
            (histogram.least, histogram.greatest) = (*least, *greatest);
        }
        rest.is_empty().then_some(histogram)
    }

    /// The sparse and the dense form; `None` for others.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(i32::from_be_bytes(*size)).ok()?;
        let count = i32::from_be_bytes(*count);
        let kept = count.unsigned_abs() as usize;
        // An empty histogram has no sign to tell by.
        let written = if count < 0 || rest.len() == 8 { kept } else { size };
        if kept > written || rest.len() != written.checked_mul(12)?.checked_add(8)? {
            return None;
        }
        let (positions, rest) = rest.split_at_checked(4 * written)?;
        let (counts, limits) = rest.split_at_checked(8 * written)?;
        let positions = positions
            .as_chunks::<4>()
            .0
            .iter()
            .map(|position| f32::from_be_bytes(*position));
        let counts = counts
            .as_chunks::<8>()
            .0
            .iter()
            .map(|count| u64::from_be_bytes(*count));
        let bins = positions.zip(counts).take(kept).map(|(position, count)| Bin {
            position,
            count: count & !APPROXIMATE,
            is_approximate: count & APPROXIMATE != 0,
        });
        let bins: Vec<Bin> = bins.collect();
        let [least, greatest] = limits.as_chunks::<4>().0 else {
            return None;
        };
        Some(Histogram {
            size,
            count: bins.iter().map(|bin| bin.count).sum(),
            bins,
            least: f32::from_be_bytes(*least),
            greatest: f32::from_be_bytes(*greatest),
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
                let numbers = numbers.iter().flatten();
                numbers.for_each(|number| self.histogram.add(number as f32));
                Ok(())
            }
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        self.histogram.merge(&Histogram::deserialize(bytes)?);
        Ok(())
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.histogram.serialize())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(Some(f64::from(
            self.histogram.quantile(self.fraction),
        ))))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.histogram.bins.capacity() * size_of::<Bin>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::Arc;

    use arrow::array::Float64Array;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};

    fn quantile(parts: &[ArrayRef], settings: &[ScalarValue]) -> f64 {
        let parts: Vec<&[ArrayRef]> = parts.iter().map(std::slice::from_ref).collect();
        let ScalarValue::Float64(Some(found)) = aggregated(&AGGREGATES[0], &parts, settings) else {
            panic!("no quantile")
        };
        found
    }

    fn numbers(values: std::ops::Range<i32>) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(values.map(f64::from)))
    }

    #[test]
    fn quantiles_are_near_the_exact_ones() {
        let parts = [numbers(0..5_000), numbers(5_000..10_000)];
        for percent in [10, 25, 50, 75, 90, 99] {
            let fraction = f64::from(percent) / 100.0;
            let found = quantile(&parts, &[fraction.into(), ScalarValue::Int64(Some(100))]) / 10_000.0;
            assert!((found - fraction).abs() < 0.05, "{fraction}: {found}");
        }
        assert!(quantile(&[numbers(0..0)], &[0.5.into()]).is_nan());
    }

    #[test]
    fn few_values_are_interpolated() {
        assert_eq!(quantile(&[numbers(0..10)], &[0.5.into()]), 4.0);
        assert_eq!(quantile(&[numbers(7..8)], &[0.5.into()]), 7.0);
    }

    #[test]
    fn a_histogram_is_read_back() {
        let mut histogram = Histogram::new(20);
        (0..1_000).for_each(|value| histogram.add((value * 7 % 100) as f32));
        assert_eq!(histogram.bins.len(), 20);
        let bytes = histogram.serialize();
        assert_eq!(Histogram::deserialize(&bytes).unwrap(), histogram);
        assert!(Histogram::deserialize(&bytes[..30]).is_err());
    }

    #[test]
    fn the_compact_form_is_read() {
        let floats = |values: &[f32]| {
            values
                .iter()
                .flat_map(|value| value.to_be_bytes())
                .collect::<Vec<u8>>()
        };
        let exact = [&(-5_i16).to_be_bytes()[..], &[3], &floats(&[1.0, 1.0, 2.0])].concat();
        let found = Histogram::deserialize(&exact).unwrap();
        assert_eq!((found.size, found.count, found.bins.len()), (5, 3, 2));
        let mixed = [
            &(-5_i16).to_be_bytes()[..],
            &[254],
            &floats(&[1.5, 1.5, 1.0, 9.0]),
            &[1],
            &floats(&[9.0]),
        ];
        let found = Histogram::deserialize(&mixed.concat()).unwrap();
        assert_eq!((found.least, found.greatest, found.count), (1.0, 9.0, 3));
        assert_eq!(
            found
                .bins
                .iter()
                .map(|bin| bin.is_approximate)
                .collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for fraction in [0.0, 1.0, 0.999_999_99, 1e-60, -0.5, f64::NAN] {
            let wrong = complaint(&AGGREGATES[0], &[fraction.into()]);
            assert!(wrong.contains("strictly between 0 and 1"), "{fraction}");
        }
        assert_eq!(complaint(&AGGREGATES[0], &[0.999.into()]), "");
        assert!(
            complaint(&AGGREGATES[0], &[0.5.into(), ScalarValue::Int64(Some(1))]).contains("greater than 1")
        );
    }
}
