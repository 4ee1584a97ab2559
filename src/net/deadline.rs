//! The coarse time-out of a connection: one for its whole life, moved with every request at the price of a store.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::reactor::Reactor;
use super::shard;

/// A time-out in ticks of 100 ms. Never early; late by at most two ticks.
///
/// Moving it later costs no timer operation; see [`poll_expired`](Self::poll_expired) for who is woken.
pub struct Deadline {
    index: u32,
    reactor: Rc<Reactor>,
}

impl Deadline {
    /// A deadline that is not armed.
    ///
    /// # Panics
    /// Outside of a shard.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it works on a shard only, which a default would hide")]
    pub fn new() -> Self {
        let reactor = shard::reactor();
        let index = reactor.wheel().borrow_mut().insert();
        Deadline { index, reactor }
    }

    /// It passes at `at`, whatever was set before.
    pub fn arm(&self, at: Instant) {
        let due = self.reactor.tick_after(at);
        self.reactor.wheel().borrow_mut().arm(self.index, due);
    }

    /// It never passes, until it is armed again.
    pub fn disarm(&self) {
        self.reactor.wheel().borrow_mut().disarm(self.index);
    }

    /// Ready once the armed time has passed. Otherwise the task of `cx` is woken when it does; only the last task that asked is.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let tick = self.reactor.tick();
        let mut wheel = self.reactor.wheel().borrow_mut();
        if wheel.is_due(self.index, tick) {
            return Poll::Ready(());
        }
        let replaced = wheel.register(self.index, cx.waker());
        drop(wheel);
        drop(replaced); // outside of the borrow: dropping a waker may run code of others
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let waker = self.reactor.wheel().borrow_mut().remove(self.index);
        drop(waker);
    }
}
