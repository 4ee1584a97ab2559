//! Round robin: each endpoint in turn.

use super::Tried;

/// Where the next turn begins.
#[derive(Debug)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// Begins at an arbitrary endpoint.
    #[must_use]
    pub fn starting_at(random: u64) -> Self {
        Self { next: usize::try_from(random >> 33).unwrap_or(0) }
    }

    /// The endpoint after the one chosen last; those in `tried` are passed over.
    pub fn pick(&mut self, count: usize, tried: &Tried) -> Option<usize> {
        for _ in 0..count {
            let index = self.next.checked_rem(count)?;
            self.next = self.next.wrapping_add(1);
            if !tried.contains(index) {
                return Some(index);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_endpoint_has_its_turn_before_any_has_a_second() {
        let mut strategy = RoundRobin::starting_at(u64::MAX);
        let mut counts = [0; 5];
        for _ in 0..15 {
            if let Some(index) = strategy.pick(5, &Tried::default()) {
                counts[index] += 1;
            }
        }
        assert_eq!(counts, [3; 5]);
    }

    #[test]
    fn nothing_is_chosen_of_nothing() {
        assert_eq!(RoundRobin::starting_at(7).pick(0, &Tried::default()), None);
    }

    proptest! {
        #[test]
        fn a_retry_goes_elsewhere_or_nowhere(start: u64, count in 0_usize..8, first in 0_usize..8, second in 0_usize..8) {
            let mut tried = Tried::default();
            tried.add(first);
            tried.add(second);
            let free = (0..count).filter(|i| !tried.contains(*i)).count();
            match RoundRobin::starting_at(start).pick(count, &tried) {
                Some(index) => prop_assert!(index < count && !tried.contains(index)),
                None => prop_assert_eq!(free, 0),
            }
        }
    }
}
