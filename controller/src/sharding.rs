//! Shard specs: how the segments of one time chunk are told apart.

use sarsen_engine::key::leading_texts;
use sarsen_kernel::query::IngestTarget;
use sarsen_kernel::shuffle::{Boundaries, KeyRange, ShuffleSpec};
use sarsen_storage::segment::ShardSpec;

/// What shard specs are made of (Druid: multi-stage-query/concepts.md#clustering).
#[derive(Debug, Default)]
pub struct Sharding {
    /// Leading cluster-by columns, all of them texts; empty for `numbered` specs.
    columns: Vec<String>,
    /// Bytes of a key before the first of them.
    prefix_bytes: usize,
    /// Key ranges by output partition.
    ranges: Vec<KeyRange>,
    /// Whether each time chunk is made anew: then its number of segments is known.
    replaces: bool,
}

impl Sharding {
    /// For an ingestion whose last shuffle was cut at `boundaries`.
    pub fn new(
        target: &IngestTarget,
        shuffle: Option<&ShuffleSpec>,
        boundaries: Option<&Boundaries>,
    ) -> Self {
        let ranges = match boundaries {
            Some(Boundaries::Ranges(ranges)) => ranges.clone(),
            _ => Vec::new(),
        };
        Sharding {
            columns: target.shard_columns.clone(),
            prefix_bytes: shuffle.map_or(0, |shuffle| shuffle.bucket_prefix_bytes as usize),
            ranges,
            replaces: target.replace_intervals.is_some(),
        }
    }

    /// Specs of the segments of one time chunk, of which each is an output partition; these ascend. The chunk's first
    /// and last segments have no bounds, so that together they cover every key.
    ///
    /// `first` is the number of the first; `standing_core` the core partitions of a chunk that is appended to.
    pub fn specs(&self, partitions: &[u32], first: u32, standing_core: u32) -> Vec<ShardSpec> {
        let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
        let last = partitions.len().saturating_sub(1);
        (first..)
            .zip(partitions.iter().enumerate())
            .map(|(partition_num, (position, partition))| {
                let range = usize::try_from(*partition)
                    .ok()
                    .and_then(|partition| self.ranges.get(partition));
                match range {
                    Some(range) if !self.columns.is_empty() => ShardSpec::Range {
                        dimensions: self.columns.clone(),
                        start: (position > 0).then(|| self.tuple(&range.start)).flatten(),
                        end: (position < last)
                            .then(|| range.end.as_ref().and_then(|end| self.tuple(end)))
                            .flatten(),
                        partition_num,
                        num_core_partitions: count,
                    },
                    _ => ShardSpec::Numbered {
                        partition_num,
                        partitions: if self.replaces { count } else { standing_core },
                    },
                }
            })
            .collect()
    }

    fn tuple(&self, key: &[u8]) -> Option<Vec<Option<String>>> {
        leading_texts(key, self.prefix_bytes, self.columns.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sarsen_kernel::query::SegmentGranularity;

    use super::*;

    fn target(columns: &[&str], replaces: bool) -> IngestTarget {
        IngestTarget {
            datasource: "d".to_owned(),
            replace_intervals: replaces.then(|| vec![(0, 1)]),
            segment_granularity: SegmentGranularity::All,
            rows_per_segment: 10,
            shard_columns: columns.iter().map(|&column| column.to_owned()).collect(),
            shard_reason: String::new(),
        }
    }

    /// The key of a text of at most eight bytes.
    fn key(text: &str) -> Vec<u8> {
        let mut bytes = vec![2];
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(9, 0);
        bytes.push(text.len() as u8);
        bytes
    }

    #[test]
    fn ranges_are_open_at_both_ends_of_a_chunk() {
        let ranges = Boundaries::Ranges(vec![
            KeyRange {
                start: Vec::new(),
                end: Some(key("f")),
            },
            KeyRange {
                start: key("f"),
                end: Some(key("p")),
            },
            KeyRange {
                start: key("p"),
                end: None,
            },
        ]);
        let sharding = Sharding::new(&target(&["k"], true), None, Some(&ranges));
        let bound = |text: &str| Some(vec![Some(text.to_owned())]);
        let found: Vec<_> = sharding
            .specs(&[0, 1, 2], 0, 0)
            .into_iter()
            .map(|spec| match spec {
                ShardSpec::Range {
                    start,
                    end,
                    partition_num,
                    num_core_partitions,
                    ..
                } => (partition_num, num_core_partitions, start, end),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            found,
            [
                (0, 3, None, bound("f")),
                (1, 3, bound("f"), bound("p")),
                (2, 3, bound("p"), None)
            ]
        );
    }

    #[test]
    fn without_shard_columns_segments_are_numbered() {
        let specs = |replaces, first, core| {
            Sharding::new(&target(&[], replaces), None, None).specs(&[4, 7], first, core)
        };
        let numbered = |partition_num, partitions| ShardSpec::Numbered {
            partition_num,
            partitions,
        };
        assert_eq!(specs(true, 0, 0), [numbered(0, 2), numbered(1, 2)]);
        assert_eq!(specs(false, 5, 3), [numbered(5, 3), numbered(6, 3)]);
    }
}
