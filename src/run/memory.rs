//! What a node does about its memory: looks at it now and then, has its shards shed load while it is short, and says so.
//!
//! ```text
//!   short:     no connection accepted, requests answered 503 and their connections closed; responses under way go on;
//!              idle upstream connections and spare buffers are let go, and what was freed goes back to the system
//!   no longer: as before
//! ```
//!
//! Shards learn of it by a command, so that no request asks anybody. A shutdown looks no more: it takes nothing on anyway.

use std::time::Instant;

use mesher_actors::config::{Config, Report};
use mesher_actors::memory::{Memory, Pressure, Watch};
use tracing::{info, warn};

use super::node::Node;
use crate::net;
use crate::shard::{Command, Handle};

/// What the process may hold by the configuration; none if it says nothing.
pub(super) fn bytes_max(config: &Config, report: &mut Report) -> Option<u64> {
    const KEY: &str = "mesher.limit.memoryBytes";
    config.raw(KEY)?;
    Some(config.integer(KEY, 0..=1 << 50, 0, report))
}

/// The memory of the process, looked at in time.
#[derive(Debug, Default)]
pub(super) struct MemoryWatch(Option<(Watch, Instant)>);

impl MemoryWatch {
    /// Watches what `mesher.limit.memoryBytes` says, or the control group; a limit that makes no sense is logged.
    pub(super) fn begin(configured: Option<u64>) -> Self {
        match Watch::begin(configured) {
            Ok(watch) => Self(watch.map(|watch| (watch, Instant::now()))),
            Err(why) => {
                warn!(why, "raise mesher.limit.memoryBytes, or the control group's limit");
                Self::default()
            }
        }
    }

    /// When to look; never if there is no limit.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.as_ref().map(|(_, due)| *due)
    }

    /// What was seen last.
    pub(super) fn memory(&self) -> Option<Memory> {
        self.0.as_ref().map(|(watch, _)| watch.memory().clone())
    }

    fn is_short(&self) -> bool {
        self.0.as_ref().is_some_and(|(watch, _)| watch.memory().pressure == Pressure::High)
    }

    /// Looks; true if it has become short, or is no longer.
    fn look(&mut self) -> bool {
        let Some((watch, due)) = &mut self.0 else { return false };
        let has_changed = watch.look();
        *due = Instant::now() + watch.look_again_in();
        has_changed
    }
}

impl Node {
    /// Looks at the memory and acts.
    pub(super) fn watch_memory(&mut self) {
        let has_changed = self.memory.look();
        let is_short = self.memory.is_short();
        if has_changed || is_short {
            self.tell_all(|| Command::ShortOfMemory(is_short));
        }
        if is_short {
            net::release_free_memory();
        }
        let Some(memory) = self.memory.memory() else { return };
        let (used, limit) = (memory.used_bytes, memory.limit_bytes);
        if has_changed && is_short {
            warn!(used, limit, "memory is short: new requests are answered 503, nothing is accepted");
        } else if has_changed {
            info!(used, limit, "memory is no longer short: serving as before");
        }
        self.view.set_memory(Some(memory));
    }

    /// Goes over to another limit, which a reload may have brought.
    pub(super) fn renew_memory_watch(&mut self) {
        if self.memory.is_short() {
            self.tell_all(|| Command::ShortOfMemory(false));
        }
        self.memory = MemoryWatch::begin(self.settings.memory_bytes_max);
        self.view.set_memory(self.memory.memory());
    }

    /// Tells a shard that has just begun.
    pub(super) fn tell_of_memory(&self, shard: &Handle) {
        if self.memory.is_short() {
            shard.tell(Command::ShortOfMemory(true));
        }
    }
}
