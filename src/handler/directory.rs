//! The services a shard knows, kept up to date from snapshots.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use mesher_actors::snapshot::{Resolution, Service, Snapshot};

use super::Target;

/// What the shard knows of a name.
#[derive(Debug, Clone)]
pub enum Entry {
    /// It can be called.
    Known(Rc<Target>),
    /// The registry does not have it; the sentence says since when or why.
    Absent(Arc<str>),
}

/// Services by name.
#[derive(Debug, Default)]
pub struct Directory {
    entries: HashMap<Arc<str>, Entry, foldhash::fast::RandomState>,
}

impl Directory {
    /// What is known of a name; `None` if nobody asked yet.
    #[must_use]
    pub fn find(&self, service: &str) -> Option<&Entry> {
        self.entries.get(service)
    }

    /// Brings the entries of `changed` up to date. `make` builds the target of a new or changed service from the
    /// one it replaces.
    pub fn apply(
        &mut self,
        snapshot: &Snapshot,
        changed: &[Arc<str>],
        mut make: impl FnMut(&Arc<Service>, Option<&Target>) -> Rc<Target>,
    ) {
        for name in changed {
            match snapshot.services.get(name) {
                Some(Resolution::Known(service)) => {
                    let old = match self.entries.get(name) {
                        Some(Entry::Known(old)) if Arc::ptr_eq(&old.service, service) => continue,
                        Some(Entry::Known(old)) => Some(old.clone()),
                        _ => None,
                    };
                    let target = make(service, old.as_deref());
                    self.entries.insert(name.clone(), Entry::Known(target));
                }
                Some(Resolution::Absent(why)) => {
                    self.entries.insert(name.clone(), Entry::Absent(why.clone()));
                }
                None => {
                    self.entries.remove(name);
                }
            }
        }
    }

    /// Puts another target in the place of each.
    pub fn renew(&mut self, mut make: impl FnMut(&Target) -> Rc<Target>) {
        for entry in self.entries.values_mut() {
            if let Entry::Known(target) = entry {
                *target = make(target);
            }
        }
    }

    /// Targets of all known services.
    pub fn targets(&self) -> impl Iterator<Item = &Rc<Target>> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Known(target) => Some(target),
            Entry::Absent(_) => None,
        })
    }
}
