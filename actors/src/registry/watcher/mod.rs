//! Keeps a registry source running and what it said last, whatever happens to it.
//!
//! What is watched, and until when, is decided by a pure table; the actor around it moves messages and timers.

mod actor;
mod memory;
mod names;

pub(crate) use actor::{Order, SetStatus, Watcher};
pub(crate) use memory::{Memory, Settings};
