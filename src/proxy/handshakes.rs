//! TLS handshakes that are under way on a shard: how many there may be, and which gives way to a new one. Pure: time is an
//! argument.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mesher_actors::snapshot::stats::ShardStats;

/// Handshakes at a time. One may hold 64 KiB of the client's, so all of them 64 MiB; at some 5000 a second, 1024 clients that
/// come at once wait for 200 ms. More are closed at once, unless another gives way: a client that is refused tries again, one
/// that is kept waiting holds what it has.
const UNDER_WAY_MAX: usize = 1024;
/// Two round trips and a packet that is lost and sent again take less. One that takes longer gives way to a new one where there
/// is no room: clients that begin a handshake and leave it at that keep nobody out. One that takes less never does: else many
/// that come at once would push each other out.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// Those under way, the oldest first.
#[derive(Debug, Default)]
pub struct Handshakes(RefCell<VecDeque<Rc<Place>>>);

#[derive(Debug)]
struct Place {
    begun: Instant,
    gives_way: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One of them, while it lives.
#[derive(Debug)]
pub(super) struct UnderWay<'a> {
    all: &'a Handshakes,
    place: Rc<Place>,
    stats: &'a ShardStats,
}

impl Handshakes {
    /// One more, for which a slow one may give way. None: there is no room.
    pub(super) fn begin<'a>(&'a self, now: Instant, stats: &'a ShardStats) -> Option<UnderWay<'a>> {
        let mut all = self.0.borrow_mut();
        if all.len() >= UNDER_WAY_MAX {
            let is_slow = |place: &Rc<Place>| now.saturating_duration_since(place.begun) >= SLOW_AFTER;
            all.front().filter(|oldest| is_slow(oldest))?;
            if let Some(oldest) = all.pop_front() {
                oldest.give_way();
            }
        }
        let place = Rc::new(Place { begun: now, gives_way: Cell::new(false), waker: RefCell::default() });
        all.push_back(place.clone());
        drop(all);
        stats.handshakes_in_flight.add(1);
        Some(UnderWay { all: self, place, stats })
    }
}

impl Place {
    fn give_way(&self) {
        self.gives_way.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl UnderWay<'_> {
    /// Ready once it is to end for another.
    pub(super) fn poll_gives_way(&self, cx: &Context<'_>) -> Poll<()> {
        if self.place.gives_way.get() {
            return Poll::Ready(());
        }
        self.place.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.stats.handshakes_in_flight.sub(1);
        let mut all = self.all.0.borrow_mut();
        // Near the front, where they all take about as long.
        if let Some(at) = all.iter().position(|place| Rc::ptr_eq(place, &self.place)) {
            all.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gives_way(one: &UnderWay<'_>) -> bool {
        one.poll_gives_way(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn no_more_are_under_way_than_allowed() {
        let (all, stats, now) = (Handshakes::default(), ShardStats::default(), Instant::now());
        let mut under_way: Vec<_> = (0..UNDER_WAY_MAX).map(|_| all.begin(now, &stats).unwrap()).collect();
        assert!(
            all.begin(now + SLOW_AFTER / 2, &stats).is_none(),
            "those that take no longer than they must stay"
        );
        under_way.pop();
        assert!(all.begin(now, &stats).is_some(), "one that has ended makes room");
        drop(under_way);
        assert!(all.0.borrow().is_empty());
        assert_eq!(stats.handshakes_in_flight.value(), 0);
    }

    #[test]
    fn slow_ones_give_way_to_new_ones_the_slowest_first() {
        let (all, stats, now) = (Handshakes::default(), ShardStats::default(), Instant::now());
        let step = SLOW_AFTER / 1000;
        let places = (0..UNDER_WAY_MAX).map(|_| all.begin(now, &stats).unwrap());
        let slow: Vec<_> = places.collect();
        assert!(!gives_way(&slow[0]));
        let first = all.begin(now + SLOW_AFTER, &stats).unwrap();
        let second = all.begin(now + SLOW_AFTER + step, &stats).unwrap();
        assert!(gives_way(&slow[0]) && gives_way(&slow[1]) && !gives_way(&slow[2]));
        drop(slow);
        assert_eq!(all.0.borrow().len(), 2, "each is counted out once");
        assert!(!gives_way(&first) && !gives_way(&second));
    }

    #[test]
    fn one_that_waits_for_its_peer_is_woken_to_give_way() {
        let (all, stats, now) = (Handshakes::default(), ShardStats::default(), Instant::now());
        let under_way: Vec<_> = (0..UNDER_WAY_MAX).map(|_| all.begin(now, &stats).unwrap()).collect();
        let woken = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(under_way[0].poll_gives_way(&Context::from_waker(&waker)).is_pending());
        assert!(all.begin(now + SLOW_AFTER, &stats).is_some());
        assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
