//! What is known of every service, and what of it is not published yet. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::snapshot::{Resolution, ServiceMap, Snapshot};

/// The table behind the snapshots.
#[derive(Debug, Default)]
pub(super) struct Table {
    services: ServiceMap,
    changed: HashSet<Arc<str>>,
    /// What the shards were given last.
    pub(super) published: Snapshot,
}

// === impl Table ===

impl Table {
    /// Takes in what is known of a service now; none: nothing any more. An equal service keeps its old `Arc` and
    /// is no change.
    pub(super) fn set(&mut self, service: &Arc<str>, resolution: Option<Resolution>) {
        let same = match (self.services.get(service), &resolution) {
            (Some(Resolution::Known(old)), Some(Resolution::Known(new))) => old == new,
            (Some(Resolution::Absent(old)), Some(Resolution::Absent(new))) => old == new,
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        match resolution {
            Some(resolution) => self.services.insert(service.clone(), resolution),
            None => self.services.remove(service),
        };
        self.changed.insert(service.clone());
    }

    /// True if there is something the shards have not been given.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Makes the next snapshot of everything that is known.
    pub(super) fn publish(&mut self) -> &Snapshot {
        let mut changed: Vec<_> = self.changed.drain().collect();
        changed.sort_unstable();
        self.published = Snapshot {
            version: self.published.version + 1,
            services: Arc::new(self.services.clone()),
            changed: changed.into(),
        };
        &self.published
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;
    use crate::snapshot::{Policy, Service, Strategy};

    fn known(instances_total: u32) -> Option<Resolution> {
        Some(Resolution::Known(Arc::new(Service {
            name: "orders".into(),
            app: "default".into(),
            version: "1".into(),
            strategy: Strategy::RoundRobin,
            endpoints: [].into(),

            tls_endpoints: Arc::default(),
            instances_total,
            left_out: "".into(),
            policy: Policy::default(),
        })))
    }

    fn arc(snapshot: &Snapshot, service: &str) -> Arc<Service> {
        match snapshot.services.get(service) {
            Some(Resolution::Known(service)) => service.clone(),
            other => panic!("{service} is {other:?}"),
        }
    }

    #[test]
    fn an_unchanged_service_keeps_its_arc_and_is_not_listed_as_changed() {
        let mut table = Table::default();
        let (orders, users): (Arc<str>, Arc<str>) = ("orders".into(), "users".into());
        table.set(&orders, known(1));
        table.set(&users, known(1));
        let first = table.publish().clone();
        table.set(&orders, known(1));
        assert!(!table.has_changed());
        table.set(&users, known(2));
        let second = table.publish().clone();
        assert!(Arc::ptr_eq(&arc(&first, "orders"), &arc(&second, "orders")));
        assert_eq!((second.version, &*second.changed), (2, &[users][..]));
    }

    #[test]
    fn an_entry_removed_is_a_change_and_removing_nothing_is_none() {
        let mut table = Table::default();
        let orders: Arc<str> = "orders".into();
        table.set(&orders, None);
        assert!(!table.has_changed());
        table.set(&orders, Some(Resolution::Absent("no such service".into())));
        assert!(table.publish().services.contains_key("orders"));
        table.set(&orders, None);
        let last = table.publish();
        assert_eq!((last.services.len(), &*last.changed), (0, &[orders][..]));
    }
}
