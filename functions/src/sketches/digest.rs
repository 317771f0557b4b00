//! T-Digests with the bytes of the `MergingDigest` that Druid uses: centroids that are small at both ends.
//!
//! Bytes: the encoding (1, an int), the least and the greatest value, the compression, the number of centroids (an int),
//! weight and mean of each; all big-endian. Encoding 2 has floats and shorts and is read only.
//! Source: Druid, development/extensions-contrib/tdigestsketch-quantiles.md.

use std::f64::consts::PI;

use datafusion::common::{Result, exec_err};

const VERBOSE: u32 = 1;
const SMALL: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Centroid {
    mean: f64,
    weight: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Digest {
    compression: f64,
    /// By mean.
    centroids: Vec<Centroid>,
    /// What was added since.
    added: Vec<Centroid>,
    least: f64,
    greatest: f64,
}

impl Digest {
    pub(super) fn new(compression: f64) -> Self {
        Digest {
            compression,
            centroids: Vec::new(),
            added: Vec::new(),
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }

    pub(super) fn size(&self) -> usize {
        (self.centroids.capacity() + self.added.capacity()) * size_of::<Centroid>()
    }

    /// Takes a value; NaN is none.
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_nan() {
            self.put(Centroid {
                mean: value,
                weight: 1.0,
            });
        }
    }

    fn put(&mut self, centroid: Centroid) {
        let room = 5 * self.compression.ceil() as usize;
        if self.added.len() + self.centroids.len() + 1 >= room {
            self.compress();
        }
        self.added.push(centroid);
    }

    /// Takes what another digest has seen.
    pub(super) fn merge(&mut self, mut other: Digest) {
        other.compress();
        other.centroids.iter().for_each(|centroid| self.put(*centroid));
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// Joins neighbours as far as their place allows.
    fn compress(&mut self) {
        if self.added.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.added);
        all.append(&mut self.centroids);
        all.sort_by(|one, other| one.mean.total_cmp(&other.mean));
        let total: f64 = all.iter().map(|centroid| centroid.weight).sum();
        let normalizer = self.compression / (PI * total);
        let mut before = 0.0;
        for next in all {
            let Some(last) = self.centroids.last_mut() else {
                self.centroids.push(next);
                continue;
            };
            let weight = last.weight + next.weight;
            let size = weight * normalizer;
            let allows = |share: f64| size * size <= share * (1.0 - share);
            // An infinite mean would take in, or make NaN of, what it is joined with.
            let has_mean = last.mean == next.mean || (last.mean.is_finite() && next.mean.is_finite());
            if has_mean && allows(before / total) && allows((before + weight) / total) {
                last.weight = weight;
                // Infinities of one sign have no difference.
                if last.mean != next.mean {
                    last.mean += (next.mean - last.mean) * next.weight / weight;
                }
            } else {
                before += last.weight;
                self.centroids.push(next);
            }
        }
        if let (Some(first), Some(last)) = (self.centroids.first(), self.centroids.last()) {
            self.least = self.least.min(first.mean);
            self.greatest = self.greatest.max(last.mean);
        }
    }

    /// NaN for an empty digest.
    pub(super) fn quantile(&mut self, fraction: f64) -> f64 {
        self.compress();
        let (Some(first), Some(last)) = (self.centroids.first(), self.centroids.last()) else {
            return f64::NAN;
        };
        let total: f64 = self.centroids.iter().map(|centroid| centroid.weight).sum();
        let wanted = fraction * total;
        if wanted < first.weight / 2.0 {
            if self.least == first.mean {
                return first.mean;
            }
            return self.least + 2.0 * wanted / first.weight * (first.mean - self.least);
        }
        let mut before = first.weight / 2.0;
        for (centroid, next) in self.centroids.iter().zip(self.centroids.iter().skip(1)) {
            let between = f64::midpoint(centroid.weight, next.weight);
            if before + between > wanted {
                return between_of(
                    centroid.mean,
                    before + between - wanted,
                    next.mean,
                    wanted - before,
                );
            }
            before += between;
        }
        let past = wanted - total - last.weight / 2.0;
        between_of(last.mean, past, self.greatest, last.weight / 2.0 - past)
    }

    pub(super) fn serialize(&mut self) -> Vec<u8> {
        self.compress();
        let mut bytes = Vec::with_capacity(32 + 16 * self.centroids.len());
        bytes.extend(VERBOSE.to_be_bytes());
        for number in [self.least, self.greatest, self.compression] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend((self.centroids.len() as u32).to_be_bytes());
        for centroid in &self.centroids {
            bytes.extend(centroid.weight.to_be_bytes());
            bytes.extend(centroid.mean.to_be_bytes());
        }
        bytes
    }

    /// # Errors
    /// For bytes that are no digest.
    pub(super) fn deserialize(bytes: &[u8]) -> Result<Self> {
        match Self::read(bytes) {
            Some(digest) => Ok(digest),
            None => exec_err!("expected the bytes of a T-Digest, found {} bytes", bytes.len()),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (encoding, rest) = bytes.split_first_chunk::<4>()?;
        let (least, rest) = rest.split_first_chunk::<8>()?;
        let (greatest, rest) = rest.split_first_chunk::<8>()?;
        let (compression, length, rest, centroids): (f64, usize, &[u8], Vec<Centroid>) =
            match u32::from_be_bytes(*encoding) {
                VERBOSE => {
                    let (compression, rest) = rest.split_first_chunk::<8>()?;
                    let (length, rest) = rest.split_first_chunk::<4>()?;
                    let (words, rest) = rest.as_chunks::<16>();
                    let centroids = words.iter().map(|word| {
                        let (weight, mean) = word.split_at(8);
                        let number = |word: &[u8]| word.try_into().map_or(f64::NAN, f64::from_be_bytes);
                        Centroid {
                            mean: number(mean),
                            weight: number(weight),
                        }
                    });
                    let length = u32::from_be_bytes(*length) as usize;
                    (
                        f64::from_be_bytes(*compression),
                        length,
                        rest,
                        centroids.collect(),
                    )
                }
                SMALL => {
                    let (compression, rest) = rest.split_first_chunk::<4>()?;
                    let (_, rest) = rest.split_first_chunk::<4>()?;
                    let (length, rest) = rest.split_first_chunk::<2>()?;
                    let (words, rest) = rest.as_chunks::<8>();
                    let centroids = words.iter().map(|word| {
                        let (weight, mean) = word.split_at(4);
                        let number =
                            |word: &[u8]| word.try_into().map_or(f32::NAN, f32::from_be_bytes).into();
                        Centroid {
                            mean: number(mean),
                            weight: number(weight),
                        }
                    });
                    let length = usize::from(u16::from_be_bytes(*length));
                    (
                        f32::from_be_bytes(*compression).into(),
                        length,
                        rest,
                        centroids.collect(),
                    )
                }
                _ => return None,
            };
        let is_valid = |centroid: &Centroid| centroid.weight > 0.0 && !centroid.mean.is_nan();
        let is_complete = centroids.len() == length && rest.is_empty() && centroids.iter().all(is_valid);
        (is_complete && (1.0..=1e6).contains(&compression)).then(|| Digest {
            compression,
            centroids,
            added: Vec::new(),
            least: f64::from_be_bytes(*least),
            greatest: f64::from_be_bytes(*greatest),
        })
    }
}

/// The weighted mean of two values, between them.
fn between_of(one: f64, weight: f64, other: f64, other_weight: f64) -> f64 {
    // Infinities of one sign have nothing between them.
    if one == other {
        return one;
    }
    let mean = (one * weight + other * other_weight) / (weight + other_weight);
    mean.min(one.max(other)).max(one.min(other))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(values: std::ops::Range<u32>) -> Digest {
        let mut digest = Digest::new(100.0);
        values.for_each(|value| digest.add(value.into()));
        digest
    }

    #[test]
    fn quantiles_are_near_the_exact_ones() {
        let mut digest = of(0..50_000);
        digest.merge(of(50_000..100_000));
        for percent in [1, 10, 25, 50, 75, 90, 99] {
            let fraction = f64::from(percent) / 100.0;
            let found = digest.quantile(fraction) / 100_000.0;
            assert!((found - fraction).abs() < 0.01, "{fraction}: {found}");
        }
        assert!(Digest::new(100.0).quantile(0.5).is_nan());
        assert_eq!(of(7..8).quantile(0.5), 7.0);
    }

    #[test]
    fn infinities_are_values() {
        for infinity in [f64::INFINITY, f64::NEG_INFINITY] {
            let mut digest = Digest::new(20.0);
            (0..1_000).for_each(|_| digest.add(infinity));
            let found = Digest::deserialize(&digest.serialize()).unwrap();
            assert!(found.centroids.iter().all(|centroid| centroid.mean == infinity));
            for fraction in [0.0, 0.5, 1.0] {
                assert_eq!(digest.quantile(fraction), infinity);
            }
        }
        let mut mixed = of(0..100);
        (0..500).for_each(|_| mixed.add(f64::INFINITY));
        (0..500).for_each(|_| mixed.add(f64::NEG_INFINITY));
        assert!(Digest::deserialize(&mixed.serialize()).is_ok());
        assert_eq!(mixed.quantile(0.1), f64::NEG_INFINITY);
        assert_eq!(mixed.quantile(0.9), f64::INFINITY);
    }

    #[test]
    fn a_digest_is_read_back() {
        for values in [0, 1, 10_000] {
            let bytes = of(0..values).serialize();
            assert_eq!(
                Digest::deserialize(&bytes).unwrap().serialize(),
                bytes,
                "{values}"
            );
        }
        let bytes = of(0..9).serialize();
        assert!(Digest::deserialize(&bytes[..40]).is_err());
        let small = [
            &2_u32.to_be_bytes()[..],
            &1_f64.to_be_bytes(),
            &2_f64.to_be_bytes(),
            &100_f32.to_be_bytes(),
            &[0, 210, 1, 244, 0, 1],
            &2_f32.to_be_bytes(),
            &1.5_f32.to_be_bytes(),
        ];
        assert_eq!(Digest::deserialize(&small.concat()).unwrap().quantile(0.0), 1.0);
    }
}
