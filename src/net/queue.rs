//! The run queue: which task is polled next. The one place where the two drivers differ for a task.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::wake::Key;

/// The run queue of one shard, first in, first out.
pub(super) enum RunQueue {
    /// Ours, looked through by the epoll driver.
    Own(RefCell<VecDeque<Key>>),
}

impl RunQueue {
    pub(super) fn own() -> Self {
        RunQueue::Own(RefCell::default())
    }

    /// A task that was just spawned.
    pub(super) fn push_new(&self, key: Key) {
        match self {
            RunQueue::Own(queue) => queue.borrow_mut().push_back(key),
        }
    }

    /// A task that was woken.
    pub(super) fn push(&self, key: Key) {
        match self {
            RunQueue::Own(queue) => queue.borrow_mut().push_back(key),
        }
    }
}
