//! When a connection is pinged, retired or dropped. Pure: time and randomness are arguments; `driver` asks and acts.
//!
//! ```text
//! made ──> serving ──(too old │ idle too long)──> retired ──(last call over, then a grace)──> dropped
//!             │  ping while calls wait in silence    │  pings go on
//!             └──────────── no answer ───────────────┴──────────────────────────────────────> dropped
//! ```

use std::time::{Duration, Instant};

/// How long the goodbye of a connection without calls may take: a peer that does not read must not hold the socket.
const GOODBYE: Duration = Duration::from_secs(5);

/// The times of one connection. Zero means "never".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) age_max: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) head_timeout: Duration,
}

/// What a connection looks like at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// It carries calls.
    pub(super) busy: bool,
    /// Since when that is so.
    pub(super) since: Instant,
    /// When the peer was last heard of.
    pub(super) heard: Instant,
    /// It takes no calls any more, since then.
    pub(super) retired: Option<Instant>,
    /// A header block has been coming since then that is not whole.
    pub(super) block: Option<Instant>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Send a PING; it counts as sent.
    Ping,
    /// Take no more calls.
    Retire,
    /// Close at once.
    Drop(&'static str),
}

/// The state of one connection's times.
#[derive(Debug)]
pub(super) struct Pulse {
    times: Times,
    born: Instant,
    /// A PING that has not been answered.
    pinged: Option<Instant>,
}

/// A time that is up to a tenth shorter or longer.
pub(super) fn jittered(time: Duration, random: u64) -> Duration {
    let tenth = time / 10;
    // 16 random bits are enough to spread a few connections.
    let part = u32::from((random >> 48) as u16);
    (time - tenth).saturating_add(tenth.saturating_mul(2).saturating_mul(part) / u32::from(u16::MAX))
}

impl Pulse {
    pub(super) fn new(times: Times, now: Instant) -> Self {
        Self { times, born: now, pinged: None }
    }

    /// A PING is under way.
    pub(super) fn is_pinging(&self) -> bool {
        self.pinged.is_some()
    }

    /// The PING was answered.
    pub(super) fn answered(&mut self) {
        self.pinged = None;
    }

    /// What is to be done at `now`; to be asked until it is nothing.
    pub(super) fn due(&mut self, now: Instant, view: View) -> Due {
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if has_come(self.ping_lost_at(view)) {
            return Due::Drop("it did not answer a PING");
        }
        if has_come(self.head_lost_at(view)) {
            return Due::Drop("a head that it has begun did not come to an end");
        }
        if has_come(self.ping_at(view)) {
            self.pinged = Some(now);
            return Due::Ping;
        }
        if has_come(self.gone_at(view)) {
            return Due::Drop("it did not let itself be closed");
        }
        if has_come(self.retire_at(view)) {
            return Due::Retire;
        }
        Due::Nothing
    }

    /// When there will be something to do if nothing happens until then.
    pub(super) fn next(&self, view: View) -> Option<Instant> {
        let dues = [
            self.ping_lost_at(view),
            self.head_lost_at(view),
            self.ping_at(view),
            self.gone_at(view),
            self.retire_at(view),
        ];
        dues.into_iter().flatten().min()
    }

    /// Whatever the peer says proves that it lives, the answer to the PING is only sure to come.
    fn ping_lost_at(&self, view: View) -> Option<Instant> {
        after(self.pinged?.max(view.heard), self.times.ping_timeout)
    }

    /// Nothing else can come before it is whole (RFC 9113 section 4.3): all calls wait for it.
    fn head_lost_at(&self, view: View) -> Option<Instant> {
        after(view.block?, self.times.head_timeout)
    }

    fn ping_at(&self, view: View) -> Option<Instant> {
        let waits = view.busy && self.pinged.is_none();
        waits.then(|| after(view.heard.max(view.since), self.times.ping_interval)).flatten()
    }

    fn gone_at(&self, view: View) -> Option<Instant> {
        let retired = view.retired.filter(|_| !view.busy)?;
        after(retired.max(view.since), GOODBYE)
    }

    fn retire_at(&self, view: View) -> Option<Instant> {
        if view.retired.is_some() {
            return None;
        }
        let old = after(self.born, self.times.age_max);
        let idle = (!view.busy).then(|| after(view.since, self.times.idle_timeout)).flatten();
        old.into_iter().chain(idle).min()
    }
}

