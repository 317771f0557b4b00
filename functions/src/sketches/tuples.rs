//! Tuple sketches whose summaries are arrays of doubles, with the table and the bytes of Java's `ArrayOfDoublesSketch`.
//!
//! Keys are hashes below theta, kept in an open-addressing table: its order is that of the bytes.
//! Bytes: preamble length 1, version 1, family 9, type 3 (compact), flags, number of values, seed hash; theta; the number
//! of entries; the keys, then the values. All numbers are little-endian.
//! Source: Druid, development/extensions-core/datasketches-tuple.md.

use datafusion::common::{Result, exec_err};

use super::murmur::murmur_128;

const SEED: u64 = 9001;
/// What Java derives from the seed.
const SEED_HASH: u16 = 0x93cc;
/// Theta of a sketch that has seen few keys.
const ALL: u64 = i64::MAX as u64;
const EMPTY: u8 = 1 << 2;
const HAS_ENTRIES: u8 = 1 << 3;
/// The number of values is a byte.
pub(super) const MOST_VALUES: usize = u8::MAX as usize;
/// The least and the greatest capacity's powers of two, and the power by which a table grows.
const LG_LEAST: u32 = 5;
const LG_GROWTH: u32 = 3;

#[derive(Debug, Clone)]
pub(super) struct Tuples {
    nominal: usize,
    /// Values of each summary.
    width: usize,
    theta: u64,
    is_empty: bool,
    /// A power of two of slots.
    slots: Vec<Option<(u64, Vec<f64>)>>,
    count: usize,
}

impl Tuples {
    /// An empty sketch of `nominal` entries, a power of two.
    pub(super) fn new(nominal: usize, width: usize) -> Self {
        let lg_most = nominal.next_power_of_two().trailing_zeros() + 1;
        let lg = if lg_most <= LG_LEAST {
            LG_LEAST
        } else {
            (lg_most - LG_LEAST) % LG_GROWTH + LG_LEAST
        };
        Tuples {
            nominal,
            width,
            theta: ALL,
            is_empty: true,
            slots: vec![None; 1 << lg],
            count: 0,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn size(&self) -> usize {
        self.slots.len() * size_of::<Option<(u64, Vec<f64>)>>() + self.count * self.width * size_of::<f64>()
    }

    fn entries(&self) -> impl Iterator<Item = &(u64, Vec<f64>)> {
        self.slots.iter().flatten()
    }

    /// The share of all hashes that are kept.
    fn share(&self) -> f64 {
        self.theta as f64 / ALL as f64
    }

    /// About how many keys there are.
    pub(super) fn estimate(&self) -> f64 {
        self.count as f64 / self.share()
    }

    /// About the sum of each value over all keys.
    pub(super) fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.width];
        for (_, values) in self.entries() {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sums.iter_mut().for_each(|sum| *sum /= self.share());
        sums
    }

    /// Adds values to those of a key; the empty key is none.
    pub(super) fn update(&mut self, key: &[u8], values: &[f64]) {
        if key.is_empty() {
            return;
        }
        self.is_empty = false;
        self.add(murmur_128(key, SEED) >> 1, values);
    }

    fn add(&mut self, key: u64, values: &[f64]) {
        if key == 0 || key >= self.theta {
            return;
        }
        if let Some(Some((_, found))) = place(&self.slots, key).and_then(|place| self.slots.get_mut(place)) {
            found
                .iter_mut()
                .zip(values)
                .for_each(|(found, value)| *found += value);
            return;
        }
        self.put(key, values.to_vec());
        let capacity = self.slots.len();
        if capacity > self.nominal {
            if self.count > capacity * 15 / 16 {
                self.theta = self.lower_theta();
                self.rebuild(capacity);
            }
        } else if self.count > capacity / 2 {
            self.rebuild(capacity << LG_GROWTH);
        }
    }

    fn put(&mut self, key: u64, values: Vec<f64>) {
        if let Some(slot) = place(&self.slots, key).and_then(|place| self.slots.get_mut(place)) {
            *slot = Some((key, values));
            self.count += 1;
        }
    }

    /// The theta that leaves the nominal number of entries.
    fn lower_theta(&self) -> u64 {
        let mut keys: Vec<u64> = self.entries().map(|(key, _)| *key).collect();
        if keys.len() <= self.nominal {
            return self.theta;
        }
        *keys.select_nth_unstable(self.nominal).1
    }

    fn rebuild(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.slots, vec![None; capacity]);
        self.count = 0;
        let theta = self.theta;
        for (key, values) in old.into_iter().flatten().filter(|(key, _)| *key < theta) {
            self.put(key, values);
        }
    }

    /// Keeps what a condition allows, below a theta.
    fn keep(&mut self, theta: u64, mut allows: impl FnMut(u64) -> bool) {
        self.theta = theta;
        for slot in &mut self.slots {
            slot.take_if(|(key, _)| *key >= theta || !allows(*key));
        }
        self.rebuild(self.slots.len());
    }

