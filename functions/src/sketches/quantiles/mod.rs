//! Classic quantiles sketches of doubles, with the bytes of Java's `DoublesSketch`.
//!
//! A sketch has a base buffer of up to `2k` values of weight 1, and levels of `k` sorted values each; level `i` weighs
//! `2^(i+1)` and is there when bit `i` of `n / 2k` is set. A full base buffer is sorted, halved and carried upwards.
//! Which half stays is decided by a coin whose flips follow from the values alone, so that a re-run makes the same
//! sketch.
//!
//! Source: Druid, development/extensions-core/datasketches-quantiles.md.

mod bytes;
mod read;
mod summary;

use super::refused;
use datafusion::common::{DataFusionError, Result};

/// Druid's default of `k`.
pub(super) const DEFAULT_K: u16 = 128;

/// The least and the greatest `k`.
const MIN_K: u16 = 2;
const MAX_K: u16 = 32_768;

/// The initial state of the coin.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Debug, Clone)]
pub(super) struct Quantiles {
    k: u16,
    n: u64,
    least: f64,
    greatest: f64,
    /// Values of weight 1, unsorted, fewer than `2k`.
    base: Vec<f64>,
    /// A level is empty or holds `k` sorted values.
    levels: Vec<Vec<f64>>,
    coin: u64,
}

