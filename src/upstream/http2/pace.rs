//! When a call that is given up before its answer begins is cancelled at the peer. Pure.
//!
//! Servers end a connection on which too many calls are (their defence against "rapid reset", CVE-2023-44487), and with it
//! the calls of others. Many clients that leave at once, each within its own bounds, would bring that about.

use std::time::{Duration, Instant};

/// Such calls that are cancelled at once. The `h2` crate's servers, and tonic's, end a connection with more than 20 of them
/// that they have not looked at yet, the strictest bound of a common server.
const BURST: u32 = 16;
/// One more after this. With the burst that makes 166 in 30 s; Netty's servers allow 200 in that time.
const INTERVAL: Duration = Duration::from_millis(200);
/// No call is kept for longer, whatever became of those before it: what a hundred calls of one connection take.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all calls cancelled so far would have been, had each kept its interval.
    level: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { level: now }
    }

    /// For how long the next call must not be cancelled.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        if self.level <= now {
            return Duration::ZERO; // as nearly always: each call asks
        }
        self.level.saturating_duration_since(now).saturating_sub(INTERVAL * (BURST - 1))
    }

    /// The same, and that call is counted.
    pub(super) fn cancel(&mut self, now: Instant) -> Duration {
        let wait = self.wait(now);
        self.level = (self.level.max(now) + INTERVAL).min(now + WAIT_MAX + INTERVAL * (BURST - 1));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_one_by_one() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..BURST {
            assert_eq!(pace.cancel(now), Duration::ZERO);
        }
        assert_eq!((pace.wait(now), pace.cancel(now), pace.cancel(now)), (INTERVAL, INTERVAL, INTERVAL * 2));
    }

    #[test]
    fn after_a_rest_there_may_be_a_burst_again() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..BURST {
            pace.cancel(now);
        }
        let later = now + INTERVAL * BURST;
        for _ in 0..BURST {
            assert_eq!(pace.cancel(later), Duration::ZERO);
        }
        assert_eq!(pace.wait(later), INTERVAL);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let longest = (0..1000).map(|_| pace.cancel(now)).max();
        assert_eq!(longest, Some(WAIT_MAX));
    }

    proptest! {
        #[test]
        fn no_more_than_the_burst_and_the_intervals_go_in_any_time(gaps in proptest::collection::vec(0_u64..300, 1..100)) {
            let mut now = Instant::now();
            let mut pace = Pace::new(now);
            let mut gone: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                gone.push(now + pace.cancel(now));
            }
            for (first, begun) in gone.iter().enumerate() {
                for (n, at) in gone.iter().skip(first).enumerate() {
                    let least = INTERVAL * u32::try_from(n).unwrap_or(u32::MAX).saturating_sub(BURST - 1);
                    prop_assert!(*at >= *begun + least);
                }
            }
        }
    }
}