    /// An empty sketch takes the other's number of values.
    fn check(&mut self, other: &Tuples) -> Result<()> {
        if self.is_empty && self.count == 0 {
            self.width = other.width;
        }
        let other_is_empty = other.is_empty && other.count == 0;
        if self.width != other.width && !other_is_empty {
            return exec_err!(
                "Incompatible sketches: number of values mismatch {} and {}",
                self.width,
                other.width
            );
        }
        Ok(())
    }

    /// Takes what another sketch has seen; values of one key are added.
    ///
    /// # Errors
    /// When the summaries have another number of values; for the other operations too.
    pub(super) fn unite(&mut self, other: &Tuples) -> Result<()> {
        self.check(other)?;
        self.is_empty &= other.is_empty;
        if other.theta < self.theta {
            self.keep(other.theta, |_| true);
        }
        other.entries().for_each(|(key, values)| self.add(*key, values));
        Ok(())
    }

    /// No more than the nominal number of entries.
    pub(super) fn trimmed(mut self) -> Self {
        let theta = self.lower_theta();
        if theta < self.theta {
            self.keep(theta, |_| true);
        }
        self
    }

    /// Keeps the keys that another sketch has too; values are added.
    pub(super) fn intersect(&mut self, other: &Tuples) -> Result<()> {
        self.check(other)?;
        if self.is_empty || other.is_empty {
            *self = Tuples::new(self.nominal, self.width);
            return Ok(());
        }
        let found = |key: u64| other.slots.get(place(&other.slots, key)?)?.as_ref();
        self.keep(self.theta.min(other.theta), |key| found(key).is_some());
        for (key, values) in self.slots.iter_mut().flatten() {
            if let Some((_, others)) = found(*key) {
                values
                    .iter_mut()
                    .zip(others)
                    .for_each(|(value, other)| *value += other);
            }
        }
        Ok(())
    }

    /// Keeps the keys that another sketch has not.
    pub(super) fn subtract(&mut self, other: &Tuples) -> Result<()> {
        self.check(other)?;
        if self.is_empty || other.is_empty {
            return Ok(());
        }
        let has = |key: u64| {
            place(&other.slots, key)
                .and_then(|place| other.slots.get(place))
                .is_some_and(Option::is_some)
        };
        self.keep(self.theta.min(other.theta), |key| !has(key));
        self.is_empty = self.theta == ALL && self.count == 0;
        Ok(())
    }

    pub(super) fn serialize(&self) -> Vec<u8> {
        let flags = if self.is_empty { EMPTY } else { 0 } | if self.count > 0 { HAS_ENTRIES } else { 0 };
        let mut bytes = vec![1, 1, 9, 3, flags, self.width as u8];
        bytes.extend(SEED_HASH.to_le_bytes());
        bytes.extend(self.theta.to_le_bytes());
        if self.count > 0 {
            bytes.extend((self.count as u64).to_le_bytes());
            self.entries()
                .for_each(|(key, _)| bytes.extend(key.to_le_bytes()));
            let values = self.entries().flat_map(|(_, values)| values);
            values.for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        bytes
    }

    /// A sketch that may take `nominal` entries.
    ///
    /// # Errors
    /// For bytes that are no such sketch.
    pub(super) fn deserialize(bytes: &[u8], nominal: usize) -> Result<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let [[1, 1, 9, 3, flags, width, seed @ ..], theta, entries @ ..] = words else {
            return exec_err!(
                "expected the bytes of a compact ArrayOfDoublesSketch, found {} bytes",
                bytes.len()
            );
        };
        if u16::from_le_bytes(*seed) != SEED_HASH {
            return exec_err!("a tuple sketch of another seed");
        }
        let mut sketch = Tuples::new(nominal, usize::from(*width));
        sketch.is_empty = flags & EMPTY != 0;
        sketch.theta = u64::from_le_bytes(*theta);
        let (count, entries) = match (flags & HAS_ENTRIES, entries) {
            (0, []) => (0, entries),
            (0, _) | (_, []) => return exec_err!("a tuple sketch of {} bytes is cut off", bytes.len()),
            (_, [count, entries @ ..]) => (
                (u64::from_le_bytes(*count) & u64::from(u32::MAX)) as usize,
                entries,
            ),
        };
        if Some(entries.len()) != count.checked_mul(1 + sketch.width) || !rest.is_empty() {
            return exec_err!("a tuple sketch of {count} entries has {} bytes", bytes.len());
        }
        if sketch.theta == 0 || sketch.theta > ALL {
            return exec_err!("a tuple sketch has the theta {}", sketch.theta);
        }
        let (keys, values) = entries.split_at(count);
        while sketch.slots.len() <= 2 * count {
            sketch.slots.resize(sketch.slots.len() << LG_GROWTH, None);
        }
        let mut values = values.iter().map(|value| f64::from_le_bytes(*value));
        for key in keys {
            let values = values.by_ref().take(sketch.width).collect();
            let key = u64::from_le_bytes(*key);
            if key == 0 || key >= sketch.theta {
                return exec_err!("a tuple sketch of theta {} has the key {key}", sketch.theta);
            }
            let before = sketch.slots.get(place(&sketch.slots, key).unwrap_or_default());
            if before.is_some_and(Option::is_some) {
                return exec_err!("a tuple sketch has the key {key} twice");
            }
            sketch.put(key, values);
        }
        Ok(sketch)
    }
}

