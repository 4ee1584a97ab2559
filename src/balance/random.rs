//! Random: every endpoint with the same chance.

use super::Tried;

/// Remembers nothing.
#[derive(Debug)]
pub struct Random;

impl Random {
    /// The `random`-th of the endpoints that are not in `tried`.
    pub fn pick(&mut self, count: usize, tried: &Tried, random: u64) -> Option<usize> {
        let free = (0..count).filter(|index| !tried.contains(*index)).count();
        // Multiply and shift maps 64 random bits onto 0..free evenly enough, and without a division.
        let nth = usize::try_from((u128::from(random) * free as u128) >> 64).ok()?;
        (0..count).filter(|index| !tried.contains(*index)).nth(nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_random_range_are_the_ends_of_the_list() {
        let pick = |random| Random.pick(10, &Tried::default(), random);
        assert_eq!((pick(0), pick(u64::MAX)), (Some(0), Some(9)));
    }

    proptest! {
        #[test]
        fn a_retry_goes_elsewhere_or_nowhere(random: u64, count in 0_usize..8, first in 0_usize..8) {
            let mut tried = Tried::default();
            tried.add(first);
            let free = (0..count).filter(|i| !tried.contains(*i)).count();
            match Random.pick(count, &tried, random) {
                Some(index) => prop_assert!(index < count && !tried.contains(index)),
                None => prop_assert_eq!(free, 0),
            }
        }
    }
}
