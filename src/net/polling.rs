//! When a shard with nothing to do asks epoll again and again for a few microseconds before it sleeps. Pure: time is an argument.
//!
//! Falling asleep and being woken costs a halt, an interrupt and two context switches; if what we wait for comes within tens of
//! microseconds, asking again is faster and no dearer. If it does not come, asking was a waste. So the shard polls only
//!
//! - while at most one upstream call is outstanding (with more, events had better gather into a batch),
//! - while it waits more than it works (a busy shard must never pay for this),
//! - while polls of this *kind* of wait (an answer outstanding, or nothing) have lately hit.
//!
//! A kind whose polls miss is left alone for 64 waits, then 128, and so on up to 4096.
//!
//! ```text
//! before_wait ──> None: sleep at once
//!             └─> Some(until): poll until then ──> polled(found) ──> sleep if nothing was found
//! after_wait  <── always, with the time at which the wait ended
//! ```

use std::time::{Duration, Instant};

/// Most time that is spent asking before one sleep. Answers of a fast upstream on the same host take 25 to 40 µs.
pub(super) const BUDGET: Duration = Duration::from_micros(40);
/// Weight of the newest sample in the averages of work and wait.
const WEIGHT: f64 = 0.05;
/// Weight of the newest poll in a kind's rate of hits. Two misses in a row bring a fresh kind (0.75) below one half.
const HIT_WEIGHT: f64 = 0.2;
const HIT_RATE_FRESH: f64 = 0.75;
const HIT_RATE_WORTHWHILE: f64 = 0.5;
const HIT_RATE_GOOD: f64 = 0.9;
const SKIPS_MIN: u32 = 64;
const SKIPS_MAX: u32 = 4096;

/// The state of the rule on one shard.
pub(super) struct Polling {
    budget_us: f64,
    /// Averages of the time between two waits and of the waits themselves, in microseconds.
    work_us: f64,
    wait_us: f64,
    wait_started: Option<Instant>,
    wait_ended: Option<Instant>,
    current: usize,
    kinds: [Kind; 2],
}

#[derive(Clone, Copy)]
struct Kind {
    hit_rate: f64,
    /// Waits that are still left alone.
    skips: u32,
    /// How many are left alone after the next failure.
    skips_next: u32,
}

impl Polling {
    pub(super) fn new() -> Self {
        let kind = Kind { hit_rate: HIT_RATE_FRESH, skips: 0, skips_next: SKIPS_MIN };
        Polling {
            budget_us: micros(BUDGET),
            work_us: 0.0,
            wait_us: 0.0,
            wait_started: None,
            wait_ended: None,
            current: 0,
            kinds: [kind; 2],
        }
    }

    /// The shard is about to wait with `calls` upstream calls outstanding. Returns until when it shall poll first.
    pub(super) fn before_wait(&mut self, now: Instant, calls: u32) -> Option<Instant> {
        self.wait_started = Some(now);
        if let Some(ended) = self.wait_ended {
            self.work_us = self.average(self.work_us, now.saturating_duration_since(ended));
        }
        if calls > 1 || self.work_us > self.wait_us {
            return None;
        }
        self.current = usize::from(calls > 0);
        let kind = self.kind();
        if kind.skips > 0 {
            kind.skips -= 1;
            return None;
        }
        Some(now + BUDGET)
    }

    /// The poll that [`before_wait`](Self::before_wait) asked for has ended.
    pub(super) fn polled(&mut self, found: bool) {
        let kind = self.kind();
        kind.hit_rate = kind.hit_rate * (1.0 - HIT_WEIGHT) + if found { HIT_WEIGHT } else { 0.0 };
        if kind.hit_rate < HIT_RATE_WORTHWHILE {
            kind.skips = kind.skips_next;
            kind.skips_next = (kind.skips_next * 2).min(SKIPS_MAX);
            kind.hit_rate = HIT_RATE_FRESH;
        } else if kind.hit_rate > HIT_RATE_GOOD {
            kind.skips_next = SKIPS_MIN;
        }
    }

    /// The wait is over, polled or slept.
    pub(super) fn after_wait(&mut self, now: Instant) {
        self.wait_ended = Some(now);
        if let Some(started) = self.wait_started.take() {
            self.wait_us = self.average(self.wait_us, now.saturating_duration_since(started));
        }
    }

    /// A long sample says little about the next one: it counts as four budgets, so that a few short ones turn the rule around.
    fn average(&self, old_us: f64, sample: Duration) -> f64 {
        let sample_us = micros(sample).min(4.0 * self.budget_us);
        old_us * (1.0 - WEIGHT) + sample_us * WEIGHT
    }

    fn kind(&mut self) -> &mut Kind {
        let [idle, answer] = &mut self.kinds;
        if self.current == 0 { idle } else { answer }
    }
}

fn micros(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Shard {
        rule: Polling,
        now: Instant,
    }

    impl Shard {
        fn new() -> Self {
            Shard { rule: Polling::new(), now: Instant::now() }
        }

        /// Works, then waits for something that comes after `wait_us`. Returns whether it polled.
        fn cycle(&mut self, work_us: u64, wait_us: u64, calls: u32) -> bool {
            self.now += Duration::from_micros(work_us);
            let until = self.rule.before_wait(self.now, calls);
            let ready = self.now + Duration::from_micros(wait_us);
            if let Some(until) = until {
                self.rule.polled(ready <= until);
            }
            self.now = ready;
            self.rule.after_wait(self.now);
            until.is_some()
        }

        fn polls(&mut self, cycles: usize, work_us: u64, wait_us: u64, calls: u32) -> usize {
            (0..cycles).filter(|_| self.cycle(work_us, wait_us, calls)).count()
        }
    }

    #[test]
    fn fast_answers_are_polled_for_every_time() {
        assert_eq!(Shard::new().polls(1000, 10, 25, 1), 1000);
    }

    #[test]
    fn a_poll_never_lasts_longer_than_the_budget() {
        let mut shard = Shard::new();
        let until = shard.rule.before_wait(shard.now, 1).unwrap();
        assert_eq!(until - shard.now, BUDGET);
    }

    #[test]
    fn slow_answers_are_soon_left_alone() {
        let polls = Shard::new().polls(20_000, 10, 500, 1);
        // Two misses, then 64 waits of rest, two misses, 128 waits ...
        assert!((10..=30).contains(&polls), "{polls} polls");
    }

    #[test]
    fn a_saturated_shard_hardly_ever_polls() {
        let polls = Shard::new().polls(10_000, 60, 5, 1);
        assert!(polls <= 2, "{polls} polls");
    }

    #[test]
    fn several_outstanding_calls_are_left_to_gather() {
        assert_eq!(Shard::new().polls(100, 1, 20, 2), 0);
    }

    #[test]
    fn a_shard_that_becomes_quiet_polls_again() {
        let mut shard = Shard::new();
        shard.polls(1000, 60, 5, 1);
        assert!(!shard.cycle(60, 5, 1));
        shard.polls(100, 5, 30, 1);
        assert!(shard.cycle(5, 30, 1));
    }

    #[test]
    fn one_kind_of_wait_says_nothing_about_the_other() {
        let mut shard = Shard::new();
        shard.polls(10, 5, 500, 0);
        assert!(!shard.cycle(5, 500, 0), "idle waits are left alone");
        assert!(shard.cycle(5, 20, 1), "answers are still polled for");
    }
}
