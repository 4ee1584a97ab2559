//! One look after the other, and what was seen.

use std::time::Duration;

use serde::Serialize;

use super::limit::{Bound, Group};
use super::pressure::{Pressure, leaves_no_room};
use super::usage;

/// The memory of the process as of the last look, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes it may hold.
    pub limit_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Where the limit comes from.
    pub bound: Bound,
    /// Whether it is short.
    pub pressure: Pressure,
    /// How often it has become short since the start.
    pub shortages: u64,
}

/// Watches the memory of this process against a limit.
#[derive(Debug)]
pub struct Watch {
    group: Option<Group>,
    memory: Memory,
}

impl Watch {
    /// Watches `configured` bytes, or the control group's limit if nothing is configured. None if there is no limit, or
    /// zero, or nothing to be seen.
    ///
    /// # Errors
    /// The sentence to log if the limit is so small that even without load there is hardly room: it is not watched then,
    /// since shedding load would not help and never end.
    pub fn begin(configured: Option<u64>) -> Result<Option<Self>, String> {
        let group = if configured.is_none() { Group::find() } else { None };
        let Some(limit) = configured.or_else(|| group.as_ref()?.limit()).filter(|limit| *limit > 0) else {
            return Ok(None);
        };
        let bound = if group.is_some() { Bound::ControlGroup } else { Bound::Configured };
        let memory =
            Memory { limit_bytes: limit, used_bytes: 0, bound, pressure: Pressure::Low, shortages: 0 };
        let mut watch = Self { group, memory };
        let Some(used) = watch.used() else { return Ok(None) };
        if leaves_no_room(used, limit) {
            return Err(format!(
                "a limit of {limit} bytes leaves no room: {used} are in use without any load; memory is not watched"
            ));
        }
        watch.memory.used_bytes = used;
        Ok(Some(watch))
    }

    /// Looks; true if it has become short, or is no longer.
    pub fn look(&mut self) -> bool {
        self.note(self.used())
    }

    /// What cannot be seen (out of file descriptors, most likely) is as it was: a flood must not end the shedding of load.
    fn note(&mut self, used: Option<u64>) -> bool {
        let used = used.unwrap_or(self.memory.used_bytes);
        let before = self.memory.pressure;
        self.memory.used_bytes = used;
        self.memory.pressure = before.after(used, self.memory.limit_bytes);
        let has_changed = self.memory.pressure != before;
        self.memory.shortages += u64::from(has_changed && before == Pressure::Low);
        has_changed
    }

    /// When to look again.
    #[must_use]
    pub fn look_again_in(&self) -> Duration {
        self.memory.pressure.look_again_in(self.memory.used_bytes, self.memory.limit_bytes)
    }

    /// What was seen last.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn used(&self) -> Option<u64> {
        let sockets = self.group.as_ref().and_then(Group::socket_bytes).unwrap_or_default();
        Some(usage::look()?.saturating_add(sockets))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn zero_is_no_limit() {
        assert!(Watch::begin(Some(0)).unwrap().is_none());
    }

    #[test]
    fn a_limit_below_what_is_used_without_load_is_not_watched_and_says_so() {
        let why = Watch::begin(Some(1 << 20)).unwrap_err();
        assert!(why.contains("a limit of 1048576 bytes leaves no room"), "{why}");
    }

    #[test]
    fn memory_becomes_short_once_and_is_no_longer_when_it_is_let_go() {
        let mut watch = Watch::begin(Some(1 << 40)).unwrap().unwrap();
        assert!(!watch.look(), "there is room");
        assert!(watch.memory().used_bytes > 1 << 20, "{:?}", watch.memory());
        assert!(watch.note(Some(1 << 40)) && !watch.note(Some(1 << 40)));
        assert_eq!((watch.memory().pressure, watch.memory().shortages), (Pressure::High, 1));
        assert!(watch.look());
        assert_eq!((watch.memory().pressure, watch.memory().shortages), (Pressure::Low, 1));
    }

    #[test]
    fn memory_that_cannot_be_seen_is_as_short_as_it_was() {
        let mut watch = Watch::begin(Some(1 << 40)).unwrap().unwrap();
        watch.note(Some(1 << 40));
        assert!(!watch.note(None));
        assert_eq!((watch.memory().pressure, watch.memory().used_bytes), (Pressure::High, 1 << 40));
    }
}
