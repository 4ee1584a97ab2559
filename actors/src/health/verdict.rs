//! What the results of all checks together mean. Pure.

use crate::registry::instance::Status;

/// Results so far, and what was made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    healthy: Vec<Option<bool>>,
    /// UP until a check fails: an instance is registered as what the configuration says, and healthy checks alone
    /// are no reason to change that.
    said: Status,
}

// === impl Verdict ===

impl Verdict {
    /// No results of this many checks.
    pub(crate) fn new(checks: usize) -> Self {
        Self { healthy: vec![None; checks], said: Status::Up }
    }

    /// No results of this many new checks. The status our instance is to have now, if that is another one: without
    /// checks nothing speaks against it.
    pub(super) fn renew(&mut self, checks: usize) -> Option<Status> {
        self.healthy = vec![None; checks];
        (checks == 0 && self.said != Status::Up).then(|| {
            self.said = Status::Up;
            Status::Up
        })
    }

    /// Takes a result in; the status our instance is to have now, if that is another one.
    ///
    /// ```text
    ///   UP   => DOWN   one check fails
    ///   DOWN => UP     the last result of every check is success
    /// ```
    pub(super) fn result(&mut self, check: usize, healthy: bool) -> Option<Status> {
        *self.healthy.get_mut(check)? = Some(healthy);
        let new = if self.healthy.contains(&Some(false)) {
            Status::Down
        } else if self.healthy.contains(&None) {
            return None;
        } else {
            Status::Up
        };
        (std::mem::replace(&mut self.said, new) != new).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_failing_check_of_two_means_down_and_does_not_flap() {
        let mut verdict = Verdict::new(2);
        let said: Vec<_> = [(0, true), (1, false), (0, true), (1, false), (0, true), (1, true), (0, true)]
            .map(|(check, healthy)| verdict.result(check, healthy))
            .to_vec();
        let (down, up) = (Some(Status::Down), Some(Status::Up));
        assert_eq!(said, [None, down, None, None, None, up, None]);
    }

    #[test]
    fn healthy_checks_alone_change_nothing() {
        let mut verdict = Verdict::new(1);
        assert_eq!(verdict.result(0, true), None);
    }

    #[test]
    fn a_check_that_has_not_run_is_no_reason_for_up() {
        let mut verdict = Verdict::new(2);
        assert_eq!(verdict.result(0, false), Some(Status::Down));
        assert_eq!(verdict.result(0, true), None);
        assert_eq!(verdict.result(1, true), Some(Status::Up));
    }

    #[test]
    fn new_checks_take_a_down_back_when_they_succeed_and_none_at_once() {
        let down = || {
            let mut verdict = Verdict::new(2);
            assert_eq!(verdict.result(0, false), Some(Status::Down));
            verdict
        };
        let mut verdict = down();
        assert_eq!(verdict.renew(1), None);
        assert_eq!(verdict.result(0, true), Some(Status::Up));
        assert_eq!(down().renew(0), Some(Status::Up));
    }

    proptest! {
        #[test]
        fn what_is_said_alternates_and_ends_with_the_truth(results in prop::collection::vec((0..3_usize, any::<bool>()), 0..40)) {
            let mut verdict = Verdict::new(3);
            let mut last = [None; 3];
            let mut said = Status::Up;
            for (check, healthy) in results {
                last[check] = Some(healthy);
                if let Some(new) = verdict.result(check, healthy) {
                    prop_assert_ne!(new, said);
                    said = new;
                }
            }
            if last.contains(&Some(false)) {
                prop_assert_eq!(said, Status::Down);
            } else if !last.contains(&None) {
                prop_assert_eq!(said, Status::Up);
            }
        }
    }
}
