//! The driver without io_uring: look through the run queue, turn the reactor, again.

use std::io;
use std::time::Duration;

use super::queue::RunQueue;
use super::shard::Shard;

/// Tasks polled between two looks at the sockets. Enough for a full batch of events at usual loads; few enough that tasks which keep
/// each other busy hold the sockets up for microseconds only.
const BATCH: usize = 64;

/// Runs the shard until `ended` says so.
pub(super) fn run(shard: &Shard, ended: impl Fn() -> bool) -> io::Result<()> {
    while !ended() {
        let idle = run_batch(shard);
        if ended() {
            break;
        }
        shard.turn(if idle { None } else { Some(Duration::ZERO) })?;
    }
    Ok(())
}

/// Returns whether nothing is left to run.
fn run_batch(shard: &Shard) -> bool {
    let RunQueue::Own(queue) = shard.queue();
    for _ in 0..BATCH {
        // Two statements: the borrow must not last while the task runs, which may queue others.
        let next = queue.borrow_mut().pop_front();
        let Some(key) = next else { return true };
        shard.run(key);
    }
    queue.borrow().is_empty()
}
