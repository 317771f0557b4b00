//! Wire form of key statistics: a version byte, then counts and lengths as little-endian u64 and u32.

use super::{BucketStatistics, KeyStatistics, SampledKey};

const VERSION: u8 = 1;

/// Bytes that are no key statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed key statistics: {0}")]
pub struct StatisticsError(&'static str);

impl KeyStatistics {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put_length(&mut bytes, self.buckets.len());
        for (key, bucket) in &self.buckets {
            put_bytes(&mut bytes, key);
            bytes.extend(bucket.rows.to_le_bytes());
            bytes.extend(bucket.bytes.to_le_bytes());
            put_length(&mut bytes, bucket.sample.len());
            for sampled in &bucket.sample {
                put_bytes(&mut bytes, &sampled.key);
                bytes.extend(sampled.rows.to_le_bytes());
                bytes.extend(sampled.bytes.to_le_bytes());
            }
        }
        bytes
    }

    /// # Errors
    /// For bytes that [`KeyStatistics::to_bytes`] did not make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatisticsError> {
        let mut reader = Reader { rest: bytes };
        if reader.take(1)? != [VERSION] {
            return Err(StatisticsError("unknown version"));
        }
        let mut statistics = KeyStatistics::default();
        for _ in 0..reader.length()? {
            let key = reader.bytes()?.to_vec();
            let mut bucket = BucketStatistics {
                rows: reader.number()?,
                bytes: reader.number()?,
                sample: Vec::new(),
            };
            for _ in 0..reader.length()? {
                let key = reader.bytes()?.to_vec();
                bucket.sample.push(SampledKey {
                    key,
                    rows: reader.number()?,
                    bytes: reader.number()?,
                });
            }
            statistics.buckets.insert(key, bucket);
        }
        if reader.rest.is_empty() {
            Ok(statistics)
        } else {
            Err(StatisticsError("bytes left over"))
        }
    }
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_length(bytes, value.len());
    bytes.extend(value);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StatisticsError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(StatisticsError("ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, StatisticsError> {
        let bytes = self
            .take(4)?
            .try_into()
            .map_err(|_| StatisticsError("ends too early"))?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn number(&mut self) -> Result<u64, StatisticsError> {
        let bytes = self
            .take(8)?
            .try_into()
            .map_err(|_| StatisticsError("ends too early"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], StatisticsError> {
        let length = self.length()?;
        self.take(length)
    }
}
