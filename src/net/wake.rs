//! Wakers of a shard's tasks, usable from any thread, and the list on which other threads leave their wake-ups. Knows no task.
//!
//! On the shard's own thread a wake-up goes straight into the run queue. From another thread it goes on the list, and the eventfd is
//! written only if the shard has announced that it sleeps. No wake-up is lost, because each side tells before it looks:
//!
//! ```text
//! shard:  asleep = true;      fence;  look at the list  ── empty ──> block in epoll_wait
//! other:  push on the list;   fence;  asleep? ── yes ──> asleep = false, write the eventfd
//! ```
//!
//! Whichever fence comes first, the other side sees what was told before it. A shard that is awake costs others no system call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

use super::shard;

/// A task of a shard. The generation tells it from an earlier task in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// The waker of one task.
pub(super) struct Handle {
    key: Key,
    /// In the run queue or on the list already. Invariant: cleared only by the shard, right before it polls the task.
    queued: AtomicBool,
    remote: Arc<Remote>,
}

/// What other threads see of a shard. Outlives it as long as wakers are about.
pub(super) struct Remote {
    /// Bounded by the number of tasks: a task is on it once at most.
    list: Mutex<Vec<Key>>,
    /// The list is not empty. Spares the shard the lock in nearly every turn.
    pending: AtomicBool,
    asleep: AtomicBool,
    eventfd: OwnedFd,
}

// === impl Handle ===

impl Handle {
    /// The handle of a task that was just put into the run queue.
    pub(super) fn queued(key: Key, remote: Arc<Remote>) -> Arc<Self> {
        Arc::new(Handle { key, queued: AtomicBool::new(true), remote })
    }

    /// The shard is about to poll the task: wake-ups from here on queue it again. An exchange and not a store, so that the poll sees
    /// what a waker that found it queued wrote before.
    pub(super) fn dequeue(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if !shard::enqueue_here(&self.remote, self.key) {
            self.remote.push(self.key);
        }
    }
}

// === impl Remote ===

impl Remote {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Remote {
            list: Mutex::default(),
            pending: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            eventfd: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// The shard will block unless [`drain`](Self::drain), called after this, finds something.
    pub(super) fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(super) fn announce_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Swaps the list, if it has anything, with the empty `into`. Returns whether it had.
    pub(super) fn drain(&self, into: &mut Vec<Key>) -> bool {
        if !self.pending.load(Ordering::SeqCst) {
            return false;
        }
        let mut list = self.lock();
        self.pending.store(false, Ordering::SeqCst);
        std::mem::swap(&mut *list, into);
        true
    }

    fn push(&self, key: Key) {
        let mut list = self.lock();
        list.push(key);
        self.pending.store(true, Ordering::SeqCst);
        drop(list);
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can fail only when the counter is at its maximum, and then the event is there already.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Key>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Remote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