impl Quantiles {
    /// # Errors
    /// When `k` is no power of two from 2 to 32768.
    pub(super) fn new(k: u16) -> Result<Self> {
        check_k(k.into())?;
        Ok(Quantiles {
            k,
            n: 0,
            least: f64::NAN,
            greatest: f64::NAN,
            base: Vec::new(),
            levels: Vec::new(),
            coin: SEED ^ u64::from(k),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Whether values were left out.
    fn is_estimation(&self) -> bool {
        self.levels.iter().any(|level| !level.is_empty())
    }

    /// Values that are kept.
    pub(super) fn retained(&self) -> usize {
        self.base.len() + self.levels.iter().map(Vec::len).sum::<usize>()
    }

    fn width(&self) -> usize {
        self.k.into()
    }

    /// Takes a value; NaN is none.
    pub(super) fn update(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.cover(value, value);
        self.n += 1;
        self.base.push(value);
        if self.base.len() == 2 * self.width() {
            let mut full = std::mem::take(&mut self.base);
            full.sort_unstable_by(f64::total_cmp);
            let half = self.halve(&full);
            self.carry(0, half);
        }
    }

    fn cover(&mut self, least: f64, greatest: f64) {
        // Either is NaN before the first value, and NaN gives way.
        self.least = self.least.min(least);
        self.greatest = self.greatest.max(greatest);
    }

    /// A number below `bound`, a power of two.
    fn flip(&mut self, bound: usize) -> usize {
        self.coin = self.coin.wrapping_add(SEED ^ self.n);
        let mut mixed = self.coin;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound as u64).unwrap_or(0)
    }

    /// Every `stride`th value, beginning with one that the coin says.
    fn thin(&mut self, values: &[f64], stride: usize) -> Vec<f64> {
        let first = self.flip(stride);
        values.iter().skip(first).step_by(stride).copied().collect()
    }

    fn halve(&mut self, values: &[f64]) -> Vec<f64> {
        self.thin(values, 2)
    }

    /// Puts `k` sorted values into a level; a level that is full is merged with them and carried to the next.
    fn carry(&mut self, level: usize, values: Vec<f64>) {
        let (mut level, mut values) = (level, values);
        loop {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            let Some(found) = self.levels.get_mut(level) else {
                return;
            };
            if found.is_empty() {
                *found = values;
                return;
            }
            let own = std::mem::take(found);
            let both = merged(&own, &values);
            values = self.halve(&both);
            level += 1;
        }
    }

    /// Takes what another sketch has seen. The result's `k` is the smaller one of the two, but a sketch that is exact
    /// keeps the other's `k`.
    pub(super) fn merge(&mut self, other: &Quantiles) {
        if !other.is_estimation() {
            other.base.iter().for_each(|value| self.update(*value));
        } else if self.k <= other.k {
            self.absorb(other);
        } else if self.is_empty() {
            *self = other.clone();
        } else {
            let mut smaller = Quantiles {
                k: other.k,
                n: 0,
                least: f64::NAN,
                greatest: f64::NAN,
                base: Vec::new(),
                levels: Vec::new(),
                coin: self.coin,
            };
            smaller.absorb(self);
            smaller.absorb(other);
            *self = smaller;
        }
    }

    /// Takes what another sketch of the same or a greater `k` has seen.
    fn absorb(&mut self, other: &Quantiles) {
        let total = self.n + other.n;
        other.base.iter().for_each(|value| self.update(*value));
        let stride = usize::from(other.k / self.k);
        let raised = stride.trailing_zeros() as usize;
        for (level, values) in other.levels.iter().enumerate() {
            if !values.is_empty() {
                let values = if stride > 1 {
                    self.thin(values, stride)
                } else {
                    values.clone()
                };
                self.carry(level + raised, values);
            }
        }
        self.n = total;
        self.cover(other.least, other.greatest);
    }
}

/// # Errors
/// When `k` is no power of two from 2 to 32768.
pub(super) fn check_k(k: i64) -> Result<u16> {
    match u16::try_from(k) {
        Ok(k) if (MIN_K..=MAX_K).contains(&k) && k.is_power_of_two() => Ok(k),
        _ => Err(DataFusionError::Plan(format!(
            "The k of a quantiles sketch must be a power of 2 from {MIN_K} to {MAX_K}, found {k}"
        ))),
    }
}

/// Two sorted runs as one.
fn merged(one: &[f64], other: &[f64]) -> Vec<f64> {
    let mut both = Vec::with_capacity(one.len() + other.len());
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(left), Some(right)) = (ones.peek(), others.peek()) {
        let next = if right < left { others.next() } else { ones.next() };
        both.extend(next);
    }
    both.extend(ones);
    both.extend(others);
    both
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(k: u16, values: impl Iterator<Item = u32>) -> Quantiles {
        let mut sketch = Quantiles::new(k).unwrap();
        values.for_each(|value| sketch.update(value.into()));
        sketch
    }

    #[test]
    fn levels_follow_the_number_of_values() {
        for n in [0, 1, 15, 16, 17, 160, 1_000, 12_345] {
            let sketch = of(8, 0..n);
            let pattern = u64::from(n) / 16;
            for (level, values) in sketch.levels.iter().enumerate() {
                assert_eq!(values.len(), if pattern >> level & 1 == 1 { 8 } else { 0 }, "{n}");
                assert!(values.is_sorted());
            }
            assert_eq!(sketch.base.len() as u64, u64::from(n) % 16);
        }
    }

    #[test]
    fn merged_sketches_have_the_levels_of_all_their_values() {
        for (k, other_k) in [(8, 8), (8, 32), (32, 8)] {
            let mut sketch = of(k, 0..1_000);
            sketch.merge(&of(other_k, 1_000..3_333));
            assert_eq!((sketch.k, sketch.n), (8, 3_333));
            let pattern = 3_333 / 16;
            for (level, values) in sketch.levels.iter().enumerate() {
                assert_eq!(values.len(), if pattern >> level & 1 == 1 { 8 } else { 0 });
                assert!(values.is_sorted());
            }
            assert_eq!((sketch.least, sketch.greatest), (0.0, 3_332.0));
        }
    }

    #[test]
    fn the_same_values_make_the_same_sketch() {
        let bytes = |sketch: Quantiles| sketch.serialize();
        assert_eq!(bytes(of(128, 0..100_000)), bytes(of(128, 0..100_000)));
    }

    #[test]
    fn ranks_stay_within_the_documented_error() {
        let mut sketch = of(128, 0..50_000);
        sketch.merge(&of(128, 50_000..100_000));
        for percent in 1..100 {
            let fraction = f64::from(percent) / 100.0;
            let found = sketch.quantile(fraction).unwrap() / 100_000.0;
            assert!((found - fraction).abs() < 0.02, "{fraction}: {found}");
        }
    }

    #[test]
    fn other_k_are_refused() {
        assert!(check_k(128).is_ok());
        for k in [-1, 0, 1, 100, 65_536] {
            assert!(check_k(k).unwrap_err().to_string().contains("power of 2"), "{k}");
        }
    }
}
