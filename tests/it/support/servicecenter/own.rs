//! What a node does about itself: it registers as an instance of `SERVICECENTER` and sends itself heartbeats.
//!
//! These come each 30 s. With a shorter time to live for every instance its own is gone most of the time, as that of
//! the real server is.

use std::sync::Arc;

use super::catalog::Catalog;
use super::fake::{Fake, OWN_TENANT};
use super::model::{HealthCheck, Instance, Service};
use super::store::Key;

/// Time between two heartbeats of the server for its own instance.
const OWN_HEARTBEAT_MS: u64 = 30_000;

/// The server's own instance.
pub(super) struct Own {
    pub(super) service: Service,
    pub(super) key: Key,
    pub(super) heartbeat_ms: u64,
}

impl Fake {
    /// Registers the node at work for itself.
    pub(super) fn register_own(&mut self) {
        let service = Service {
            environment: "development".into(),
            app_id: "default".into(),
            service_name: "SERVICECENTER".into(),
            version: "0.0.1".into(),
            ..Service::default()
        };
        let mut listed = Catalog::default();
        let id = listed.add(OWN_TENANT, service.clone()).unwrap_or_default();
        let service = Service { service_id: id.clone(), ..service };
        let endpoint = &self.node().own_endpoint;
        let known = self.store.with_prefix(OWN_TENANT, &id, "");
        let known = known.into_iter().find(|(_, entry)| entry.instance.endpoints.first() == Some(endpoint));
        let key = known.map_or_else(|| (OWN_TENANT.into(), id, self.new_instance_id()), |(key, _)| key);
        self.node_mut().own = Some(Own { service, key, heartbeat_ms: self.now_ms });
        self.keep_own_instance();
    }

    /// The server's heartbeat for itself: renews its lease or registers again under the same id.
    pub(super) fn keep_own_instance(&mut self) {
        let now_ms = self.now_ms;
        let Some(own) = &mut self.node_mut().own else { return };
        own.heartbeat_ms = now_ms + OWN_HEARTBEAT_MS;
        let (key, version) = (own.key.clone(), own.service.version.clone());
        if self.store.lease(&key).is_some_and(|lease| self.store.renew(lease, now_ms)) {
            return;
        }
        let timestamp = self.timestamp();
        let instance = Arc::new(Instance {
            instance_id: key.2.clone(),
            service_id: key.1.clone(),
            endpoints: vec![self.node().own_endpoint.clone()],
            host_name: "vm".into(),
            status: "UP".into(),
            health_check: Some(HealthCheck::by_heartbeat()),
            timestamp: timestamp.clone(),
            mod_timestamp: timestamp,
            version,
            ..Instance::default()
        });
        self.register(key, instance);
    }
}
