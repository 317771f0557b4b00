//! Key statistics: what workers tell of the keys they met, and how partitions are cut from them.

mod cut;
mod encoding;

use std::collections::BTreeMap;

pub use cut::{Cut, HeavyKey, cut_buckets, cut_ranges};
pub use encoding::StatisticsError;

/// Statistics of the keys of one stage, from one worker or merged from many.
///
/// Per time chunk (key prefix) the exact rows and bytes, and a sample of keys in which every sampled key stands for a
/// number of rows and bytes. The size is bounded however many rows are counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyStatistics {
    buckets: BTreeMap<Vec<u8>, BucketStatistics>,
}

/// Statistics of one time chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketStatistics {
    pub rows: u64,
    pub bytes: u64,
    /// Keys with the rows and bytes that each stands for, in the order in which they came.
    sample: Vec<SampledKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SampledKey {
    key: Vec<u8>,
    rows: u64,
    bytes: u64,
}

/// Samples that one time chunk keeps at most: halved when full, each key then standing for twice as many.
const MAX_SAMPLES: usize = 4096;

impl KeyStatistics {
    /// Adds exact counts of one time chunk, without a sample.
    pub fn add_bucket(&mut self, bucket: &[u8], rows: u64, bytes: u64) {
        let entry = self.buckets.entry(bucket.to_vec()).or_default();
        entry.rows += rows;
        entry.bytes += bytes;
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &KeyStatistics) {
        for (bucket, theirs) in &other.buckets {
            let ours = self.buckets.entry(bucket.clone()).or_default();
            ours.rows += theirs.rows;
            ours.bytes += theirs.bytes;
            ours.sample.extend(theirs.sample.iter().cloned());
            ours.shrink();
        }
    }

    pub fn buckets(&self) -> impl Iterator<Item = (&[u8], &BucketStatistics)> {
        self.buckets.iter().map(|(key, bucket)| (key.as_slice(), bucket))
    }

    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// Sampled keys of all time chunks.
    pub fn sample_count(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.sample.len()).sum()
    }

    /// Thins the samples until they take no more than about so many bytes, or one is left of each time chunk.
    pub fn limit(&mut self, byte_budget: usize) {
        let size = |sampled: &SampledKey| sampled.key.len() + std::mem::size_of::<SampledKey>();
        loop {
            let samples = || self.buckets.values().flat_map(|bucket| &bucket.sample);
            let can_shrink = self.buckets.values().any(|bucket| bucket.sample.len() > 1);
            if !can_shrink || samples().map(size).sum::<usize>() <= byte_budget {
                return;
            }
            self.buckets.values_mut().for_each(BucketStatistics::thin);
        }
    }

    pub fn rows(&self) -> u64 {
        self.buckets.values().map(|bucket| bucket.rows).sum()
    }

    /// Rows by time chunk.
    pub fn bucket_rows(&self) -> BTreeMap<Vec<u8>, u64> {
        self.buckets
            .iter()
            .map(|(key, bucket)| (key.clone(), bucket.rows))
            .collect()
    }
}

impl BucketStatistics {
    fn shrink(&mut self) {
        while self.sample.len() > MAX_SAMPLES {
            self.thin();
        }
    }

    /// Keeps every other sample, which then stands for its neighbour too.
    fn thin(&mut self) {
        {
            // Neighbours in key order are thinned, so that no part of the key space loses more than another.
            self.sample
                .sort_unstable_by(|left, right| left.key.cmp(&right.key));
            let mut thinned: Vec<SampledKey> = Vec::with_capacity(self.sample.len() / 2 + 1);
            let mut pairs = self.sample.drain(..);
            while let Some(mut kept) = pairs.next() {
                if let Some(dropped) = pairs.next() {
                    kept.rows += dropped.rows;
                    kept.bytes += dropped.bytes;
                }
                thinned.push(kept);
            }
            drop(pairs);
            self.sample = thinned;
        }
    }
}

/// Counts keys as they come; cheap for every row, since only every so many rows a key is kept.
#[derive(Debug, Clone)]
pub struct KeyStatisticsCollector {
    statistics: KeyStatistics,
    /// State of the generator that spreads samples.
    random: u64,
    prefix_bytes: usize,
    byte_budget: usize,
    samples: usize,
    sample_bytes: usize,
    /// A key is kept once for about so many rows.
    step: u64,
    /// Rows of the current chunk until the next sample, by chunk.
    pending: BTreeMap<Vec<u8>, Pending>,
    /// The chunk of the last row and its counts, not yet added.
    current: Option<(Vec<u8>, Pending)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    rows: u64,
    bytes: u64,
    until_sample: u64,
    total_rows: u64,
    total_bytes: u64,
}

