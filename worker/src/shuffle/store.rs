//! The outputs of all work orders of one process.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sarsen_kernel::ids::WorkOrderId;

use super::Output;
use crate::ticket::TicketKey;

/// Names one output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutputKey {
    pub query_id: String,
    pub order: WorkOrderId,
}

/// Outputs by the work order that made them. Consumers of the same process read from here; the Flight service serves
/// the others.
#[derive(Debug, Clone, Default)]
pub struct ShuffleStore {
    outputs: Arc<RwLock<HashMap<OutputKey, Held>>>,
}

/// An output, and the key that tickets for it are signed with.
#[derive(Debug, Clone)]
pub struct Held {
    pub output: Arc<Output>,
    pub ticket_key: TicketKey,
}

impl ShuffleStore {
    pub fn insert(&self, key: OutputKey, held: Held) {
        self.outputs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, held);
    }

    pub fn get(&self, key: &OutputKey) -> Option<Held> {
        self.outputs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    /// Forgets an output; its memory and files go once nobody reads them any more.
    pub fn remove(&self, key: &OutputKey) {
        self.outputs
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// Outputs held now.
    pub fn len(&self) -> usize {
        self.outputs.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
