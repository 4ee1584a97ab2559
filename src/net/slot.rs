//! What a shard knows about one socket: whether a system call may succeed, and who waits for it. Knows no file descriptor.
//!
//! The reactor writes what epoll reports; the socket's owner reads and clears. The rule that loses nothing: "readable" is cleared only by
//! a system call that found the socket drained *after* it was registered. Whatever arrives later is a new edge.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};

/// May a read succeed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Drained: only the next edge changes that.
    Drained,
    /// Not known; a read will tell.
    Unknown,
    /// An edge came that nobody has read yet.
    Edge,
}

/// One socket's state. Shared by its owner and the reactor's table.
pub(super) struct Slot {
    pub(super) readable: Cell<Readiness>,
    pub(super) writable: Cell<bool>,
    /// End, reset or error was reported: reads will not wait any more.
    pub(super) ended: Cell<bool>,
    pub(super) reader: Waiter,
    pub(super) writer: Waiter,
}

/// The task that waits. Its waker is kept afterwards, because nearly always the same task waits again: that spares a clone a wait.
#[derive(Default)]
pub(super) struct Waiter {
    waker: Cell<Option<Waker>>,
    waiting: Cell<bool>,
}

/// The reactor's table of slots, by token. A token carries a generation, so that an event for a closed socket hits nothing.
#[derive(Default)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    generation: u32,
    slot: Option<Rc<Slot>>,
}

impl Slot {
    fn new() -> Self {
        Slot {
            readable: Cell::new(Readiness::Unknown),
            writable: Cell::new(true),
            ended: Cell::new(false),
            reader: Waiter::default(),
            writer: Waiter::default(),
        }
    }

    /// A read took what was reported. `drained`: it found less than it had room for, or nothing at all, on a registered socket. Once the
    /// end was seen a read always has something to say.
    pub(super) fn consumed(&self, drained: bool) {
        if !self.ended.get() {
            self.readable.set(if drained { Readiness::Drained } else { Readiness::Unknown });
        }
    }

    /// epoll reported `input`, `output` or the end of the connection.
    pub(super) fn report(&self, input: bool, output: bool, end: bool) {
        if end {
            self.ended.set(true);
        }
        if input || end {
            self.readable.set(Readiness::Edge);
            self.reader.wake();
        }
        if output || end {
            self.writable.set(true);
            self.writer.wake();
        }
    }
}

impl Waiter {
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let waker = match self.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        self.waker.set(Some(waker));
        self.waiting.set(true);
    }

    fn wake(&self) {
        if self.waiting.replace(false)
            && let Some(waker) = self.waker.take()
        {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
    }
}

impl Slots {
    pub(super) fn insert(&mut self) -> (u64, Rc<Slot>) {
        let slot = Rc::new(Slot::new());
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, slot: None });
            (self.entries.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.slot = Some(slot.clone());
            generation = entry.generation;
        }
        (u64::from(generation) << 32 | u64::from(index), slot)
    }

    pub(super) fn find(&self, token: u64) -> Option<&Rc<Slot>> {
        let entry = self.entries.get(token as u32 as usize)?;
        entry.slot.as_ref().filter(|_| entry.generation == (token >> 32) as u32)
    }

    /// The socket is closed. Returns its slot, to be dropped outside of any borrow.
    pub(super) fn remove(&mut self, token: u64) -> Option<Rc<Slot>> {
        let entry = self.entries.get_mut(token as u32 as usize)?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(token as u32);
        entry.slot.take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_closed_sockets_token_hits_nothing_even_when_its_place_is_used_again() {
        let mut slots = Slots::default();
        let (old, _) = slots.insert();
        slots.remove(old);
        let (new, slot) = slots.insert();
        assert_eq!(old as u32, new as u32);
        assert!(slots.find(old).is_none());
        assert!(Rc::ptr_eq(slots.find(new).unwrap(), &slot));
    }

    #[test]
    fn nothing_drains_a_connection_whose_end_was_reported() {
        let slot = Slot::new();
        slot.consumed(true);
        assert_eq!(slot.readable.get(), Readiness::Drained);
        slot.report(false, false, true);
        slot.consumed(true);
        assert_eq!(slot.readable.get(), Readiness::Edge);
        assert!(slot.writable.get());
    }

    #[test]
    fn an_event_wakes_only_who_waits_for_it() {
        struct Count(std::sync::atomic::AtomicU32);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::new(Count(0.into()));
        let waker = Waker::from(count.clone());
        let woken = || count.0.load(std::sync::atomic::Ordering::Relaxed);
        let slot = Slot::new();
        slot.reader.wait(&Context::from_waker(&waker));
        slot.report(false, true, false);
        assert_eq!(woken(), 0, "output does not concern a reader");
        slot.report(true, false, false);
        assert_eq!(woken(), 1);
        slot.report(true, false, false);
        assert_eq!(woken(), 1, "who was woken must wait again first");
    }
}
