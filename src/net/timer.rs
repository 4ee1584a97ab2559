//! Exact timers of a shard: few, short-lived, each a future ([`sleep`]). Time-outs of connections belong on a [`Deadline`](super::Deadline).
//!
//! The reactor asks for the earliest one before it sleeps and fires what is due after each turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::reactor::Reactor;
use super::shard;

/// What "for ever" is cut to, so that no sum of times overflows.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Ready once `duration` has passed: never early, late by about a millisecond on an idle shard.
///
/// # Panics
/// Outside of a shard.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::on(shard::reactor(), duration)
}

/// The future of [`sleep`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    at: Instant,
    /// The key in the queue, beside `at`, once it is armed.
    id: Option<u64>,
    reactor: Rc<Reactor>,
}

/// Wakes a task once, at an exact moment: for what a [`Deadline`](super::Deadline) in it would notice a tick too late. Dropping it
/// calls it off.
#[must_use = "an alarm that is dropped wakes nobody"]
pub struct Alarm {
    _sleep: Sleep,
}

/// The armed timers of one shard, earliest first.
#[derive(Default)]
pub(super) struct Timers {
    queue: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_id: Cell<u64>,
}

// === impl Sleep ===

impl Sleep {
    pub(super) fn on(reactor: Rc<Reactor>, duration: Duration) -> Self {
        let at = Instant::now() + duration.min(DURATION_MAX);
        Sleep { at, id: None, reactor }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.reactor.now() >= self.at {
            return Poll::Ready(());
        }
        let timers = self.reactor.timers();
        match self.id {
            Some(id) => timers.renew((self.at, id), cx.waker()),
            None => self.id = Some(timers.arm(self.at, cx.waker())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.reactor.timers().disarm((self.at, id));
        }
    }
}

// === impl Alarm ===

impl Alarm {
    /// Wakes the task of `cx` at `at`: never early, late by about a millisecond on an idle shard. It does not, if that has passed.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn set(at: Instant, cx: &mut Context<'_>) -> Self {
        let mut sleep = Sleep { at, id: None, reactor: shard::reactor() };
        let _ = Pin::new(&mut sleep).poll(cx);
        Self { _sleep: sleep }
    }
}

// === impl Timers ===

impl Timers {
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.queue.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes whose time has come by `now`.
    pub(super) fn fire(&self, now: Instant) {
        while let Some(waker) = self.pop_due(now) {
            waker.wake();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Waker> {
        let mut queue = self.queue.borrow_mut();
        let first = queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn arm(&self, at: Instant, waker: &Waker) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        self.queue.borrow_mut().insert((at, id), waker.clone());
        id
    }

    /// Another task may wait now than the one that armed the timer; one that fired is armed again.
    fn renew(&self, key: (Instant, u64), waker: &Waker) {
        let current = self.queue.borrow().get(&key).is_some_and(|w| w.will_wake(waker));
        if !current {
            let replaced = self.queue.borrow_mut().insert(key, waker.clone());
            drop(replaced); // outside of the borrow: dropping a waker may run code of others
        }
    }

    fn disarm(&self, key: (Instant, u64)) {
        let removed = self.queue.borrow_mut().remove(&key);
        drop(removed);
    }
}
