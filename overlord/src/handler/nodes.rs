//! Heartbeats.

use std::sync::Arc;
use std::time::Instant;

use sarsen_proto::v1;

use crate::error::RequestError;
use crate::ids::NodeId;
use crate::overlord::Overlord;
use crate::queue;
use crate::time::now_ms;

impl Overlord {
    pub(crate) fn heartbeat(
        self: &Arc<Self>,
        request: v1::HeartbeatRequest,
    ) -> Result<v1::HeartbeatReply, RequestError> {
        let node = request
            .node
            .ok_or_else(|| RequestError::Invalid("a heartbeat names its node".to_owned()))?;
        let id = NodeId::from(node.node_id.as_str());
        let (beat, ask) = {
            let mut state = self.state();
            let beat = state
                .members
                .beat(node.clone(), Instant::now())
                .map_err(|refusal| {
                    tracing::warn!(node = node.node_id, %refusal, "refused a node");
                    RequestError::Refused(refusal)
                })?;
            (beat, state.members.begin_listing(&id))
        };
        if beat.joined {
            tracing::info!(node = node.node_id, address = node.address, role = ?node.role(), "node joined");
        }
        self.bury(&beat.replaced);
        if ask {
            self.tracker.spawn(Arc::clone(self).adopt(node));
        } else if node.role() == v1::Role::Controller {
            // One that was under suspicion is not any more.
            self.dispatch();
        }
        if beat.joined {
            self.grant();
        }
        Ok(v1::HeartbeatReply {
            overlord_id: self.id.clone(),
            ready: true,
        })
    }

    /// A node ends: nobody has to find out.
    pub(crate) fn goodbye(
        self: &Arc<Self>,
        request: v1::HeartbeatRequest,
    ) -> Result<v1::Empty, RequestError> {
        let node = request
            .node
            .ok_or_else(|| RequestError::Invalid("a goodbye names its node".to_owned()))?;
        let left = self.state().members.leave(&NodeId::from(node.node_id.as_str()));
        if let Some(node) = left {
            tracing::info!(node = node.node_id, address = node.address, role = ?node.role(), "node says goodbye");
            self.part_with(&node, queue::leave_controller);
            self.grant();
            self.dispatch();
        }
        Ok(v1::Empty {})
    }

    pub(crate) fn list_nodes(&self) -> v1::NodeList {
        v1::NodeList {
            nodes: self.state().members.all(),
        }
    }

    /// Who this is, and its time.
    pub(crate) fn introduce(&self) -> v1::Introduction {
        let nodes = self.state().members.all();
        let count = |role: v1::Role| {
            let of_role = nodes.iter().filter(|node| node.role() == role).count();
            u32::try_from(of_role).unwrap_or(u32::MAX)
        };
        v1::Introduction {
            overlord_id: self.id.clone(),
            version: self.network.version().to_string(),
            time_ms: now_ms(),
            controllers: count(v1::Role::Controller),
            workers: count(v1::Role::Worker),
        }
    }
}
