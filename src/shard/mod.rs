//! One shard: a thread with its own listeners, connections and pools, that shares nothing with the others.
//!
//! [`start`] makes the thread and hands back a [`Handle`]; inside, one task accepts for each listener, one applies
//! snapshots, and each connection has its own. The shard ends when it is told to close and its last connection has
//! ended, or at once when it is cut.

mod accept;
mod snapshots;
mod worker;

pub use worker::{Command, Handle, ListenerSpec, ShardSpec, start};
