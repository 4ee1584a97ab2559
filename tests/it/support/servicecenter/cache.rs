//! The server's cache of instances, which lags behind the store.
//!
//! Intuition: changes go through a door that opens only after 0.3 s without anybody coming. Deletions wait in a room
//! before that door, two seconds at a time; a change of the same instance sends its waiting deletion away. When most
//! of the instances known ask to leave within one such time, the room holds each of them for as long as its own
//! health check would have waited (self-preservation).
//!
//! ```text
//!   change    |--------- 0.3 s quiet ------> applied, published
//!   deletion  |---- 2 s window ----|-- 0.3 s quiet --> applied, published
//!   most gone |---- 2 s ----|---- 2 s ----| ... healthCheck.interval * (times + 1) ... |-- 0.3 s -->
//! ```

use std::collections::BTreeMap;

use super::store::{Entry, Key, with_prefix};

/// Quiet time before changes are taken in.
const QUIET_MS: u64 = 300;
/// Time deletions wait.
const WINDOW_MS: u64 = 2000;
/// Changes taken in at once even without quiet.
const BLOCK: usize = 1000;
/// Self-preservation needs more instances than this.
const PRESERVED_MIN: usize = 5;
/// Share of instances that must be leaving for it, in percent.
const PRESERVED_PERCENT: usize = 80;
/// Longest that a deletion is held, seconds.
const HELD_MAX_S: i64 = 600;

/// What happened to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
    Delete,
}

/// A change on its way.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) change: Change,
    pub(super) key: Key,
    pub(super) entry: Entry,
}

/// The cache and what waits before it.
#[derive(Default)]
pub(super) struct Cache {
    entries: BTreeMap<Key, Entry>,
    queue: Vec<Event>,
    flush_ms: Option<u64>,
    held: BTreeMap<Key, Held>,
    /// When the running window ends. Windows follow one another; the first deletion in a quiet time starts one anew.
    window_ms: u64,
    window_restarted: bool,
    preserving: bool,
}

struct Held {
    event: Event,
    left_s: i64,
}

impl Cache {
    /// A cache that starts from what the store has.
    pub(super) fn loaded(entries: BTreeMap<Key, Entry>, now_ms: u64) -> Self {
        Self { entries, window_ms: now_ms + WINDOW_MS, ..Self::default() }
    }

    /// One instance.
    pub(super) fn instance(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The instances of a service.
    pub(super) fn of_service(&self, tenant: &str, service: &str) -> Vec<(Key, Entry)> {
        with_prefix(&self.entries, tenant, service, "")
    }

    /// All instances.
    pub(super) fn all(&self) -> &BTreeMap<Key, Entry> {
        &self.entries
    }

    /// Takes note of a change in the store.
    pub(super) fn note(&mut self, event: Event, now_ms: u64) {
        if event.change == Change::Delete {
            let left_s = event.entry.instance.patience_s();
            let left_s = if (1..=HELD_MAX_S).contains(&left_s) { left_s } else { HELD_MAX_S };
            self.held.entry(event.key.clone()).or_insert(Held { event, left_s });
        } else {
            self.held.remove(&event.key);
            self.queue_up(event, now_ms);
        }
        self.watch_for_mass_deletion(now_ms);
    }

    fn watch_for_mass_deletion(&mut self, now_ms: u64) {
        if self.held.is_empty() || self.preserving {
            return;
        }
        let total = self.entries.len();
        self.preserving = total > PRESERVED_MIN && self.held.len() * 100 >= total * PRESERVED_PERCENT;
        if !self.window_restarted {
            self.window_restarted = true;
            self.window_ms = now_ms + WINDOW_MS;
        }
    }

    fn queue_up(&mut self, event: Event, now_ms: u64) {
        self.queue.push(event);
        self.flush_ms = Some(if self.queue.len() >= BLOCK { now_ms } else { now_ms + QUIET_MS });
    }

    /// When something is to be done.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let window = (!self.held.is_empty()).then_some(self.window_ms);
        self.flush_ms.into_iter().chain(window).min()
    }

    /// Does what is due; returns the changes taken in, as they are published.
    pub(super) fn run(&mut self, now_ms: u64) -> Vec<Event> {
        while self.window_ms <= now_ms {
            self.end_window(self.window_ms);
        }
        if self.flush_ms.is_none_or(|at| at > now_ms) {
            return Vec::new();
        }
        self.flush_ms = None;
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().map(|event| self.take_in(event)).collect()
    }

    fn end_window(&mut self, at_ms: u64) {
        self.window_restarted = false;
        self.window_ms = at_ms + WINDOW_MS;
        let preserving = self.preserving;
        let window_s = i64::try_from(WINDOW_MS / 1000).unwrap();
        let mut leaving = Vec::new();
        self.held.retain(|_, held| {
            held.left_s -= window_s;
            let stays = preserving && held.left_s > 0;
            if !stays {
                leaving.push(held.event.clone());
            }
            stays
        });
        for event in leaving {
            self.queue_up(event, at_ms);
        }
        if self.held.is_empty() {
            self.preserving = false;
        }
    }

    /// Applies a change, named by what it does to the cache rather than to the store.
    fn take_in(&mut self, mut event: Event) -> Event {
        if event.change == Change::Delete {
            if let Some(known) = self.entries.remove(&event.key) {
                event.entry = known;
            }
            return event;
        }
        let known = self.entries.insert(event.key.clone(), event.entry.clone()).is_some();
        event.change = if known { Change::Update } else { Change::Create };
        event
    }
}
