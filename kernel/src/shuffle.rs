//! How the rows of a stage change place.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::ids::{PartitionNumber, WorkerNumber};

/// Version of this release. The bytes of keys are not promised across releases.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The release by whose rules key bytes are made; by default this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Release(String);

impl Default for Release {
    fn default() -> Self {
        Release(RELEASE.to_owned())
    }
}

impl Release {
    /// Of a shuffle that does not say.
    fn unnamed() -> Self {
        Release("of an unnamed version".to_owned())
    }
}

/// One shuffle: its kind, and what its key bytes are made of.
///
/// Keys are memcomparable bytes: the worker encodes the `key` columns of a row with one converter whose description
/// is all here, so that the bytes of all workers compare, and the kernel needs no types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShuffleSpec {
    pub kind: ShuffleKind,
    /// Key columns in order; empty for `mix` and `broadcast`.
    pub key: Vec<KeyColumn>,
    /// Bytes at the front of every encoded key that hold the time chunk: 0 for none. A partition never holds two
    /// different prefixes.
    pub bucket_prefix_bytes: u32,
    /// Of whoever planned the query.
    #[serde(default = "Release::unnamed")]
    pub release: Release,
}

impl ShuffleSpec {
    /// # Errors
    /// When another release planned it, whose key bytes are not those that would be made here.
    pub fn check_release(&self) -> Result<(), Fault> {
        if self.release == Release::default() {
            return Ok(());
        }
        let message = format!(
            "the shuffle was planned by Sarsen {}, and this worker runs {RELEASE}: a query runs only on processes of its own \
             version",
            self.release.0
        );
        Err(Fault::UnknownError { message })
    }
}

/// One column of a shuffle key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyColumn {
    /// Index in the stage's output schema.
    pub index: u32,
    pub name: String,
    pub order: SortOrder,
    pub nulls: NullOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortOrder {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NullOrder {
    First,
    Last,
}

/// Shuffle kinds (DESIGN: kernel).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShuffleKind {
    /// All rows in one partition, unordered.
    Mix,
    /// `partitions` partitions by xxh3 of the key bytes.
    Hash { partitions: PartitionCount },
    /// As `Hash`, with each partition sorted by the key.
    HashLocalSort { partitions: PartitionCount },
    /// Partitions are ranges of the key, each sorted; where they are cut is decided from key statistics.
    GlobalSort(RangeTarget),
    /// One or more partitions per time chunk, by row count, unsorted.
    Bucket { target_rows: u64 },
    /// One partition that every consumer reads whole.
    Broadcast,
}

/// Number of hash partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionCount {
    Fixed(u32),
    /// Decided once by the kernel from the bytes that flow into the stage, between 1 and `max`: one per `target_bytes`.
    /// All stages with one `group` get one number, decided when the first of them starts from that with the most bytes:
    /// measured where its inputs are done, else all that it may read.
    Measured {
        group: u32,
        target_bytes: u64,
        max: u32,
    },
}

/// What decides the ranges of a global sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeTarget {
    /// At most so many partitions of about equal weight.
    MaxCount(u32),
    /// Partitions of about so many bytes.
    TargetSize(u64),
    /// Partitions of about so many rows.
    TargetRows(u64),
}

impl ShuffleKind {
    /// Whether workers must report statistics and wait for [`Boundaries`] before they can cut partitions.
    pub fn needs_boundaries(&self) -> bool {
        matches!(self, ShuffleKind::GlobalSort(_) | ShuffleKind::Bucket { .. })
    }

    /// Whether each partition comes out sorted by the key.
    pub fn is_sorted(&self) -> bool {
        matches!(
            self,
            ShuffleKind::GlobalSort(_) | ShuffleKind::HashLocalSort { .. }
        )
    }

    /// Whether a row's partition depends on the order in which rows were met, so that a re-run may place it
    /// elsewhere although the rows are the same.
    pub fn is_order_dependent(&self) -> bool {
        matches!(self, ShuffleKind::Bucket { .. })
    }
}

/// Where partitions begin and end, decided by the controller once per stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boundaries {
    /// Partition `i` holds keys `>= ranges[i].start` and, where there is an end, `< ranges[i].end`; ascending,
    /// disjoint, and together covering every key that was counted.
    Ranges(Vec<KeyRange>),
    /// Partition `i` holds the named rows of one time chunk.
    Buckets(Vec<BucketPartition>),
}

impl Boundaries {
    pub fn partition_count(&self) -> usize {
        match self {
            Boundaries::Ranges(ranges) => ranges.len(),
            Boundaries::Buckets(buckets) => buckets.len(),
        }
    }
}

/// Half-open range of key bytes; `end: None` reaches to the last key of the start's bucket prefix (to the last key
/// of all without a prefix).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    pub start: Vec<u8>,
    pub end: Option<Vec<u8>>,
}

/// Rows of one time chunk that make one partition: of each worker a run of consecutive rows, counted from 0 in the
/// order in which that worker met rows of this chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPartition {
    /// Encoded bucket key (the whole shuffle key: its prefix).
    pub bucket: Vec<u8>,
    pub runs: Vec<BucketRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRun {
    pub worker: WorkerNumber,
    pub first_row: u64,
    pub rows: u64,
}

/// What one work order put into one output partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionSize {
    pub rows: u64,
    pub bytes: u64,
}

/// Sizes of all partitions of one work order's output; a partition that is not named is empty.
pub type OutputSizes = std::collections::BTreeMap<PartitionNumber, PartitionSize>;

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(release: Option<&str>) -> ShuffleSpec {
        let release = release.map_or(String::new(), |release| format!(r#","release":"{release}""#));
        let json = format!(r#"{{"kind":"Mix","key":[],"bucket_prefix_bytes":0{release}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_shuffle_runs_on_the_release_that_planned_it() {
        let own = ShuffleSpec {
            release: Release::default(),
            ..spec(None)
        };
        let read: ShuffleSpec = serde_json::from_str(&serde_json::to_string(&own).unwrap()).unwrap();
        assert_eq!(read.check_release(), Ok(()));
        assert_eq!(spec(Some(RELEASE)), own);
        for (release, named) in [(Some("0.0.7"), "0.0.7"), (None, "of an unnamed version")] {
            let fault = spec(release).check_release().unwrap_err();
            let words = fault.message();
            assert!(
                words.contains(&format!("Sarsen {named},")) && words.contains(RELEASE),
                "{words}"
            );
        }
    }
}
