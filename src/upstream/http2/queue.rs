//! Who waits: first come, first served; who gives up leaves nothing behind. Knows nothing of what is waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A queue of those who wait for a `T`.
#[derive(Debug)]
pub(super) struct Queue<T> {
    places: RefCell<VecDeque<Rc<Place<T>>>>,
}

/// Waiting: ready with what was handed over. Dropping it leaves the queue; what was handed over already is dropped.
#[must_use = "a place in a queue is lost when it is dropped"]
pub(super) struct Wait<'q, T> {
    queue: &'q Queue<T>,
    place: Rc<Place<T>>,
}

struct Place<T> {
    given: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

// === impl Queue ===

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { places: RefCell::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }

    /// The last place, unless `max` wait already.
    pub(super) fn join(&self, max: usize) -> Option<Wait<'_, T>> {
        let mut places = self.places.borrow_mut();
        if places.len() >= max {
            return None;
        }
        let place = Rc::new(Place { given: Cell::new(None), waker: Cell::new(None) });
        places.push_back(place.clone());
        Some(Wait { queue: self, place })
    }

    /// Serves the first with what `make` makes; it is not called if nobody waits.
    pub(super) fn serve(&self, make: impl FnOnce() -> T) {
        let first = self.places.borrow_mut().pop_front();
        if let Some(place) = first {
            place.give(make());
        }
    }

    /// Serves all who wait now.
    pub(super) fn serve_all(&self, mut make: impl FnMut() -> T) {
        let all = self.places.take();
        for place in all {
            place.give(make());
        }
    }
}

// === impl Place ===

impl<T> Place<T> {
    fn give(&self, thing: T) {
        self.given.set(Some(thing));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<T> std::fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

// === impl Wait ===

impl<T> Future for Wait<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(thing) = self.place.given.take() {
            return Poll::Ready(thing);
        }
        self.place.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let mut places = self.queue.places.borrow_mut();
        if let Some(at) = places.iter().position(|place| Rc::ptr_eq(place, &self.place)) {
            places.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::FutureExt;

    #[test]
    fn those_who_came_first_are_served_first() {
        let queue = Queue::new();
        let (mut first, mut second) = (queue.join(8).unwrap(), queue.join(8).unwrap());
        assert_eq!((&mut first).now_or_never(), None);
        queue.serve(|| 1);
        assert_eq!((&mut second).now_or_never(), None);
        queue.serve(|| 2);
        assert_eq!((first.now_or_never(), second.now_or_never()), (Some(1), Some(2)));
    }

    #[test]
    fn nothing_is_made_when_nobody_waits() {
        let queue: Queue<()> = Queue::new();
        queue.serve(|| unreachable!());
        queue.serve_all(|| unreachable!());
    }

    #[test]
    fn no_more_than_the_bound_wait_and_who_leaves_makes_room() {
        let queue: Queue<u32> = Queue::new();
        let first = queue.join(2).unwrap();
        let second = queue.join(2).unwrap();
        assert!(queue.join(2).is_none());
        drop(first);
        let third = queue.join(2).unwrap();
        queue.serve(|| 1);
        assert_eq!((second.now_or_never(), third.now_or_never()), (Some(1), None));
    }

    #[test]
    fn all_who_wait_are_served_and_later_ones_are_not() {
        let queue = Queue::new();
        let (first, second) = (queue.join(8).unwrap(), queue.join(8).unwrap());
        queue.serve_all(|| 7);
        let third = queue.join(8).unwrap();
        assert_eq!((first.now_or_never(), second.now_or_never()), (Some(7), Some(7)));
        assert_eq!(third.now_or_never(), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_handed_to_one_who_left_is_dropped() {
        let queue = Queue::new();
        let thing = Rc::new(());
        let wait = queue.join(8).unwrap();
        queue.serve(|| thing.clone());
        assert_eq!(Rc::strong_count(&thing), 2);
        drop(wait);
        assert_eq!(Rc::strong_count(&thing), 1);
    }
}
