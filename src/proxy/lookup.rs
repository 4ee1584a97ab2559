//! Requests that wait for the first lookup of their service.
//!
//! Single flight: the control plane is asked once for a name, however many requests wait for it. They go on when
//! a snapshot says something of the name, and give up after the lookup time-out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mesher_actors::snapshot::Failure;
use mesher_actors::snapshot::port::ShardPort;

use crate::handler::Reply;
use crate::net;

/// Requests that may wait on one shard. A burst at the start of a service is met; a flood of made-up names is not.
pub const WAITING_MAX: usize = 1024;

/// Who waits for which name.
#[derive(Debug)]
pub struct Lookups {
    port: ShardPort,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_name: HashMap<Arc<str>, Vec<(u64, Waker)>>,
    count: usize,
    last_ticket: u64,
}

impl Lookups {
    /// Asks through this port.
    #[must_use]
    pub fn new(port: ShardPort) -> Self {
        Self { port, waiting: RefCell::default() }
    }

    /// Waits until [`Lookups::answered`] is called for the name.
    ///
    /// # Errors
    /// The reply to give if too many wait already, or no answer came in time.
    pub async fn wait(&self, service: &str, timeout: Duration) -> Result<(), Reply> {
        let name: Arc<str> = service.into();
        let mut seat = poll_fn(|cx| Poll::Ready(self.sit_down(&name, cx))).await?;
        let mut sleep = std::pin::pin!(net::sleep(timeout));
        poll_fn(|cx| {
            if seat.is_answered(cx) {
                return Poll::Ready(Ok(()));
            }
            sleep.as_mut().poll(cx).map(|()| {
                Err(Reply::new(
                    Failure::UnknownService,
                    format!("the registry said nothing of service \"{name}\" within {timeout:?}; mesher's /ready says why"),
                ))
            })
        })
        .await
    }

    /// A snapshot has something to say of these names.
    pub fn answered(&self, names: &[Arc<str>]) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.count == 0 {
            return;
        }
        for name in names {
            if let Some(seats) = waiting.by_name.remove(name) {
                waiting.count -= seats.len();
                seats.into_iter().for_each(|(_, waker)| waker.wake());
            }
        }
    }

    fn sit_down(&self, name: &Arc<str>, cx: &Context<'_>) -> Result<Seat<'_>, Reply> {
        let mut waiting = self.waiting.borrow_mut();
        let asked = waiting.by_name.contains_key(name);
        if waiting.count >= WAITING_MAX || !(asked || self.port.ask(name.clone())) {
            return Err(Reply::new(
                Failure::Overloaded,
                "too many requests wait for their service to be looked up; try again in a moment",
            ));
        }
        waiting.last_ticket += 1;
        waiting.count += 1;
        let ticket = waiting.last_ticket;
        waiting.by_name.entry(name.clone()).or_default().push((ticket, cx.waker().clone()));
        Ok(Seat { lookups: self, name: name.clone(), ticket })
    }
}

/// One request that waits; it leaves when dropped.
struct Seat<'a> {
    lookups: &'a Lookups,
    name: Arc<str>,
    ticket: u64,
}

impl Seat<'_> {
    fn is_answered(&mut self, cx: &Context<'_>) -> bool {
        let mut waiting = self.lookups.waiting.borrow_mut();
        let seats = waiting.by_name.get_mut(&self.name);
        match seats.and_then(|seats| seats.iter_mut().find(|(ticket, _)| *ticket == self.ticket)) {
            Some((_, waker)) => {
                waker.clone_from(cx.waker());
                false
            }
            None => true,
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut waiting = self.lookups.waiting.borrow_mut();
        let Some(seats) = waiting.by_name.get_mut(&self.name) else { return };
        let before = seats.len();
        seats.retain(|(ticket, _)| *ticket != self.ticket);
        let gone = before - seats.len();
        if seats.is_empty() {
            waiting.by_name.remove(&self.name);
        }
        waiting.count -= gone;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use mesher_actors::snapshot::port::pair;

    use super::*;

    fn sit<'a>(lookups: &'a Lookups, name: &str) -> Result<Seat<'a>, Reply> {
        lookups.sit_down(&name.into(), &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_control_plane_is_asked_once_for_a_name() {
        let (port, control) = pair();
        let lookups = Lookups::new(port);
        let seats = (sit(&lookups, "a"), sit(&lookups, "a"), sit(&lookups, "b"));
        assert!(seats.0.is_ok() && seats.1.is_ok() && seats.2.is_ok());
        assert_eq!(control.lookups.drain().map(|name| name.to_string()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_answer_lets_those_go_on_who_wait_for_that_name() {
        let (port, _control) = pair();
        let lookups = Lookups::new(port);
        let cx = Context::from_waker(Waker::noop());
        let (mut a, mut b) = (sit(&lookups, "a").unwrap(), sit(&lookups, "b").unwrap());
        lookups.answered(&["a".into()]);
        assert!(a.is_answered(&cx) && !b.is_answered(&cx));
    }

    #[test]
    fn a_request_that_gives_up_leaves_its_place() {
        let (port, _control) = pair();
        let lookups = Lookups::new(port);
        drop(sit(&lookups, "a"));
        assert_eq!((lookups.waiting.borrow().count, lookups.waiting.borrow().by_name.len()), (0, 0));
    }

    #[test]
    fn beyond_the_bound_a_request_is_refused() {
        let (port, _control) = pair();
        let lookups = Lookups::new(port);
        let seats: Vec<_> = (0..WAITING_MAX).map(|_| sit(&lookups, "a")).collect();
        assert!(seats.iter().all(Result::is_ok));
        assert_eq!(sit(&lookups, "a").err().map(|reply| reply.failure), Some(Failure::Overloaded));
    }

    #[test]
    fn without_a_control_plane_a_lookup_is_refused_at_once() {
        let (port, control) = pair();
        drop(control);
        let lookups = Lookups::new(port);
        let wait = pin!(lookups.wait("a", Duration::from_secs(1)));
        let polled = wait.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(reply)) if reply.failure == Failure::Overloaded));
    }
}
