//! Sockets, time and tasks of the data plane. Nothing above this module names the kernel, glommio, a timer or an executor.
//!
//! A *shard* is one thread that owns everything it touches: its connections, its pools, its timers. Nothing is shared between shards.
//! All sockets of a shard sit in one edge-triggered epoll set ([`Stream`], [`Listener`]). Two *drivers* can turn that set, and the same
//! tasks run on both:
//!
//! - `uring`: glommio's executor. The driver is one more task in glommio's run queue; it blocks in `epoll_wait` when nothing on the shard
//!   is runnable, and lets glommio sleep on its ring after 100 ms of silence.
//! - `epoll`: a small executor of our own without a single io_uring system call, for kernels and containers that refuse io_uring.
//!
//! [`preflight`] decides which one runs and says why; [`spawn_shard`] starts a shard and tests it before it serves.
//!
//! How the parts lean on each other, lowest first:
//! pure rules (`wheel`, `polling`, `seldom`, `turn`) → one turn of the event loop (`slot`, `timer`, `reactor`) → what waits on it (`socket`,
//! `tcp`, `tls`, `stream`, `linger`, `listener`, `deadline`, `outstanding`; `tokio_io` for libraries) → tasks and wake-ups (`wake`,
//! `task`, `queue`, `shard`) → who turns the loop (`epoll`, `uring`) → `selftest` and `thread`. `preflight` asks the kernel; `handover` gives sockets to another process; `sys` holds the only `unsafe` calls.
//!
//! What callers must know:
//! - Everything but [`bind`], [`preflight`], [`spawn_shard`], [`release_free_memory`] and the hand-over works on a shard only and panics elsewhere.
//! - Wakers work from any thread, exactly: a channel that another thread fills wakes a shard's task without loss.
//! - A task that never has to wait is made to yield by [`Stream`] and [`Listener`]; one that computes must call [`yield_now`] itself.
//! - [`now`] stands still while tasks run. What takes long reads the clock itself.

mod deadline;
mod driver;
mod epoll;
mod handover;
mod linger;
mod listener;
mod outstanding;
mod polling;
mod preflight;
mod queue;
mod reactor;
mod scratch;
mod seldom;
mod selftest;
mod shard;
mod slot;
mod socket;
mod stream;
mod sys;
mod task;
mod tcp;
mod thread;
mod timer;
mod tls;
mod tokio_io;
mod turn;
mod uring;
mod wake;
mod wheel;

pub use deadline::Deadline;
pub use driver::{Driver, DriverChoice};
pub use handover::{HANDED_OVER_MAX, hand_over, stdin_socket, take_over};
pub use linger::linger;
pub use listener::{Accepted, Listener, bind};
pub use outstanding::{Outstanding, outstanding};
pub use preflight::{Refusal, preflight};
pub use scratch::{SCRATCH_BYTES, with_scratch};
pub use seldom::Seldom;
pub use shard::{now, panics, report_to, spawn, spawn_with, turns, yield_now};
pub use stream::Stream;
pub use sys::release_free_memory;
pub use thread::{ShardOptions, ShardThread, spawn_shard};
pub use timer::{Alarm, Sleep, sleep};
pub use tls::{TlsError, fuzzing};
pub use turn::Turn;

#[cfg(test)]
pub(crate) mod tests;
