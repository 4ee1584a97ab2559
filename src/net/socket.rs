//! A file descriptor and its slot: registers itself with epoll when it first has to wait, and only for what it waits for.
//!
//! `EPOLL_CTL_ADD` and `_MOD` report what is already there, so nothing is lost between a system call that says "would block" and the
//! registration. A connection that is answered and closed before it waits never meets epoll.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::Context;

use rustix::event::epoll::EventFlags;

use super::reactor::Reactor;
use super::slot::Slot;

/// A non-blocking socket of this shard.
pub(super) struct Socket {
    fd: OwnedFd,
    slot: Rc<Slot>,
    reactor: Rc<Reactor>,
    token: u64,
    interest: Cell<EventFlags>,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd, reactor: Rc<Reactor>) -> Self {
        let (token, slot) = reactor.open();
        Socket { fd, slot, reactor, token, interest: Cell::new(EventFlags::empty()) }
    }

    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(super) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(super) fn is_registered(&self) -> bool {
        !self.interest.get().is_empty()
    }

    /// The slot was drained: the task of `cx` is woken by the next edge.
    pub(super) fn wait_readable(&self, cx: &Context<'_>) -> io::Result<()> {
        self.slot.reader.wait(cx);
        self.register(EventFlags::empty())
    }

    /// The send buffer was full: the task of `cx` is woken when there is room.
    pub(super) fn wait_writable(&self, cx: &Context<'_>) -> io::Result<()> {
        self.slot.writer.wait(cx);
        self.register(EventFlags::OUT)
    }

    /// Interest in input and the end is there from the first registration on; `more` is added to it.
    pub(super) fn register(&self, more: EventFlags) -> io::Result<()> {
        let have = self.interest.get();
        let want = have | more | EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        if have == want {
            return Ok(());
        }
        if have.is_empty() {
            self.reactor.add(self.fd.as_fd(), self.token, want)?;
        } else {
            self.reactor.modify(self.fd.as_fd(), self.token, want)?;
        }
        self.interest.set(want);
        Ok(())
    }

    /// Leaves epoll although the descriptor stays open elsewhere (a listener that a successor holds too).
    pub(super) fn deregister(&self) {
        if self.is_registered() && self.reactor.delete(self.fd.as_fd()).is_ok() {
            self.interest.set(EventFlags::empty());
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Socket {
    /// Closing the descriptor, which follows, takes it out of the epoll set.
    fn drop(&mut self) {
        self.reactor.close(self.token);
    }
}
