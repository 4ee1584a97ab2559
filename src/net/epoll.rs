//! The driver without io_uring: look through the run queue, turn the reactor, again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::queue::RunQueue;
use super::shard::{Main, Shard};
use super::wake::Key;

/// Tasks polled between two looks at the sockets. Enough for a full batch of events at usual loads; few enough that tasks which keep
/// each other busy hold the sockets up for microseconds only.
const BATCH: usize = 64;

/// Runs `main` and whatever it spawns until it has ended.
pub(super) fn run(shard: &Rc<Shard>, main: Main) -> io::Result<()> {
    shard.enter();
    let ended = main.ended.clone();
    shard.spawn(main.task);
    let result = turn_until(shard, || ended.get());
    shard.leave();
    result
}

/// Keeps this thread on one CPU.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

fn turn_until(shard: &Shard, ended: impl Fn() -> bool) -> io::Result<()> {
    let RunQueue::Own(queue) = shard.queue() else { return Err(io::ErrorKind::InvalidInput.into()) };
    loop {
        let idle = run_batch(shard, queue);
        if ended() {
            return Ok(());
        }
        shard.turn(if idle { None } else { Some(Duration::ZERO) })?;
    }
}

/// Returns whether nothing is left to run.
fn run_batch(shard: &Shard, queue: &RefCell<VecDeque<Key>>) -> bool {
    for _ in 0..BATCH {
        // Two statements: the borrow must not last while the task runs, which may queue others.
        let next = queue.borrow_mut().pop_front();
        let Some(key) = next else { return true };
        shard.run(key);
    }
    queue.borrow().is_empty()
}
