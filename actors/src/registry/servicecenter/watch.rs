//! When to open the watch socket, and when to take it for dead. Pure: no socket, no clock.
//!
//! ```text
//!   Off ── service known ──► Waiting ──► Opening ──► Open
//!    ▲                          ▲  failed ──┘         │ closed, refused, silent for IDLE_MAX
//!    └── service lost           └─────────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// First, factor and longest of the pauses between connections, as Mesher has them.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: f64 = 1.5;
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Silence after which a connection is dead: service-center pings every 30 s.
const IDLE_MAX: Duration = Duration::from_secs(90);
/// A connection that lasted this long was a good one: the next pause is short again. A service-center that does
/// not know us accepts the connection first, and closes it a moment later.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Ties what happens to its connection.
pub(super) type Ticket = u64;

/// The machine.
#[derive(Debug)]
pub(super) struct Watch {
    enabled: bool,
    service: Option<Arc<str>>,
    phase: Phase,
    ticket: Ticket,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Off,
    Waiting { until: Instant },
    Opening,
    Open { since: Instant, heard: Instant },
}

impl Watch {
    /// A machine that waits for [`Self::set_service`], for ever if not `enabled`.
    pub(super) const fn new(enabled: bool) -> Self {
        let backoff = Backoff::new(PAUSE_FIRST, PAUSE_FACTOR, PAUSE_MAX);
        Self { enabled, service: None, phase: Phase::Off, ticket: 0, backoff }
    }

    /// Watch as this service, or not at all.
    pub(super) fn set_service(&mut self, service: Option<&Arc<str>>, now: Instant) {
        if self.enabled && self.service.as_ref() != service {
            self.service = service.cloned();
            self.phase = if service.is_some() { Phase::Waiting { until: now } } else { Phase::Off };
            self.backoff.reset();
        }
    }

    /// The connection that is to live; any other is to be dropped.
    pub(super) fn wanted(&self) -> Option<Ticket> {
        matches!(self.phase, Phase::Opening | Phase::Open { .. }).then_some(self.ticket)
    }

    /// When [`Self::poll`] has something to do, if nothing else happens.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.phase {
            Phase::Off | Phase::Opening => None,
            Phase::Waiting { until } => Some(until),
            Phase::Open { heard, .. } => Some(heard + IDLE_MAX),
        }
    }

    /// The service to open a connection for now. `draw` is a random number of 0 to 1.
    pub(super) fn poll(&mut self, now: Instant, draw: f64) -> Option<(Ticket, Arc<str>)> {
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Opening;
                self.ticket += 1;
                Some((self.ticket, self.service.clone()?))
            }
            Phase::Open { heard, .. } if heard + IDLE_MAX <= now => {
                self.closed(now, draw);
                None
            }
            _ => None,
        }
    }

    /// The connection is up.
    pub(super) const fn opened(&mut self, now: Instant) {
        self.phase = Phase::Open { since: now, heard: now };
    }

    /// Something came on the connection.
    pub(super) const fn heard(&mut self, now: Instant) {
        if let Phase::Open { since, .. } = self.phase {
            self.phase = Phase::Open { since, heard: now };
        }
    }

    /// The connection failed or ended.
    pub(super) fn closed(&mut self, now: Instant, draw: f64) {
        if matches!(self.phase, Phase::Open { since, .. } if since + GOOD_AFTER <= now) {
            self.backoff.reset();
        }
        if matches!(self.phase, Phase::Opening | Phase::Open { .. }) {
            self.phase = Phase::Waiting { until: now + self.backoff.pause(draw) };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn started() -> (Watch, Instant) {
        let (mut watch, now) = (Watch::new(true), Instant::now());
        watch.set_service(Some(&"s1".into()), now);
        (watch, now)
    }

    fn pause(watch: &Watch, now: Instant) -> Duration {
        watch.next().unwrap() - now
    }

    #[test]
    fn it_connects_as_soon_as_the_service_is_known() {
        let (mut watch, now) = started();
        let (ticket, service) = watch.poll(now, 0.5).unwrap();
        assert_eq!((&*service, watch.wanted(), watch.next()), ("s1", Some(ticket), None));
        assert_eq!(watch.poll(now, 0.5), None, "one connection at a time");
    }

    #[test]
    fn switched_off_it_never_connects() {
        let (mut watch, now) = (Watch::new(false), Instant::now());
        watch.set_service(Some(&"s1".into()), now);
        assert_eq!((watch.poll(now, 0.5), watch.next()), (None, None));
    }

    #[test]
    fn pauses_grow_while_connections_are_closed_at_once() {
        let (mut watch, now) = started();
        let mut pauses = Vec::new();
        let mut at = now;
        for _ in 0..12 {
            watch.poll(at, 1.0).unwrap();
            watch.opened(at);
            watch.closed(at, 1.0);
            pauses.push(pause(&watch, at).as_millis());
            at = watch.next().unwrap();
        }
        assert_eq!(pauses.get(..4).unwrap(), [1000, 1500, 2250, 3375]);
        assert_eq!(*pauses.last().unwrap(), 30_000);
    }

    #[test]
    fn a_connection_that_lasted_makes_the_next_pause_short() {
        let (mut watch, now) = started();
        for _ in 0..5 {
            watch.closed(now, 1.0);
            watch.phase = Phase::Opening;
        }
        watch.opened(now);
        watch.closed(now + GOOD_AFTER, 1.0);
        assert_eq!(pause(&watch, now + GOOD_AFTER), PAUSE_FIRST);
    }

    #[test]
    fn silence_ends_a_connection_and_pings_keep_it() {
        let (mut watch, now) = started();
        watch.poll(now, 1.0).unwrap();
        watch.opened(now);
        let later = now + Duration::from_secs(60);
        watch.heard(later);
        watch.poll(now + IDLE_MAX, 1.0);
        assert!(watch.wanted().is_some());
        watch.poll(later + IDLE_MAX, 1.0);
        assert_eq!(watch.wanted(), None);
        assert!(watch.poll(watch.next().unwrap(), 1.0).is_some());
    }

    #[test]
    fn another_service_replaces_the_connection() {
        let (mut watch, now) = started();
        let (first, _) = watch.poll(now, 1.0).unwrap();
        watch.opened(now);
        watch.set_service(None, now);
        assert_eq!((watch.wanted(), watch.poll(now, 1.0)), (None, None));
        watch.set_service(Some(&"s2".into()), now);
        let (second, service) = watch.poll(now, 1.0).unwrap();
        assert_eq!(&*service, "s2");
        assert_ne!(first, second);
    }
}
