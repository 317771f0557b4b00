//! Hive's `BloomKFilter`: the first hash finds a block of eight words, the others bits within it.
//!
//! Bytes: the number of hash functions, the number of words (big-endian), the words (big-endian).
//! Source: Druid, development/extensions-core/bloom-filter.md.

use datafusion::common::{Result, exec_err, plan_err};

use super::murmur::murmur_64;

/// The probability of a false positive.
const FALSE_POSITIVES: f32 = 0.05;
const WORDS_PER_BLOCK: usize = 8;
/// The hash of NULL.
const NULL_HASH: u64 = 2_862_933_555_777_941_757;
const HEADER: usize = 5;
/// Bytes of a filter at most; Druid has no limit but an array's length.
const MOST_BYTES: usize = 128 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BloomFilter {
    functions: u8,
    words: Vec<u64>,
}

impl BloomFilter {
    /// A filter for so many different values.
    ///
    /// # Errors
    /// Without any, and for more than fit.
    pub(super) fn for_entries(entries: f64) -> Result<Self> {
        if !(1.0..=2_147_483_647.0).contains(&entries) {
            return plan_err!("expectedEntries should be > 0, found {}", entries as i64);
        }
        let entries = entries.trunc();
        let two = std::f64::consts::LN_2;
        let bits = (-entries * f64::from(FALSE_POSITIVES).ln() / (two * two)).trunc();
        let functions = (bits / entries * two).round().max(1.0) as u8;
        let words = (bits / 64.0).ceil() as usize;
        let words = words + WORDS_PER_BLOCK - words % WORDS_PER_BLOCK;
        let bytes = words * size_of::<u64>();
        if bytes > MOST_BYTES {
            return plan_err!(
                "A Bloom filter of {} entries would have {bytes} bytes, and may have {MOST_BYTES} at most",
                entries as i64
            );
        }
        Ok(BloomFilter {
            functions,
            words: vec![0; words],
        })
    }

    /// The words and bits of a hash.
    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (low, high) = (hash as i32, (hash >> 32) as i32);
        let positive = |hash: i32| (if hash < 0 { !hash } else { hash }) as usize;
        let blocks = (self.words.len() / WORDS_PER_BLOCK).max(1);
        let block = positive(low.wrapping_add(high)) % blocks * WORDS_PER_BLOCK;
        (1..=i32::from(self.functions)).map(move |function| {
            let hash = positive(low.wrapping_add((function + 1).wrapping_mul(high)));
            (block + hash % WORDS_PER_BLOCK, 1 << ((hash >> 3) & 63))
        })
    }

    pub(super) fn add(&mut self, value: Option<&[u8]>) {
        for (word, bit) in self.places(value.map_or(NULL_HASH, murmur_64)) {
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
    }

    pub(super) fn contains(&self, value: Option<&[u8]>) -> bool {
        let mut places = self.places(value.map_or(NULL_HASH, murmur_64));
        places.all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    /// # Errors
    /// For a filter of another size.
    pub(super) fn merge(&mut self, other: &BloomFilter) -> Result<()> {
        if self.functions != other.functions || self.words.len() != other.words.len() {
            return exec_err!(
                "Bloom filters of different sizes cannot be merged: {} words and {} functions, {} words and {} functions",
                self.words.len(),
                self.functions,
                other.words.len(),
                other.functions
            );
        }
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, other)| *word |= other);
        Ok(())
    }

    pub(super) fn size(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    pub(super) fn serialize(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.size());
        bytes.push(self.functions);
        bytes.extend((self.words.len() as u32).to_be_bytes());
        self.words
            .iter()
            .for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes
    }

    /// # Errors
    /// For bytes that are no filter.
    pub(super) fn deserialize(bytes: &[u8]) -> Result<Self> {
        let parts = bytes.split_first_chunk::<HEADER>();
        let Some(([functions, length @ ..], words)) = parts else {
            return exec_err!(
                "a Bloom filter has at least {HEADER} bytes, found {}",
                bytes.len()
            );
        };
        let length = u32::from_be_bytes(*length) as usize;
        let (words, rest) = words.as_chunks::<8>();
        if words.len() != length
            || !rest.is_empty()
            || !length.is_multiple_of(WORDS_PER_BLOCK)
            || *functions > 127
        {
            return exec_err!("a Bloom filter of {length} words has {} words", words.len());
        }
        Ok(BloomFilter {
            functions: *functions,
            words: words.iter().map(|word| u64::from_be_bytes(*word)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::base64::decode;

    /// Of Druid's documentation of BLOOM_FILTER.
    const DOCUMENTED: &str =
        "BAAAAAgAAACAAEAAAAAAAAAAAEIAAAAAAAAAAAAAAAAAAAAAAAIIAAAAAAAAAAAAAAAAAAIAAAAAAQAAAAAAAAAAAAAA";

    #[test]
    fn the_documented_filter_knows_its_values() {
        let filter = BloomFilter::deserialize(&decode(DOCUMENTED).unwrap()).unwrap();
        let table = [
            ("empty", false),
            ("Game console", false),
            ("Personal computer", true),
            ("Smart TV", false),
            ("Smartphone", true),
            ("Tablet", false),
        ];
        for (value, expected) in table {
            assert_eq!(filter.contains(Some(value.as_bytes())), expected, "{value}");
        }
        let mut made = BloomFilter::for_entries(10.0).unwrap();
        made.add(Some(b"Personal computer"));
        made.add(Some(b"Smartphone"));
        assert_eq!(made, filter);
        assert_eq!(made.serialize(), decode(DOCUMENTED).unwrap());
    }

    #[test]
    fn few_values_are_found_by_mistake() {
        let mut filter = BloomFilter::for_entries(1_000.0).unwrap();
        (0..1_000_u64).for_each(|value| filter.add(Some(&value.to_be_bytes())));
        assert!((0..1_000_u64).all(|value| filter.contains(Some(&value.to_be_bytes()))));
        let others = 1_000..11_000_u64;
        let mistakes = others
            .filter(|value| filter.contains(Some(&value.to_be_bytes())))
            .count();
        assert!(mistakes < 1_000, "{mistakes}");
        assert!(!filter.contains(None));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(BloomFilter::deserialize(&[4, 0, 0, 0, 8, 1]).is_err());
        assert!(BloomFilter::deserialize(&[]).is_err());
        assert!(BloomFilter::for_entries(0.0).is_err());
        let wrong = BloomFilter::for_entries(1e9).unwrap_err().to_string();
        assert!(wrong.contains("134217728 at most"), "{wrong}");
        assert!(BloomFilter::for_entries(1e8).is_ok());
        let mut filter = BloomFilter::for_entries(10.0).unwrap();
        assert!(filter.merge(&BloomFilter::for_entries(5_000.0).unwrap()).is_err());
    }
}
