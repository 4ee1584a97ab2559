//! What ends connections that would be kept: a shutdown, how far it has come, and waking those that idle; want of memory.
//!
//! ```text
//!   Serving ---SIGTERM---> Announcing ---grace over, peers know---> Closing ---time-out---> (the shard ends)
//!     answers keep           answers say                idle connections end at once,
//!     connections open       `Connection: close`        the others with their request
//! ```

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Where the shutdown stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Not shutting down.
    #[default]
    Serving,
    /// Everything is served, no connection is kept.
    Announcing,
    /// Nothing new is taken on.
    Closing,
}

/// The shutdown of one shard. Connections that wait for a request leave their waker in a slot of their own; listeners
/// have a slot too, so that what they still accept is waited for.
#[derive(Debug, Default)]
pub struct Drain {
    phase: Cell<Phase>,
    short_of_memory: Cell<bool>,
    idle: RefCell<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
    /// Who waits for the last connection to end.
    emptied: Option<Waker>,
}

/// A connection's place among those to wake.
#[derive(Debug)]
pub struct Seat(u32);

impl Drain {
    /// Where the shutdown stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// May connections be kept for another request? Not in a shutdown, and not while memory is short.
    #[must_use]
    pub fn keeps_connections(&self) -> bool {
        self.phase.get() == Phase::Serving && !self.short_of_memory.get()
    }

    /// Memory is short, or is no longer: unlike a shutdown this passes.
    pub fn set_short_of_memory(&self, short: bool) {
        self.short_of_memory.set(short);
    }

    /// Nothing new is to be taken on for the moment.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.short_of_memory.get()
    }

    /// Goes on to a later phase and wakes all idle connections; an earlier one is ignored.
    pub fn advance(&self, phase: Phase) {
        if phase > self.phase.get() {
            self.phase.set(phase);
            for waker in self.idle.borrow_mut().wakers.iter_mut().filter_map(Option::take) {
                waker.wake();
            }
        }
    }

    /// A place for a new connection or listener; [`Drain::leave`] gives it back.
    pub fn enter(&self) -> Seat {
        let mut slots = self.idle.borrow_mut();
        if let Some(slot) = slots.free.pop() {
            return Seat(slot);
        }
        slots.wakers.push(None);
        Seat(u32::try_from(slots.wakers.len() - 1).unwrap_or(u32::MAX))
    }

    /// The connection has ended.
    #[expect(clippy::needless_pass_by_value, reason = "a seat is given back once")]
    pub fn leave(&self, seat: Seat) {
        let mut slots = self.idle.borrow_mut();
        if let Some(waker) = slots.wakers.get_mut(seat.0 as usize) {
            *waker = None;
            slots.free.push(seat.0);
        }
        if slots.free.len() == slots.wakers.len()
            && let Some(waker) = slots.emptied.take()
        {
            waker.wake();
        }
    }

    /// Waits until there is no connection and no listener any more.
    pub async fn emptied(&self) {
        poll_fn(|cx| {
            let mut slots = self.idle.borrow_mut();
            if slots.free.len() == slots.wakers.len() {
                return Poll::Ready(());
            }
            slots.emptied = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// True if an idle connection is to end now; otherwise its task is woken when it is.
    pub fn ends_idle(&self, seat: &Seat, cx: &Context<'_>) -> bool {
        if self.phase.get() == Phase::Closing {
            return true;
        }
        if let Some(slot) = self.idle.borrow_mut().wakers.get_mut(seat.0 as usize)
            && !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *slot = Some(cx.waker().clone());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn closing_wakes_each_idle_connection_and_tells_it_to_end() {
        let (drain, count) = (Drain::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let (one, two) = (drain.enter(), drain.enter());
        let cx = Context::from_waker(&waker);
        assert!(!drain.ends_idle(&one, &cx) && !drain.ends_idle(&two, &cx));
        drain.advance(Phase::Closing);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(drain.ends_idle(&one, &cx));
    }

    #[test]
    fn an_ended_connection_is_not_woken_and_its_place_is_used_again() {
        let (drain, count) = (Drain::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let seat = drain.enter();
        let first = seat.0;
        assert!(!drain.ends_idle(&seat, &Context::from_waker(&waker)));
        drain.leave(seat);
        drain.advance(Phase::Announcing);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(drain.enter().0, first);
    }

    #[test]
    fn want_of_memory_passes_and_keeps_no_connection_meanwhile() {
        let drain = Drain::default();
        drain.set_short_of_memory(true);
        assert!(!drain.keeps_connections());
        drain.set_short_of_memory(false);
        assert!(drain.keeps_connections());
    }

    #[test]
    fn a_shutdown_never_goes_back() {
        let drain = Drain::default();
        drain.advance(Phase::Closing);
        drain.advance(Phase::Announcing);
        assert_eq!(drain.phase(), Phase::Closing);
        assert!(!drain.keeps_connections());
    }
}
