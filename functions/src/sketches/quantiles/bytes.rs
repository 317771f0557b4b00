//! The bytes of a quantiles sketch: Java's compact form is written, that and the updatable form are read.
//!
//! Byte 0 is the length of the preamble in longs (1 when empty, else 2), 1 the version, 2 the family, 3 the flags, 4–5
//! `k`; then `n`, the least and the greatest value, the base buffer and the levels. All numbers are little-endian.

use datafusion::common::Result;

use super::{DEFAULT_K, Quantiles, check_k, refused};

const VERSION: u8 = 3;
const FAMILY: u8 = 8;

const READ_ONLY: u8 = 2;
const EMPTY: u8 = 4;
const COMPACT: u8 = 8;
const ORDERED: u8 = 16;

impl Quantiles {
    /// The compact form, with a sorted base buffer.
    pub(in crate::sketches) fn serialize(&self) -> Vec<u8> {
        let flags = READ_ONLY | COMPACT | ORDERED;
        let (preamble, flags) = if self.is_empty() {
            (1, flags | EMPTY)
        } else {
            (2, flags)
        };
        let mut bytes = vec![preamble, VERSION, FAMILY, flags];
        bytes.extend(self.k.to_le_bytes());
        bytes.extend([0, 0]);
        if self.is_empty() {
            return bytes;
        }
        bytes.extend(self.n.to_le_bytes());
        let mut base = self.base.clone();
        base.sort_unstable_by(f64::total_cmp);
        let values = [self.least, self.greatest].into_iter().chain(base);
        values
            .chain(self.levels.iter().flatten().copied())
            .for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes
    }

    /// Nothing at all is an empty sketch, as in Druid's segments.
    ///
    /// # Errors
    /// For bytes that are no quantiles sketch.
    pub(in crate::sketches) fn deserialize(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Quantiles::new(DEFAULT_K);
        }
        let Some(([_, version, family, flags, low, high, _, _], rest)) = bytes.split_first_chunk::<8>()
        else {
            return Err(refused("a quantiles sketch has at least 8 bytes"));
        };
        if *family != FAMILY || !matches!(version, 2 | 3) {
            return Err(refused(format!(
                "expected a quantiles sketch (family {FAMILY}, version 3), found family {family}, version {version}"
            )));
        }
        let mut sketch = Quantiles::new(check_k(u16::from_le_bytes([*low, *high]).into())?)?;
        if flags & EMPTY != 0 {
            return Ok(sketch);
        }
        let is_compact = *version == 2 || flags & COMPACT != 0;
        let mut words = rest.as_chunks::<8>().0.iter();
        let mut word = || {
            words
                .next()
                .copied()
                .ok_or_else(|| refused("a quantiles sketch is cut off"))
        };
        sketch.n = u64::from_le_bytes(word()?);
        sketch.least = f64::from_le_bytes(word()?);
        sketch.greatest = f64::from_le_bytes(word()?);
        let k = sketch.width();
        let mut values = |count: usize| -> Result<Vec<f64>> {
            (0..count).map(|_| Ok(f64::from_le_bytes(word()?))).collect()
        };
        let (pattern, in_base) = (sketch.n / (2 * k as u64), (sketch.n % (2 * k as u64)) as usize);
        sketch.base = values(in_base)?;
        if !is_compact && pattern != 0 {
            values(2 * k - in_base)?;
        }
        for level in 0..u64::BITS - pattern.leading_zeros() {
            let is_there = pattern >> level & 1 == 1;
            let level = if is_there || !is_compact {
                values(k)?
            } else {
                Vec::new()
            };
            sketch.levels.push(if is_there { level } else { Vec::new() });
        }
        sketch.coin ^= sketch.n ^ sketch.greatest.to_bits();
        Ok(sketch)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_are_those_of_java() {
        // What Druid 37 wrote for 162, 162 and 22.
        let expected = "0203081a800000000300000000000000000000000000364000000000004064400000000000003640\
                        00000000004064400000000000406440";
        let mut sketch = Quantiles::new(128).unwrap();
        [162.0, 162.0, 22.0]
            .into_iter()
            .for_each(|value| sketch.update(value));
        let hex: String = sketch
            .serialize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected);
        assert_eq!(
            Quantiles::new(128).unwrap().serialize(),
            [1, 3, 8, 0x1e, 128, 0, 0, 0]
        );
    }

    #[test]
    fn a_sketch_is_read_back() {
        for n in [0_u32, 1, 255, 256, 5_000, 70_000] {
            let mut sketch = Quantiles::new(128).unwrap();
            (0..n).for_each(|value| sketch.update(value.into()));
            let bytes = sketch.serialize();
            assert_eq!(Quantiles::deserialize(&bytes).unwrap().serialize(), bytes, "{n}");
        }
    }

    #[test]
    fn the_updatable_form_is_read() {
        let mut sketch = Quantiles::new(2).unwrap();
        (0..9).for_each(|value| sketch.update(value.into()));
        // n = 9 is a base buffer of 1 and level 1; level 0 is there without a meaning.
        let mut bytes = vec![2, 3, 8, 0, 2, 0, 0, 0];
        bytes.extend(9_u64.to_le_bytes());
        let level = sketch.levels[1].clone();
        let words = [0.0, 8.0, 8.0, 7.0, 7.0, 7.0, -1.0, -1.0]
            .into_iter()
            .chain(level);
        words.for_each(|value| bytes.extend(value.to_le_bytes()));
        assert_eq!(
            Quantiles::deserialize(&bytes).unwrap().serialize(),
            sketch.serialize()
        );
    }

    #[test]
    fn other_bytes_are_refused() {
        let mut sketch = Quantiles::new(128).unwrap();
        sketch.update(1.0);
        let bytes = sketch.serialize();
        for cut in [1, 7, 9, 20, bytes.len() - 1] {
            assert!(Quantiles::deserialize(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut other = bytes;
        other[2] = 7;
        assert!(
            Quantiles::deserialize(&other)
                .unwrap_err()
                .to_string()
                .contains("family 7")
        );
    }
}