/// The slot of a key, or the one that it would take.
fn place(slots: &[Option<(u64, Vec<f64>)>], key: u64) -> Option<usize> {
    let mask = slots.len() - 1;
    let lg = slots.len().trailing_zeros();
    let stride = 2 * ((key >> lg) & 127) as usize + 1;
    let mut place = key as usize & mask;
    for _ in 0..slots.len() {
        match slots.get(place)? {
            Some((found, _)) if *found != key => place = (place + stride) & mask,
            _ => return Some(place),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(keys: std::ops::Range<u32>) -> Tuples {
        let mut sketch = Tuples::new(4096, 2);
        keys.for_each(|key| sketch.update(key.to_string().as_bytes(), &[1.0, f64::from(key % 10)]));
        sketch
    }

    #[test]
    fn a_sketch_is_read_back() {
        for keys in [0, 1, 100, 3_000, 50_000] {
            let sketch = of(0..keys);
            let bytes = sketch.serialize();
            let found = Tuples::deserialize(&bytes, 4096).unwrap();
            assert_eq!(found.serialize().len(), bytes.len());
            assert_eq!(found.sums(), sketch.sums(), "{keys}");
        }
        assert_eq!(
            of(0..0).serialize(),
            [
                1, 1, 9, 3, 4, 2, 0xcc, 0x93, 255, 255, 255, 255, 255, 255, 255, 127
            ]
        );
        for cut in [0, 8, 15, 17, 40] {
            assert!(
                Tuples::deserialize(&of(0..9).serialize()[..cut], 4096).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn values_of_a_key_are_added() {
        let mut sketch = Tuples::new(16, 1);
        sketch.update(b"a", &[1.0]);
        sketch.update(b"a", &[2.0]);
        sketch.update(b"", &[4.0]);
        assert_eq!((sketch.estimate(), sketch.sums()), (1.0, vec![3.0]));
    }

    #[test]
    fn many_keys_are_estimated() {
        let sketch = of(0..100_000);
        assert!(
            (95_000.0..105_000.0).contains(&sketch.estimate()),
            "{}",
            sketch.estimate()
        );
        assert!((95_000.0..105_000.0).contains(&sketch.sums()[0]));
        let mut both = sketch;
        both.unite(&of(50_000..150_000)).unwrap();
        let both = both.trimmed();
        assert_eq!(both.count, 4096);
        assert!(
            (140_000.0..160_000.0).contains(&both.estimate()),
            "{}",
            both.estimate()
        );
    }

    #[test]
    fn sets_are_combined() {
        let (mut one, mut less) = (of(0..100), of(0..100));
        one.intersect(&of(90..200)).unwrap();
        assert_eq!(one.sums(), [20.0, 90.0]);
        less.subtract(&of(10..200)).unwrap();
        assert_eq!(less.sums(), [10.0, 45.0]);
        less.intersect(&of(0..0)).unwrap();
        assert_eq!(less.estimate(), 0.0);
        less.unite(&Tuples::new(16, 1)).unwrap();
        let mut narrow = Tuples::new(16, 1);
        narrow.update(b"a", &[1.0]);
        less.unite(&narrow).unwrap();
        assert_eq!(less.sums(), [1.0]);
        assert!(of(0..9).unite(&narrow).is_err());
        assert!(narrow.subtract(&of(0..9)).is_err());
    }

    #[test]
    fn keys_are_checked() {
        let bytes_of = |keys: [u64; 2], theta: u64| {
            let mut bytes = vec![1, 1, 9, 3, HAS_ENTRIES, 1];
            bytes.extend(SEED_HASH.to_le_bytes());
            for word in [theta, 2, keys[0], keys[1], 0, 0] {
                bytes.extend(word.to_le_bytes());
            }
            bytes
        };
        assert!(Tuples::deserialize(&bytes_of([5, 7], ALL), 16).is_ok());
        let table = [
            ([5, 5], ALL),
            ([0, 5], ALL),
            ([5, 7], 7),
            ([5, 7], 0),
            ([5, 7], u64::MAX),
        ];
        for (keys, theta) in table {
            assert!(
                Tuples::deserialize(&bytes_of(keys, theta), 16).is_err(),
                "{keys:?} {theta}"
            );
        }
    }
}
