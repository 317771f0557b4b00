//! Who takes part and who leads, behind one interface. Implementations: [`Heartbeats`], which believes what it hears,
//! [`Fixed`], which believes what it was configured with, and [`Elected`], which hears and is told by an election who leads.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sarsen_proto::v1;

use crate::ids::NodeId;

/// A source of truth about processes.
pub trait Coordination: Debug + Send {
    /// A process says that it is alive.
    ///
    /// # Errors
    /// When it does not belong to this cluster.
    fn alive(&mut self, node: &v1::Node, now: Instant) -> Result<(), Refusal>;

    /// Those of `known` that are gone as of `now`.
    fn gone(&mut self, known: &[NodeId], now: Instant) -> Vec<NodeId>;

    /// A node is not a member any more.
    fn forget(&mut self, node: &NodeId);

    /// Who leads.
    fn leader(&self) -> Leader;
}

/// Who leads, as far as this Overlord knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Leader {
    #[default]
    Nobody,
    Ours,
    /// The one at this address.
    Other(String),
}

/// Why a node may not take part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not among this cluster's members; --member lists them")]
pub struct Refusal {
    pub address: String,
}

/// A node without a heartbeat for so long is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);

/// Time between two looks above which this process itself was stopped, and silence proves nothing.
const OWN_PAUSE: Duration = Duration::from_secs(2);

/// Membership in memory, by heartbeats; the only Overlord leads.
#[derive(Debug, Default)]
pub struct Heartbeats {
    heard: HashMap<NodeId, Instant>,
    looked: Option<Instant>,
}

impl Coordination for Heartbeats {
    fn alive(&mut self, node: &v1::Node, now: Instant) -> Result<(), Refusal> {
        self.heard.insert(NodeId::from(node.node_id.as_str()), now);
        Ok(())
    }

    fn gone(&mut self, known: &[NodeId], now: Instant) -> Vec<NodeId> {
        let paused = self
            .looked
            .is_some_and(|looked| now.saturating_duration_since(looked) > OWN_PAUSE);
        self.looked = Some(now);
        if paused {
            self.heard.values_mut().for_each(|heard| *heard = now);
        }
        let silent = |node: &&NodeId| {
            self.heard
                .get(*node)
                .is_none_or(|heard| now.saturating_duration_since(*heard) >= DEAD_AFTER)
        };
        known.iter().filter(silent).cloned().collect()
    }

    fn forget(&mut self, node: &NodeId) {
        self.heard.remove(node);
    }

    fn leader(&self) -> Leader {
        Leader::Ours
    }
}

/// Membership and leadership by configuration: only the listed addresses take part, silence kills nobody, and an address
/// is given up only for a new process at the same place. For clusters whose processes something else watches over.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    members: BTreeSet<String>,
    leader: Option<String>,
}

impl Fixed {
    /// Members by address, `http://HOST:PORT` or `HOST:PORT`; the leader's address when it is another Overlord.
    pub fn new(members: impl IntoIterator<Item = String>, leader: Option<String>) -> Self {
        let place = |address: String| match address.split_once("://") {
            Some(_) => address,
            None => format!("http://{address}"),
        };
        Fixed {
            members: members.into_iter().map(place).collect(),
            leader: leader.map(place),
        }
    }
}

impl Coordination for Fixed {
    fn alive(&mut self, node: &v1::Node, _: Instant) -> Result<(), Refusal> {
        // Gateways come and go; they are given nothing.
        if node.role() == v1::Role::Gateway || self.members.contains(&node.address) {
            return Ok(());
        }
        Err(Refusal {
            address: node.address.clone(),
        })
    }

    fn gone(&mut self, _: &[NodeId], _: Instant) -> Vec<NodeId> {
        Vec::new()
    }

    fn forget(&mut self, _: &NodeId) {}

    fn leader(&self) -> Leader {
        self.leader.clone().map_or(Leader::Ours, Leader::Other)
    }
}

/// Membership by heartbeats, leadership by an election among several Overlords.
#[derive(Debug)]
pub struct Elected {
    heartbeats: Heartbeats,
    leadership: Leadership,
}

/// What an election has found; shared with who runs it.
#[derive(Debug, Clone, Default)]
pub struct Leadership(Arc<Mutex<Leader>>);

impl Leadership {
    pub fn get(&self) -> Leader {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, leader: Leader) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = leader;
    }
}

impl Elected {
    /// Led by whoever `leadership` says.
    pub fn new(leadership: Leadership) -> Self {
        Elected {
            heartbeats: Heartbeats::default(),
            leadership,
        }
    }
}

impl Coordination for Elected {
    fn alive(&mut self, node: &v1::Node, now: Instant) -> Result<(), Refusal> {
        self.heartbeats.alive(node, now)
    }

    fn gone(&mut self, known: &[NodeId], now: Instant) -> Vec<NodeId> {
        self.heartbeats.gone(known, now)
    }

    fn forget(&mut self, node: &NodeId) {
        self.heartbeats.forget(node);
    }

    fn leader(&self) -> Leader {
        self.leadership.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(address: &str) -> v1::Node {
        v1::Node {
            node_id: address.to_owned(),
            address: address.to_owned(),
            role: v1::Role::Worker.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_fixed_member_outlives_silence_and_a_stranger_is_refused() {
        let start = Instant::now();
        let mut fixed = Fixed::new(["10.0.0.3:8091".to_owned()], None);
        assert_eq!(fixed.alive(&worker("http://10.0.0.3:8091"), start), Ok(()));
        let refusal = fixed.alive(&worker("http://10.0.0.4:8091"), start).unwrap_err();
        assert!(refusal.to_string().contains("10.0.0.4:8091"));
        let known = [NodeId::from("http://10.0.0.3:8091")];
        assert!(fixed.gone(&known, start + 10 * DEAD_AFTER).is_empty());
        let mut heartbeats = Heartbeats::default();
        heartbeats.alive(&worker("http://10.0.0.3:8091"), start).unwrap();
        assert_eq!(heartbeats.gone(&known, start + DEAD_AFTER), known);
    }

    #[test]
    fn a_fixed_leader_is_named() {
        let fixed = Fixed::new([], Some("10.0.0.1:8081".to_owned()));
        assert_eq!(fixed.leader(), Leader::Other("http://10.0.0.1:8081".to_owned()));
        assert_eq!(Heartbeats::default().leader(), Leader::Ours);
    }
}
