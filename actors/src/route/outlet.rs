//! One shard's end of the wire, and what that shard has missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::snapshot::port::ControlPort;
use crate::snapshot::{ServiceMap, Snapshot};

/// Names that a shard may have missed. A shard that is further behind is stuck; should it recover, it learns of
/// services that exist, and of those gone when they are asked for again.
const OWED_MAX: usize = 8192;

/// Hands snapshots to a shard, so that the shard sees every change though it may not see every snapshot.
#[derive(Debug)]
pub(super) struct Outlet {
    port: ControlPort,
    /// Changed since the last snapshot the shard took.
    owed: BTreeSet<Arc<str>>,
}

// === impl Outlet ===

impl Outlet {
    pub(super) fn new(port: ControlPort) -> Self {
        Self { port, owed: BTreeSet::new() }
    }

    pub(super) fn port(&self) -> &ControlPort {
        &self.port
    }

    /// Takes note that these names changed.
    pub(super) fn owe(&mut self, names: &[Arc<str>], services: &ServiceMap) {
        self.owed.extend(names.iter().cloned());
        if self.owed.len() > OWED_MAX {
            self.owed.retain(|name| services.contains_key(name));
        }
    }

    /// True if the shard has not been given everything.
    pub(super) fn is_behind(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Gives the shard what it is owed, if it can take it.
    pub(super) fn offer(&mut self, latest: &Arc<Snapshot>) {
        if self.port.lookups.is_disconnected() {
            // The shard is gone for good.
            self.owed.clear();
        }
        if self.owed.is_empty() {
            return;
        }
        // Most often the shard took the snapshot before, and the latest is exactly what it is owed.
        let snapshot = if self.owed.iter().eq(latest.changed.iter()) {
            latest.clone()
        } else {
            let changed = self.owed.iter().cloned().collect();
            Arc::new(Snapshot { version: latest.version, services: latest.services.clone(), changed })
        };
        if self.port.publish(snapshot) {
            self.owed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Resolution;
    use crate::snapshot::port::{SNAPSHOTS_WAITING_MAX, pair};

    fn snapshot(version: u64, name: &str) -> Arc<Snapshot> {
        let mut services = ServiceMap::default();
        services.insert(name.into(), Resolution::Absent("".into()));
        Arc::new(Snapshot { version, services: Arc::new(services), changed: [name.into()].into() })
    }

    #[test]
    fn a_shard_that_is_gone_is_owed_nothing() {
        let (shard, control) = pair();
        let mut outlet = Outlet::new(control);
        let latest = snapshot(1, "orders");
        outlet.owe(&latest.changed, &latest.services);
        drop(shard);
        outlet.offer(&latest);
        assert!(!outlet.is_behind());
    }

    #[test]
    fn a_shard_that_was_stuck_learns_of_every_change_it_missed() {
        let (shard, control) = pair();
        let mut outlet = Outlet::new(control);
        for version in 1..=SNAPSHOTS_WAITING_MAX as u64 + 2 {
            let latest = snapshot(version, &format!("s{version}"));
            outlet.owe(&latest.changed, &latest.services);
            outlet.offer(&latest);
        }
        assert!(outlet.is_behind());
        let taken: Vec<_> = shard.snapshots.drain().collect();
        let last = snapshot(SNAPSHOTS_WAITING_MAX as u64 + 3, "last");
        outlet.owe(&last.changed, &last.services);
        outlet.offer(&last);
        assert!(!outlet.is_behind());
        let seen: BTreeSet<_> =
            taken.into_iter().chain(shard.snapshots.drain()).flat_map(|s| s.changed.to_vec()).collect();
        assert_eq!(seen.len(), SNAPSHOTS_WAITING_MAX + 3);
    }
}
