//! Heartbeats: the first of an instance renews its lease at once; later ones wait for the next second and are
//! answered with the last result meanwhile. So a 200 proves little, and the first heartbeat after an instance was
//! lost and registered again may still bring the old failure.

use std::collections::BTreeMap;

use super::store::{Key, Store};

/// Time between two renewals of one lease.
const TICK_MS: u64 = 1000;
/// The first of them after the start of a node.
const FIRST_TICK_MS: u64 = 300;
/// Idle time after which an instance counts as new again.
const FORGET_MS: u64 = 120_000;

/// Renewals under way.
pub(super) struct Renewals {
    /// When the node started.
    since_ms: u64,
    /// The tick that something waits for.
    tick_ms: Option<u64>,
    known: BTreeMap<Key, Renewal>,
}

struct Renewal {
    renewed: bool,
    /// Lease to be renewed at the next tick.
    waiting: Option<u64>,
    used_ms: u64,
}

impl Renewals {
    /// None yet; the server started at `since_ms`.
    pub(super) fn new(since_ms: u64) -> Self {
        Self { since_ms, tick_ms: None, known: BTreeMap::new() }
    }

    /// A heartbeat for the lease of an instance; false when its lease is gone as far as the server knows.
    pub(super) fn keep_alive(&mut self, key: &Key, lease: u64, store: &mut Store, now_ms: u64) -> bool {
        self.known.retain(|_, renewal| now_ms < renewal.used_ms + FORGET_MS);
        if let Some(renewal) = self.known.get_mut(key) {
            renewal.used_ms = now_ms;
            renewal.waiting = Some(lease);
            let first_ms = self.since_ms + FIRST_TICK_MS;
            let ticks = now_ms.checked_sub(first_ms).map_or(0, |passed_ms| passed_ms / TICK_MS + 1);
            self.tick_ms.get_or_insert(first_ms + ticks * TICK_MS);
            return renewal.renewed;
        }
        let renewed = store.renew(lease, now_ms);
        self.known.insert(key.clone(), Renewal { renewed, waiting: None, used_ms: now_ms });
        renewed
    }

    /// When the next renewal is to be done.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.tick_ms
    }

    /// Renews what waits, if it is time.
    pub(super) fn run(&mut self, store: &mut Store, now_ms: u64) {
        if self.tick_ms.is_none_or(|tick_ms| tick_ms > now_ms) {
            return;
        }
        self.tick_ms = None;
        for renewal in self.known.values_mut() {
            if let Some(lease) = renewal.waiting.take() {
                renewal.renewed = store.renew(lease, now_ms);
            }
        }
    }
}
