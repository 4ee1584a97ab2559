//! Which connection takes the next call, and whether another is wanted. Pure.
//!
//! One connection is filled before the next is used: fewer connections mean fewer system calls for the same frames, and
//! under falling load the later ones empty and go.

/// How full a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Places that are taken.
    pub(super) open: u32,
    /// Places there are. A peer may take some back while they are used.
    pub(super) limit: u32,
}

/// The first connection with a place.
pub(super) fn choose(loads: impl IntoIterator<Item = Load>) -> Option<usize> {
    loads.into_iter().position(|load| load.open < load.limit)
}

/// Whether another connection would help: all are full, there may be one more, and no peer has asked for a pause by
/// allowing no stream at all.
pub(super) fn wants_another(loads: impl IntoIterator<Item = Load>, connections_max: usize) -> bool {
    let mut count = 0;
    for load in loads {
        if load.open < load.limit || load.limit == 0 {
            return false;
        }
        count += 1;
    }
    count < connections_max
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(of: &[(u32, u32)]) -> Vec<Load> {
        of.iter().map(|&(open, limit)| Load { open, limit }).collect()
    }

    #[test]
    fn one_is_filled_before_the_next() {
        assert_eq!(choose(loads(&[(99, 100), (0, 100)])), Some(0));
        assert_eq!(choose(loads(&[(100, 100), (3, 100), (0, 100)])), Some(1));
        assert_eq!(choose(loads(&[(100, 100), (1, 1)])), None);
    }

    #[test]
    fn another_is_wanted_when_all_are_full_up_to_the_bound() {
        assert!(wants_another(loads(&[]), 1));
        assert!(wants_another(loads(&[(1, 1), (7, 5)]), 3));
        assert!(!wants_another(loads(&[(1, 1), (7, 5)]), 2));
        assert!(!wants_another(loads(&[(1, 2)]), 3));
    }

    #[test]
    fn a_peer_that_allows_no_stream_is_not_asked_by_more_connections() {
        assert!(!wants_another(loads(&[(0, 0)]), 8));
    }

    proptest! {
        #[test]
        fn never_both_a_place_and_another_connection(of in proptest::collection::vec((0_u32..4, 0_u32..4), 0..6), max in 0_usize..8) {
            let all = loads(&of);
            let chosen = choose(all.iter().copied());
            prop_assert!(chosen.is_none() || !wants_another(all.iter().copied(), max));
            if let Some(load) = chosen.and_then(|at| all.get(at)) {
                prop_assert!(load.open < load.limit);
            }
        }
    }
}
