//! How much memory the process holds, of how much it may, and when that is so much that load must be shed.
//!
//! ```text
//!   limit  (configured, or of the control group) --\
//!                                                    watch --> pressure --> shards shed load, and let go of what they keep
//!   usage  (resident memory, socket buffers)    --/                          for later, until there is room again
//! ```
//!
//! Without a limit nothing is watched. Knows no shard and no clock: whoever runs a node looks as often as
//! [`Watch::look_again_in`] says, and acts.
//!
//! The address space (`RLIMIT_AS`) is no limit in this sense: what allocator and rings reserve of it is not memory, and it
//! does not shrink when memory is let go.

mod limit;
mod pressure;
mod usage;
mod watch;

pub use limit::Bound;
pub use pressure::Pressure;
pub(crate) use usage::resident_bytes;
pub use watch::{Memory, Watch};
