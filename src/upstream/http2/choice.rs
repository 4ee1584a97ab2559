//! Which connection takes the next call, and whether another is wanted. Pure.
//!
//! Two connections share the calls as soon as some come at the same time; these are filled before the next is used: fewer
//! connections mean fewer system calls for the same frames, and under falling load the later ones empty and go.

/// So many connections share the calls. Calls of one connection come and go in step: while its peer works on all of them there
/// is nothing to do here, and the other way round, and each time somebody has to be woken. Those of two take turns; and a
/// lost segment holds up but half of them. A third gains nothing more.
pub const ABREAST: usize = 2;
/// So many calls at a time are worth a connection more, if there are fewer than [`ABREAST`].
const SHARED_MIN: u32 = 2;

/// How a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    /// Places that are taken.
    pub(super) open: u32,
    /// Places there are. A peer may take some back while they are used.
    pub(super) limit: u32,
    /// Its peer has been sent so many cancellations that it may end it.
    pub(super) resting: bool,
}

impl Load {
    fn has_place(self) -> bool {
        self.open < self.limit
    }

    fn is_inviting(self) -> bool {
        self.has_place() && !self.resting
    }
}

/// Of the first connections with a place, the one with the fewest calls; `may_grow`: there may be another, so one that rests is
/// left alone.
pub(super) fn choose(loads: impl Iterator<Item = Load> + Clone, may_grow: bool) -> Option<usize> {
    let inviting = loads.clone().enumerate().filter(|(_, load)| load.is_inviting()).take(ABREAST);
    let resting = || loads.clone().position(Load::has_place).filter(|_| !may_grow);
    inviting.min_by_key(|(_, load)| load.open).map(|(at, _)| at).or_else(resting)
}

/// Whether another connection would help, if there may be one: all are full or rest, and no peer has asked for a pause by
/// allowing no stream at all.
pub(super) fn wants_another(mut loads: impl Iterator<Item = Load>) -> bool {
    loads.all(|load| load.limit > 0 && !load.is_inviting())
}

/// Whether another connection would take turns with those there are. Nobody waits for it.
pub(super) fn wants_company(loads: impl Iterator<Item = Load> + Clone) -> bool {
    loads.clone().count() < ABREAST && loads.map(|load| load.open).min() >= Some(SHARED_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(of: &[(u32, u32, bool)]) -> impl Iterator<Item = Load> + Clone {
        of.iter().map(|&(open, limit, resting)| Load { open, limit, resting })
    }

    #[test]
    fn two_share_the_calls_and_are_filled_before_the_next() {
        assert_eq!(choose(loads(&[(0, 100, false), (0, 100, false)]), true), Some(0));
        assert_eq!(choose(loads(&[(1, 100, false), (0, 100, false)]), true), Some(1));
        assert_eq!(choose(loads(&[(98, 100, false), (99, 100, false), (0, 100, false)]), true), Some(0));
        assert_eq!(choose(loads(&[(100, 100, false), (3, 100, false), (0, 100, false)]), true), Some(2));
        assert_eq!(choose(loads(&[(100, 100, false), (1, 1, false)]), true), None);
    }

    #[test]
    fn a_second_is_wanted_for_calls_at_the_same_time_and_no_third() {
        assert!(!wants_company(loads(&[])), "the first is waited for");
        assert!(!wants_company(loads(&[(1, 100, false)])));
        assert!(wants_company(loads(&[(2, 100, false)])));
        assert!(!wants_company(loads(&[(99, 100, false), (99, 100, false)])));
    }

    #[test]
    fn one_that_rests_is_used_only_if_there_is_and_can_be_no_other() {
        let (one, two) = ([(9, 100, true)], [(9, 100, true), (0, 100, false)]);
        assert_eq!((choose(loads(&two), true), choose(loads(&two), false)), (Some(1), Some(1)));
        assert_eq!((choose(loads(&one), true), choose(loads(&one), false)), (None, Some(0)));
        assert!(wants_another(loads(&one)) && !wants_another(loads(&two)));
    }

    #[test]
    fn another_is_wanted_when_all_are_full() {
        assert!(wants_another(loads(&[])));
        assert!(wants_another(loads(&[(1, 1, false), (7, 5, false)])));
        assert!(!wants_another(loads(&[(1, 2, false)])));
    }

    #[test]
    fn a_peer_that_allows_no_stream_is_not_asked_by_more_connections() {
        assert!(!wants_another(loads(&[(0, 0, false)])));
        assert!(!wants_another(loads(&[(9, 100, true), (0, 0, false)])));
    }

    proptest! {
        #[test]
        fn never_both_a_place_and_another_connection(of in proptest::collection::vec((0_u32..4, 0_u32..4, proptest::bool::ANY), 0..6), may_grow: bool) {
            let chosen = choose(loads(&of), may_grow);
            prop_assert!(chosen.is_none() || !(may_grow && wants_another(loads(&of))));
            if let Some((open, limit, _)) = chosen.and_then(|at| of.get(at)) {
                prop_assert!(open < limit);
            }
        }
    }
}