fn after(since: Instant, time: Duration) -> Option<Instant> {
    if time.is_zero() { None } else { since.checked_add(time) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> Times {
        Times {
            age_max: 1000 * SECOND,
            idle_timeout: 60 * SECOND,
            ping_interval: 300 * SECOND,
            ping_timeout: 20 * SECOND,
            head_timeout: 10 * SECOND,
        }
    }

    struct Connection {
        pulse: Pulse,
        born: Instant,
        view: View,
    }

    impl Connection {
        fn new() -> Self {
            let born = Instant::now();
            let view = View { busy: false, since: born, heard: born, retired: None, block: None };
            Self { pulse: Pulse::new(times(), born), born, view }
        }

        fn busy() -> Self {
            let mut connection = Self::new();
            connection.view.busy = true;
            connection
        }

        fn at(&self, second: u32) -> Instant {
            self.born + SECOND * second
        }

        fn due(&mut self, second: u32) -> Due {
            self.pulse.due(self.at(second), self.view)
        }

        fn next(&self) -> Option<u64> {
            self.pulse.next(self.view).map(|at| (at - self.born).as_secs())
        }
    }

    #[test]
    fn an_idle_connection_is_retired_after_the_idle_time_and_a_busy_one_is_not() {
        let mut idle = Connection::new();
        assert_eq!((idle.next(), idle.due(59), idle.due(60)), (Some(60), Due::Nothing, Due::Retire));
        assert_eq!(Connection::busy().due(299), Due::Nothing);
    }

    #[test]
    fn an_old_connection_is_retired_although_it_is_busy() {
        let mut old = Connection::busy();
        old.view.heard = old.at(999);
        assert_eq!((old.due(999), old.due(1000)), (Due::Nothing, Due::Retire));
        old.view.retired = Some(old.at(1000));
        assert_eq!(old.due(1001), Due::Nothing, "it is retired once");
    }

    #[test]
    fn a_head_that_does_not_come_to_an_end_is_waited_for_for_a_while() {
        let mut connection = Connection::busy();
        connection.view.block = Some(connection.at(5));
        assert_eq!((connection.next(), connection.due(14)), (Some(15), Due::Nothing));
        assert!(matches!(connection.due(15), Due::Drop(_)));
        connection.view.block = None;
        assert_eq!(connection.due(16), Due::Nothing);
    }

    #[test]
    fn a_retired_connection_is_dropped_only_after_its_last_call_and_a_grace() {
        let mut retired = Connection::busy();
        retired.view.retired = Some(retired.at(10));
        assert_eq!(retired.due(200), Due::Nothing);
        (retired.view.busy, retired.view.since) = (false, retired.at(200));
        assert_eq!(retired.due(204), Due::Nothing);
        assert!(matches!(retired.due(205), Due::Drop(_)));
    }

    #[test]
    fn a_connection_that_was_idle_for_long_has_its_grace_as_well() {
        let mut retired = Connection::new();
        retired.view.retired = Some(retired.at(60));
        assert_eq!((retired.due(64), retired.next()), (Due::Nothing, Some(65)));
    }

    #[test]
    fn silence_is_pinged_once_and_without_an_answer_the_connection_is_dropped() {
        let mut silent = Connection::busy();
        assert_eq!((silent.due(299), silent.due(300)), (Due::Nothing, Due::Ping));
        assert_eq!((silent.due(319), silent.next()), (Due::Nothing, Some(320)));
        assert_eq!(silent.due(320), Due::Drop("it did not answer a PING"));
    }

    #[test]
    fn an_answered_ping_is_followed_by_the_next_after_the_interval() {
        let mut quiet = Connection::busy();
        assert_eq!(quiet.due(300), Due::Ping);
        quiet.pulse.answered();
        quiet.view.heard = quiet.at(301);
        assert_eq!((quiet.due(600), quiet.due(601)), (Due::Nothing, Due::Ping));
    }

    #[test]
    fn a_peer_that_talks_lives_although_its_answer_to_the_ping_is_late() {
        let mut slow = Connection::busy();
        assert_eq!(slow.due(300), Due::Ping);
        slow.view.heard = slow.at(315);
        assert_eq!((slow.due(334), slow.next()), (Due::Nothing, Some(335)));
    }

    #[test]
    fn an_idle_connection_is_not_pinged() {
        let mut idle = Connection::new();
        idle.pulse.times.idle_timeout = Duration::ZERO;
        assert_eq!((idle.due(900), idle.next()), (Due::Nothing, Some(1000)));
    }

    #[test]
    fn zero_is_never() {
        let mut connection = Connection::busy();
        let never = Duration::ZERO;
        connection.pulse.times = Times {
            age_max: never,
            idle_timeout: never,
            ping_interval: never,
            ping_timeout: never,
            head_timeout: never,
        };
        assert_eq!((connection.next(), connection.due(1_000_000)), (None, Due::Nothing));
    }

    #[test]
    fn jitter_is_a_tenth_either_way() {
        assert_eq!(jittered(100 * SECOND, 0), 90 * SECOND);
        assert_eq!(jittered(100 * SECOND, u64::MAX), 110 * SECOND);
        assert_eq!(jittered(Duration::ZERO, 77), Duration::ZERO);
    }

    proptest! {
        /// Asked at `next`, never before, it has something to do: no time-out is slept through, no wake-up is in vain.
        #[test]
        fn something_is_due_exactly_from_next_on(
            busy: bool,
            since in 0_u32..2000,
            heard in 0_u32..2000,
            retired in proptest::option::of(0_u32..2000),
            pinged in proptest::option::of(0_u32..2000),
            block in proptest::option::of(0_u32..2000),
        ) {
            let mut connection = Connection::new();
            let at = |second: u32| connection.born + SECOND * second;
            let view = View { busy, since: at(since), heard: at(heard), retired: retired.map(at), block: block.map(at) };
            connection.pulse.pinged = pinged.map(at);
            if let Some(next) = connection.pulse.next(view) {
                prop_assert_eq!(connection.pulse.due(next - Duration::from_nanos(1), view), Due::Nothing);
                prop_assert_ne!(connection.pulse.due(next, view), Due::Nothing);
            } else {
                prop_assert_eq!(connection.pulse.due(at(1_000_000), view), Due::Nothing);
            }
        }

        #[test]
        fn jitter_stays_within_its_bounds(seconds in 0_u64..1_000_000, random: u64) {
            let time = Duration::from_secs(seconds);
            let jittered = jittered(time, random);
            prop_assert!(jittered >= time - time / 10 && jittered <= time + time / 10);
        }
    }
}
