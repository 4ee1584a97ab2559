//! One shard: a thread with its own listeners, connections and pools, that shares nothing with the others. (A connection
//! that it accepts may be given to another: [`Sibling`].)
//!
//! [`start`] makes the thread and hands back a [`Handle`]; inside, one task accepts for each listener, one applies
//! snapshots, and each connection has its own. The shard ends when it is told to close and its last connection has
//! ended, or at once when it is cut.

mod accept;
mod siblings;
mod snapshots;
mod worker;

pub use siblings::Sibling;
pub use worker::{Command, Handle, ListenerSpec, ShardSpec, start};
