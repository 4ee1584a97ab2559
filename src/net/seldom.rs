//! What may happen at any rate and is told at a bounded one. Pure: time is an argument.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Between two that are told. Somebody who reads along sees that it goes on, and a flood leaves a log that can be read.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Decides which of many like events are told.
#[derive(Debug, Default)]
pub struct Seldom {
    told_at: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Seldom {
    /// How many were not told since the last that was, if this one is to be told.
    pub fn tell(&self, now: Instant) -> Option<u64> {
        let recent = self.told_at.get().is_some_and(|at| now.saturating_duration_since(at) < TOLD_EVERY);
        if recent {
            self.untold.set(self.untold.get().saturating_add(1));
            return None;
        }
        self.told_at.set(Some(now));
        Some(self.untold.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_one_is_told_and_the_others_are_counted() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.tell(now), Some(0));
        assert_eq!([seldom.tell(now), seldom.tell(now + TOLD_EVERY / 2)], [None; 2]);
        assert_eq!(seldom.tell(now + TOLD_EVERY), Some(2));
        assert_eq!(seldom.tell(now + 3 * TOLD_EVERY), Some(0));
    }
}
