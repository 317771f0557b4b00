//! Labels of nodes: what an operator says of a process (`zone=a`), and what a query may ask of its workers.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use clap::Args;

/// Flags of every role that is a member of the cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelOptions {
    /// Label KEY=VALUE of this process; may be given several times. The context parameter workerLabels asks for them.
    #[arg(long = "label", env = "SARSEN_LABELS", value_delimiter = ',')]
    pub labels: Vec<Label>,
}

impl LabelOptions {
    /// Values by key; of a key that is given twice the last one.
    pub fn by_key(&self) -> HashMap<String, String> {
        let pairs = self.labels.iter();
        pairs
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect()
    }
}

/// One label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub key: String,
    pub value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if is_word(key) && is_word(value) => Ok(Label {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(format!(
                "`{text}` is not a label: expected KEY=VALUE of letters, digits, `-`, `_`, `.` and `/`"
            )),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// Whether it may be the key or the value of a label.
pub fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn labels_are_keys_and_values() {
        let label: Label = "topology.kubernetes.io/zone=eu-1a".parse().unwrap();
        assert_eq!(
            (label.key.as_str(), label.value.as_str()),
            ("topology.kubernetes.io/zone", "eu-1a")
        );
        for malformed in ["zone", "zone=", "=a", "zone=a b", "a=b=c"] {
            assert!(malformed.parse::<Label>().is_err(), "{malformed}");
        }
    }
}
