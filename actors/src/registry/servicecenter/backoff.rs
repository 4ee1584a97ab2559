//! Growing pauses between tries. Pure: the caller brings the chance.

use std::time::Duration;

/// Pauses that grow by a factor up to a limit, each shortened by chance to between half and all of its length,
/// so that clients that lost the same server do not come back together.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    factor: f64,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` to `max`, each `factor` times the one before.
    pub(super) const fn new(first: Duration, factor: f64, max: Duration) -> Self {
        Self { first, factor, max, next: first }
    }

    /// How long to wait before the next try; `draw` is a random number of 0 to 1.
    pub(super) fn pause(&mut self, draw: f64) -> Duration {
        let pause = self.next.min(self.max);
        self.next = pause.mul_f64(self.factor).min(self.max);
        pause.mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0))
    }

    /// Starts again with the first pause.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// `period` shortened by up to a tenth: repeated calls of many clients drift apart, and never come late.
pub(super) fn jittered(period: Duration, draw: f64) -> Duration {
    period.mul_f64(1.0 - 0.1 * draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(5));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.pause(0.0), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_zero_nor_over_the_limit(draws in proptest::collection::vec(-1.0..2.0_f64, 1..50)) {
            let mut backoff = Backoff::new(Duration::from_secs(1), 1.5, Duration::from_secs(30));
            for draw in draws {
                let pause = backoff.pause(draw);
                prop_assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(30));
                let period = jittered(Duration::from_secs(30), draw);
                prop_assert!(period >= Duration::from_secs(27) && period <= Duration::from_secs(30));
            }
        }
    }
}