impl KeyStatisticsCollector {
    /// A collector whose samples take at most about `byte_budget` bytes. Keys that share their first
    /// `bucket_prefix_bytes` are of one time chunk.
    pub fn new(seed: u64, byte_budget: usize, bucket_prefix_bytes: u32) -> Self {
        KeyStatisticsCollector {
            statistics: KeyStatistics::default(),
            random: seed | 1,
            prefix_bytes: bucket_prefix_bytes as usize,
            byte_budget: byte_budget.max(1024),
            samples: 0,
            sample_bytes: 0,
            step: 1,
            pending: BTreeMap::new(),
            current: None,
        }
    }

    /// Counts a row.
    pub fn add(&mut self, key: &[u8], row_bytes: u64) {
        let prefix = key.get(..self.prefix_bytes).unwrap_or(key);
        let is_current = self.current.as_ref().is_some_and(|(bucket, _)| bucket == prefix);
        if !is_current {
            self.switch_to(prefix);
        }
        let Some((bucket, pending)) = &mut self.current else {
            return;
        };
        pending.rows += 1;
        pending.bytes += row_bytes;
        pending.total_rows += 1;
        pending.total_bytes += row_bytes;
        if pending.until_sample > 0 {
            pending.until_sample -= 1;
            return;
        }
        let sampled = SampledKey {
            key: key.to_vec(),
            rows: pending.rows,
            bytes: pending.bytes,
        };
        pending.rows = 0;
        pending.bytes = 0;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        pending.until_sample = if self.step > 1 {
            self.random % (2 * self.step - 1)
        } else {
            0
        };
        self.samples += 1;
        self.sample_bytes += key.len() + std::mem::size_of::<SampledKey>();
        let entry = self.statistics.buckets.entry(bucket.clone()).or_default();
        entry.sample.push(sampled);
        // Every chunk keeps a sample, so that thinning helps only where there are more.
        if self.sample_bytes > self.byte_budget && self.samples > 2 * self.statistics.buckets.len() {
            self.thin();
        }
    }

    fn switch_to(&mut self, prefix: &[u8]) {
        if let Some((bucket, pending)) = self.current.take() {
            self.pending.insert(bucket, pending);
        }
        let pending = self.pending.remove(prefix).unwrap_or_default();
        self.current = Some((prefix.to_vec(), pending));
    }

    /// Halves all samples and keeps keys half as often from now on.
    fn thin(&mut self) {
        self.step *= 2;
        self.samples = 0;
        self.sample_bytes = 0;
        for bucket in self.statistics.buckets.values_mut() {
            let mut kept: Vec<SampledKey> = Vec::with_capacity(bucket.sample.len() / 2 + 1);
            for (position, sampled) in bucket.sample.drain(..).enumerate() {
                match kept.last_mut() {
                    Some(last) if position % 2 == 1 => {
                        last.rows += sampled.rows;
                        last.bytes += sampled.bytes;
                    }
                    _ => kept.push(sampled),
                }
            }
            self.samples += kept.len();
            self.sample_bytes += kept
                .iter()
                .map(|sampled| sampled.key.len() + std::mem::size_of::<SampledKey>())
                .sum::<usize>();
            bucket.sample = kept;
        }
    }

    /// Time chunks met so far.
    pub fn bucket_count(&self) -> usize {
        self.pending.len() + usize::from(self.current.is_some())
    }

    pub fn finish(mut self) -> KeyStatistics {
        if let Some((bucket, pending)) = self.current.take() {
            self.pending.insert(bucket, pending);
        }
        for (bucket, pending) in std::mem::take(&mut self.pending) {
            let entry = self.statistics.buckets.entry(bucket).or_default();
            entry.rows += pending.total_rows;
            entry.bytes += pending.total_bytes;
            // Rows behind the last sample weigh with it.
            if let Some(last) = entry.sample.last_mut() {
                last.rows += pending.rows;
                last.bytes += pending.bytes;
            }
            entry.shrink();
        }
        self.statistics
    }
}
