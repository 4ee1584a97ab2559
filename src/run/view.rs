//! What the admin sees of a node.

use std::sync::{Arc, Mutex, PoisonError};

use mesher_actors::admin::{Shard, View};
use mesher_actors::status::StatusBoard;
use serde_json::json;

/// A node as the admin sees it.
#[derive(Debug)]
pub(super) struct NodeView {
    status: Arc<StatusBoard>,
    shards: Mutex<Vec<Shard>>,
}

impl NodeView {
    /// Nothing runs yet.
    pub(super) fn new(status: Arc<StatusBoard>) -> Arc<Self> {
        Arc::new(Self { status, shards: Mutex::default() })
    }

    /// Puts down how a shard runs, or that it does not.
    pub(super) fn set_shard(&self, index: usize, shard: Shard) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = shards.get_mut(index) {
            *slot = shard;
        } else {
            shards.push(shard);
        }
    }
}

impl View for NodeView {
    fn readiness(&self) -> Vec<String> {
        self.status.readiness()
    }

    fn shards(&self) -> Vec<Shard> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn details(&self) -> serde_json::Value {
        serde_json::to_value(self.status.read()).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }
}
