//! The live nodes, and how far each may be used.

use std::collections::HashMap;
use std::time::Instant;

use sarsen_proto::v1;

use crate::coordination::{Coordination, Heartbeats, Leader, Refusal};
use crate::ids::NodeId;
use crate::slots::WorkerNode;

/// How far the Overlord knows what a controller process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Unknown,
    Asked,
    Known,
}

#[derive(Debug)]
struct Member {
    node: v1::Node,
    listing: Listing,
    /// A call to it failed and it has not been heard of since.
    suspect: bool,
}

/// What a heartbeat brought.
#[derive(Debug, Default)]
pub struct Beat {
    pub joined: bool,
    /// Earlier processes at the same address.
    pub replaced: Vec<v1::Node>,
}

/// The live nodes.
#[derive(Debug)]
pub struct Members {
    nodes: HashMap<NodeId, Member>,
    coordination: Box<dyn Coordination>,
}

impl Default for Members {
    fn default() -> Self {
        Members::new(Box::new(Heartbeats::default()))
    }
}

impl Members {
    /// Nobody yet; `coordination` says who joins and leaves.
    pub fn new(coordination: Box<dyn Coordination>) -> Self {
        Members {
            nodes: HashMap::new(),
            coordination,
        }
    }

    /// Takes note of a heartbeat.
    ///
    /// # Errors
    /// From a process that does not belong to this cluster.
    pub fn beat(&mut self, node: v1::Node, now: Instant) -> Result<Beat, Refusal> {
        self.coordination.alive(&node, now)?;
        let id = NodeId::from(node.node_id.as_str());
        if let Some(member) = self.nodes.get_mut(&id) {
            member.suspect = false;
            member.node = node;
            return Ok(Beat::default());
        }
        let same_place =
            |member: &Member| member.node.address == node.address && member.node.role == node.role;
        let replaced = self.take(|_, member| same_place(member));
        self.nodes.insert(
            id,
            Member {
                node,
                listing: Listing::Unknown,
                suspect: false,
            },
        );
        Ok(Beat {
            joined: true,
            replaced,
        })
    }

    /// Removes the nodes that are gone, and answers them.
    pub fn sweep(&mut self, now: Instant) -> Vec<v1::Node> {
        let known: Vec<NodeId> = self.nodes.keys().cloned().collect();
        let gone = self.coordination.gone(&known, now);
        self.take(|id, _| gone.contains(id))
    }

    /// Forgets all nodes: those that live will be heard of again.
    pub fn clear(&mut self) {
        self.take(|_, _| true);
    }

    fn take(&mut self, gone: impl Fn(&NodeId, &Member) -> bool) -> Vec<v1::Node> {
        let taken: Vec<(NodeId, Member)> = self.nodes.extract_if(|id, member| gone(id, member)).collect();
        let forgotten = taken.into_iter().map(|(id, member)| {
            self.coordination.forget(&id);
            member.node
        });
        forgotten.collect()
    }

    /// Which Overlord leads.
    pub fn leader(&self) -> Leader {
        self.coordination.leader()
    }

    /// All live nodes, by role and address.
    pub fn all(&self) -> Vec<v1::Node> {
        let mut nodes: Vec<v1::Node> = self.nodes.values().map(|member| member.node.clone()).collect();
        nodes.sort_by(|a, b| (a.role, &a.address).cmp(&(b.role, &b.address)));
        nodes
    }

    pub fn get(&self, id: &NodeId) -> Option<&v1::Node> {
        self.nodes.get(id).map(|member| &member.node)
    }

    /// Forgets a node that said goodbye.
    pub fn leave(&mut self, id: &NodeId) -> Option<v1::Node> {
        self.take(|known, _| known == id).pop()
    }

    /// Live workers that take new tasks, in a steady order.
    pub fn workers(&self) -> Vec<WorkerNode> {
        let mut workers: Vec<WorkerNode> = self
            .nodes
            .iter()
            .filter(|(_, member)| member.node.role() == v1::Role::Worker && !member.node.draining)
            .map(|(id, member)| WorkerNode {
                id: id.clone(),
                address: member.node.address.clone(),
                slots: member.node.slots,
                version: member.node.version.clone(),
                labels: member.node.labels.clone(),
            })
            .collect();
        workers.sort_by(|a, b| a.address.cmp(&b.address));
        workers
    }

    /// Controllers that may be given tasks: those whose running tasks are known, whose last call did not fail, and that are
    /// not about to end.
    pub fn controllers(&self) -> impl Iterator<Item = (&NodeId, &v1::Node)> {
        self.nodes
            .iter()
            .filter(|(_, member)| {
                member.node.role() == v1::Role::Controller
                    && member.listing == Listing::Known
                    && !member.suspect
                    && !member.node.draining
            })
            .map(|(id, member)| (id, &member.node))
    }

    /// Whether this is a controller that has yet to be asked what it runs; it counts as asked from now on.
    pub fn begin_listing(&mut self, id: &NodeId) -> bool {
        match self.nodes.get_mut(id) {
            Some(member)
                if member.node.role() == v1::Role::Controller && member.listing == Listing::Unknown =>
            {
                member.listing = Listing::Asked;
                true
            }
            _ => false,
        }
    }

    /// The controller answered what it runs.
    pub fn listed(&mut self, id: &NodeId) {
        self.set_listing(id, Listing::Known);
    }

    /// The controller did not answer: the next heartbeat asks again.
    pub fn listing_failed(&mut self, id: &NodeId) {
        self.set_listing(id, Listing::Unknown);
    }

    fn set_listing(&mut self, id: &NodeId, listing: Listing) {
        if let Some(member) = self.nodes.get_mut(id) {
            member.listing = listing;
        }
    }

    /// A call failed: nothing is given to this node before it is heard of again.
    pub fn suspect(&mut self, id: &NodeId) {
        if let Some(member) = self.nodes.get_mut(id) {
            member.suspect = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::coordination::DEAD_AFTER;

    fn node(id: &str, address: &str) -> v1::Node {
        let role = v1::Role::Worker.into();
        v1::Node {
            node_id: id.to_owned(),
            address: address.to_owned(),
            role,
            slots: 1,
            ..Default::default()
        }
    }

    #[test]
    fn a_silent_node_is_dead_after_five_seconds() {
        let start = Instant::now();
        let mut members = Members::default();
        assert!(members.beat(node("a", "one"), start).unwrap().joined);
        for second in 1..5 {
            let now = start + Duration::from_secs(second);
            assert!(members.sweep(now).is_empty());
            assert!(!members.beat(node("a", "one"), start).unwrap().joined);
        }
        assert_eq!(members.sweep(start + DEAD_AFTER).len(), 1);
        assert!(members.all().is_empty());
    }

    #[test]
    fn silence_while_the_overlord_itself_stood_still_kills_nobody() {
        let start = Instant::now();
        let mut members = Members::default();
        members.beat(node("a", "one"), start).unwrap();
        assert!(members.sweep(start).is_empty());
        assert!(members.sweep(start + Duration::from_secs(60)).is_empty());
    }

    #[test]
    fn a_new_process_at_an_address_replaces_the_old_one() {
        let start = Instant::now();
        let mut members = Members::default();
        members.beat(node("a", "one"), start).unwrap();
        let beat = members.beat(node("b", "one"), start).unwrap();
        assert!(beat.joined);
        assert_eq!(beat.replaced.len(), 1);
        assert_eq!(members.all().len(), 1);
    }
}
