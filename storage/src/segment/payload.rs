//! Druid's DataSegment: what the metadata store holds of a segment.

use serde::{Deserialize, Serialize};

use super::Interval;

/// A published segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSegment {
    pub data_source: String,
    pub interval: String,
    pub version: String,
    pub load_spec: LoadSpec,
    /// Names joined by commas.
    pub dimensions: String,
    pub metrics: String,
    pub shard_spec: ShardSpec,
    pub binary_version: u32,
    pub size: u64,
    #[serde(default)]
    pub total_rows: u64,
    #[serde(rename = "identifier", default)]
    pub id: String,
}

/// Where the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadSpec {
    #[serde(rename = "type")]
    pub kind: String,
    /// Below deep storage.
    #[serde(default)]
    pub path: String,
    /// Bucket and key of the same file, where deep storage is a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Which part of its time chunk a segment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ShardSpec {
    Numbered {
        partition_num: u32,
        partitions: u32,
    },
    Range {
        dimensions: Vec<String>,
        start: Option<Vec<Option<String>>>,
        end: Option<Vec<Option<String>>>,
        partition_num: u32,
        num_core_partitions: u32,
    },
    Tombstone {
        partition_num: u32,
    },
}

impl ShardSpec {
    /// Number within the time chunk.
    pub fn partition(&self) -> u32 {
        match self {
            ShardSpec::Numbered { partition_num, .. }
            | ShardSpec::Range { partition_num, .. }
            | ShardSpec::Tombstone { partition_num } => *partition_num,
        }
    }
}

/// Type of load spec for our Parquet files in a folder; `s3_parquet` and its like name a bucket.
pub(super) const PARQUET: &str = "parquet";

impl DataSegment {
    /// The payload of a Parquet segment.
    #[expect(clippy::too_many_arguments, reason = "one argument a field")]
    pub fn parquet(
        data_source: &str,
        interval: Interval,
        version: &str,
        load_spec: LoadSpec,
        dimensions: Vec<String>,
        shard_spec: ShardSpec,
        size: u64,
        total_rows: u64,
    ) -> Self {
        let mut id = format!("{data_source}_{}_{version}", interval.path_name());
        if shard_spec.partition() > 0 {
            id = format!("{id}_{}", shard_spec.partition());
        }
        DataSegment {
            data_source: data_source.to_owned(),
            interval: interval.to_string(),
            version: version.to_owned(),
            load_spec,
            dimensions: dimensions.join(","),
            metrics: String::new(),
            shard_spec,
            binary_version: 9,
            size,
            total_rows,
            id,
        }
    }

    /// Path of its file below deep storage; `None` for a segment that is not ours.
    pub fn path(&self) -> Option<&str> {
        self.load_spec
            .kind
            .ends_with(PARQUET)
            .then_some(self.load_spec.path.as_str())
    }

    /// Druid's segment id.
    pub fn identifier(&self) -> String {
        self.id.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_payload_has_druids_fields() {
        let interval: Interval = "2015-09-12T00:00:00.000Z/2015-09-13T00:00:00.000Z"
            .parse()
            .unwrap();
        let shard = ShardSpec::Numbered {
            partition_num: 1,
            partitions: 0,
        };
        let segment = DataSegment::parquet(
            "w",
            interval,
            "v",
            LoadSpec {
                kind: PARQUET.to_owned(),
                path: "w/p".to_owned(),
                bucket: None,
                key: None,
            },
            vec!["a".into(), "b".into()],
            shard,
            7,
            3,
        );
        let json = serde_json::to_value(&segment).unwrap();
        assert_eq!(json["dataSource"], "w");
        assert_eq!(json["dimensions"], "a,b");
        assert_eq!(
            json["shardSpec"],
            serde_json::json!({"type": "numbered", "partitionNum": 1, "partitions": 0})
        );
        assert_eq!(
            json["identifier"],
            "w_2015-09-12T00:00:00.000Z_2015-09-13T00:00:00.000Z_v_1"
        );
        assert_eq!(serde_json::from_value::<DataSegment>(json).unwrap(), segment);
    }
}
