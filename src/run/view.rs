//! What the admin sees of a node.

use std::sync::{Arc, Mutex, PoisonError};

use mesher_actors::admin::{ConfigState, Shard, View};
use mesher_actors::memory::Memory;
use mesher_actors::status::StatusBoard;
use mesher_actors::tls::Expiry;
use serde_json::json;

/// A node as the admin sees it.
#[derive(Debug)]
pub(super) struct NodeView {
    status: Arc<StatusBoard>,
    shards: Mutex<Vec<Shard>>,
    config: Mutex<ConfigState>,
    memory: Mutex<Option<Memory>>,
}

impl NodeView {
    /// Nothing runs yet.
    pub(super) fn new(status: Arc<StatusBoard>) -> Arc<Self> {
        Arc::new(Self {
            status,
            shards: Mutex::default(),
            config: Mutex::default(),
            memory: Mutex::default(),
        })
    }

    /// Puts down how a reload went.
    pub(super) fn reloaded(&self, outcome: Result<(), String>) -> ConfigState {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.reloads += 1;
        config.generation += u64::from(outcome.is_ok());
        config.last_reload_ok = outcome.is_ok();
        config.error = outcome.err().unwrap_or_default();
        config.clone()
    }

    /// Puts down how much memory is in use.
    pub(super) fn set_memory(&self, memory: Option<Memory>) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
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

    fn config(&self) -> ConfigState {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn certificates(&self) -> Vec<Expiry> {
        self.status.read().certificates
    }

    fn shards(&self) -> Vec<Shard> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn memory(&self) -> Option<Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn details(&self) -> serde_json::Value {
        serde_json::to_value(self.status.read()).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }
}
