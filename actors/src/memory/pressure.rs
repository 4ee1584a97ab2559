//! When memory is short. Pure: numbers in, a verdict out.

use std::time::Duration;

use serde::Serialize;

/// From here on load is shed, percent of the limit. What is left is for what the kernel charges beside (page tables,
/// sockets), and for what is still being taken on between two looks.
const HIGH_PERCENT: u128 = 90;
/// Below it load is taken on again. The gap keeps a mesher at its limit from changing its mind with every request.
const LOW_PERCENT: u128 = 80;

/// Between two looks while there is room: a look costs some twenty microseconds, and an idle process should sleep.
const CALM: Duration = Duration::from_millis(500);
/// The same from [`NEAR_PERCENT`] on: a flood of heads can take a tenth of a small limit in as much time.
const NEAR: Duration = Duration::from_millis(50);
/// The same while load is shed; each look lets go of what became free since the last.
const SHEDDING: Duration = Duration::from_millis(250);
/// From here on it is worth looking more often, percent of the limit.
const NEAR_PERCENT: u128 = 50;

/// Whether memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// There is room.
    #[default]
    Low,
    /// Load is shed.
    High,
}

impl Pressure {
    /// What follows from this much use of this limit, bytes.
    #[must_use]
    pub fn after(self, used: u64, limit: u64) -> Self {
        let percent = percent(used, limit);
        match self {
            // ## Low => High
            Self::Low if percent >= HIGH_PERCENT => Self::High,
            // ## High => Low
            Self::High if percent < LOW_PERCENT => Self::Low,
            // ## Low => Low, High => High
            same => same,
        }
    }

    /// When to look again.
    #[must_use]
    pub fn look_again_in(self, used: u64, limit: u64) -> Duration {
        match self {
            Self::High => SHEDDING,
            Self::Low if percent(used, limit) >= NEAR_PERCENT => NEAR,
            Self::Low => CALM,
        }
    }
}

/// A limit so small that load would be shed for ever: what is used before any load is above the lower mark.
#[must_use]
pub(super) fn leaves_no_room(used: u64, limit: u64) -> bool {
    percent(used, limit) >= LOW_PERCENT
}

fn percent(used: u64, limit: u64) -> u128 {
    u128::from(used) * 100 / u128::from(limit.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Pressure::{High, Low};

    fn check(before: Pressure, used: u64, after: Pressure) {
        assert_eq!(before.after(used, 1000), after, "{before:?} at {used} of 1000");
    }

    #[test]
    fn load_is_shed_from_the_upper_mark_and_taken_on_below_the_lower_one() {
        check(Low, 0, Low);
        check(Low, 899, Low);
        check(Low, 900, High);
        check(Low, u64::MAX, High);
        check(High, 899, High);
        check(High, 800, High);
        check(High, 799, Low);
    }

    #[test]
    fn it_is_looked_at_more_often_the_less_room_there_is() {
        assert!(Low.look_again_in(499, 1000) > Low.look_again_in(500, 1000));
        assert_eq!(High.look_again_in(0, 1000), SHEDDING);
    }

    proptest! {
        #[test]
        fn use_that_moves_between_the_marks_changes_nothing(limit in 1000u64.., parts in prop::collection::vec(800u64..900, 1..50)) {
            for before in [Low, High] {
                let after = parts.iter().fold(before, |state, part| state.after(limit / 1000 * part, limit / 1000 * 1000));
                prop_assert_eq!(after, before);
            }
        }

        #[test]
        fn no_numbers_make_it_panic(used: u64, limit: u64) {
            for before in [Low, High] {
                let _ = before.after(used, limit);
                prop_assert!(before.look_again_in(used, limit) > Duration::ZERO);
            }
        }
    }
}
