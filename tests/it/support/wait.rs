//! Waiting for conditions: the only place in the tests that may pause.

use std::time::{Duration, Instant};

/// Time after which a test gives up on something that should take milliseconds. Generous, because two slow and busy cores
/// may carry a whole suite; a passing test never waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `condition` holds; panics after `deadline` with `what` was awaited.
#[track_caller]
pub(crate) fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Waits until `look` finds something; panics after `deadline` with `what` was awaited.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    match look_for(deadline, look) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for {what}"),
    }
}

/// Looks until something is found or `deadline` has passed.
pub(crate) fn look_for<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let left = end.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left.min(LOOK_EVERY));
    }
}

/// Lets time pass up to `at`, for those who do something at a certain pace.
pub(crate) fn pause_until(at: Instant) {
    while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_later_ends_the_wait() {
        let mut looks = 0;
        wait_until("the third look", PATIENCE, || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_condition_that_never_holds_is_given_up() {
        assert_eq!(look_for(Duration::from_millis(5), || None::<()>), None);
    }
}
