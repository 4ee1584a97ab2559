//! The truth: what etcd holds of instances, with revisions and leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Instance;

/// How long after its end etcd takes a lease away. It looks every 500 ms and revokes in rounds; recorded were 0.15
/// to 0.5 s.
const LEASE_END_LAG_MS: u64 = 350;

/// Which instance: tenant (`domain/project`), service id, instance id. Sorted so, the instances of a service lie
/// side by side, as keys in etcd do.
pub(super) type Key = (String, String, String);

/// Instances and leases.
#[derive(Default)]
pub(super) struct Store {
    revision: u64,
    leases_granted: u64,
    instances: BTreeMap<Key, Entry>,
    leases: BTreeMap<u64, Lease>,
}

/// One instance.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) instance: Arc<Instance>,
    /// Store revision of the last write.
    pub(super) revision: u64,
    lease: u64,
}

struct Lease {
    ttl_ms: u64,
    ends_ms: u64,
}

impl Store {
    /// Writes a new instance with a lease of its own; the lease it had before no longer concerns it.
    pub(super) fn register(&mut self, key: Key, instance: Arc<Instance>, ttl_ms: u64, now_ms: u64) -> Entry {
        self.leases_granted += 1;
        let lease = self.leases_granted;
        self.leases.insert(lease, Lease { ttl_ms, ends_ms: now_ms + ttl_ms });
        self.put(key, instance, lease)
    }

    /// Writes an instance that has a lease; none if it has not.
    pub(super) fn update(&mut self, key: &Key, instance: Arc<Instance>) -> Option<Entry> {
        let lease = self.lease(key)?;
        Some(self.put(key.clone(), instance, lease))
    }

    fn put(&mut self, key: Key, instance: Arc<Instance>, lease: u64) -> Entry {
        self.revision += 1;
        let entry = Entry { instance, revision: self.revision, lease };
        self.instances.insert(key, entry.clone());
        entry
    }

    /// Takes an instance away.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.instances.remove(key)?;
        self.revision += 1;
        self.leases.remove(&entry.lease);
        Some(entry)
    }

    /// The lease of an instance.
    pub(super) fn lease(&self, key: &Key) -> Option<u64> {
        self.instances.get(key).map(|entry| entry.lease)
    }

    /// Renews a lease; false when it has ended, even if etcd has not taken it away yet.
    pub(super) fn renew(&mut self, lease: u64, now_ms: u64) -> bool {
        let Some(lease) = self.leases.get_mut(&lease).filter(|lease| now_ms < lease.ends_ms) else {
            return false;
        };
        lease.ends_ms = now_ms + lease.ttl_ms;
        true
    }

    /// When the next lease is taken away.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.leases.values().map(|lease| lease.ends_ms + LEASE_END_LAG_MS).min()
    }

    /// Takes away the leases that are due, with their instances.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<(Key, Entry)> {
        let ended = |lease: &Lease| lease.ends_ms + LEASE_END_LAG_MS <= now_ms;
        let gone: Vec<u64> = self.leases.iter().filter(|(_, l)| ended(l)).map(|(id, _)| *id).collect();
        self.leases.retain(|id, _| !gone.contains(id));
        let keys: Vec<Key> = self
            .instances
            .iter()
            .filter(|(_, e)| gone.contains(&e.lease))
            .map(|(key, _)| key.clone())
            .collect();
        keys.into_iter().filter_map(|key| self.remove(&key).map(|entry| (key, entry))).collect()
    }

    /// One instance.
    pub(super) fn instance(&self, key: &Key) -> Option<&Entry> {
        self.instances.get(key)
    }

    /// Instances of a service whose ids start with `prefix`; the server asks etcd this way even for a single one.
    pub(super) fn with_prefix(&self, tenant: &str, service: &str, prefix: &str) -> Vec<(Key, Entry)> {
        with_prefix(&self.instances, tenant, service, prefix)
    }

    /// All instances.
    pub(super) fn all(&self) -> &BTreeMap<Key, Entry> {
        &self.instances
    }

    /// Forgets everything but the revision, which etcd never takes back.
    pub(super) fn clear(&mut self) {
        self.instances.clear();
        self.leases.clear();
    }
}

/// The entries of one service whose instance ids start with `prefix`.
pub(super) fn with_prefix(
    map: &BTreeMap<Key, Entry>,
    tenant: &str,
    service: &str,
    prefix: &str,
) -> Vec<(Key, Entry)> {
    let from: Key = (tenant.to_owned(), service.to_owned(), prefix.to_owned());
    map.range(from..)
        .take_while(|((t, s, id), _)| t == tenant && s == service && id.starts_with(prefix))
        .map(|(key, entry)| (key.clone(), entry.clone()))
        .collect()
}
