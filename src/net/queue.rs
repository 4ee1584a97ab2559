//! The run queue: which task is polled next. The one place where the two drivers differ for a task.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::shard::Shard;
use super::uring::Shells;
use super::wake::Key;

/// The run queue of one shard, first in, first out.
pub(super) enum RunQueue {
    /// Ours, looked through by the epoll driver.
    Own(RefCell<VecDeque<Key>>),
    /// glommio's.
    Glommio(Shells),
}

impl RunQueue {
    pub(super) fn own() -> Self {
        RunQueue::Own(RefCell::default())
    }

    pub(super) fn glommio() -> Self {
        RunQueue::Glommio(Shells::new())
    }

    /// A task that was just spawned on `shard`.
    pub(super) fn push_new(&self, shard: &Rc<Shard>, key: Key) {
        match self {
            RunQueue::Own(queue) => queue.borrow_mut().push_back(key),
            RunQueue::Glommio(shells) => shells.spawn(shard, key),
        }
    }

    /// A task that was woken.
    pub(super) fn push(&self, key: Key) {
        match self {
            RunQueue::Own(queue) => queue.borrow_mut().push_back(key),
            RunQueue::Glommio(shells) => shells.wake(key),
        }
    }
}
