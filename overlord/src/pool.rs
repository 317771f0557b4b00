//! Which workers a query may have: those of its controller's version, with the labels that it asks for.

use std::collections::{BTreeMap, HashMap};

use sarsen_proto::v1;

use crate::slots::WorkerNode;

/// A kind of workers. The default one is of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pool {
    pub version: Option<String>,
    pub labels: BTreeMap<String, String>,
}

impl Pool {
    /// Workers of a version, if one is given, with all of these labels.
    pub fn of(version: Option<String>, labels: &HashMap<String, String>) -> Self {
        let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        Pool {
            version,
            labels: labels.collect(),
        }
    }

    pub fn has(&self, node: &WorkerNode) -> bool {
        let of_version = self
            .version
            .as_ref()
            .is_none_or(|version| *version == node.version);
        of_version && self.is_labelled(node)
    }

    fn is_labelled(&self, node: &WorkerNode) -> bool {
        let mut labels = self.labels.iter();
        labels.all(|(key, value)| node.labels.get(key) == Some(value))
    }

    /// Whether any of `nodes` has the labels, and the version of such a controller.
    pub fn serves(&self, controller: &v1::Node, nodes: &[WorkerNode]) -> bool {
        let mut nodes = nodes.iter();
        nodes.any(|node| node.version == controller.version && self.is_labelled(node))
    }

    /// Whether a worker could belong to both.
    pub fn overlaps(&self, other: &Pool) -> bool {
        let versions = match (&self.version, &other.version) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let agrees =
            |(key, value): (&String, &String)| other.labels.get(key).is_none_or(|theirs| theirs == value);
        versions && self.labels.iter().all(agrees)
    }

    /// Those of `nodes` that belong to it.
    pub fn among(&self, nodes: &[WorkerNode]) -> Vec<WorkerNode> {
        nodes.iter().filter(|node| self.has(node)).cloned().collect()
    }

    /// Why a query waits for it while none of `nodes` belongs to it; `None` when one does.
    pub fn missing(&self, nodes: &[WorkerNode]) -> Option<String> {
        if nodes.iter().any(|node| self.has(node)) {
            return None;
        }
        let mut wanted = "no live worker".to_owned();
        if let Some(version) = &self.version {
            wanted += &format!(" of its controller's version {version}");
        }
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
            let labels: Vec<String> = labels.collect();
            wanted += &format!(" with the labels {} of its workerLabels", labels.join(", "));
        }
        let mut versions: Vec<&str> = nodes.iter().map(|node| node.version.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        Some(match versions.as_slice() {
            [] => wanted,
            versions => format!("{wanted}; live ones are of {}", versions.join(", ")),
        })
    }
}
