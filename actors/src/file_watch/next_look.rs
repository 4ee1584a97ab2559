//! When files are read next. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// After a change nothing must happen for this long before the files are read: a writer may be in the middle of them.
const SETTLE: Duration = Duration::from_millis(50);
/// A directory in which something always happens must not keep its files from being read.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// A file that cannot be read or makes no sense is looked at again after this, before anybody is told, for the same
/// reason.
pub(crate) const SECOND_LOOK: Duration = Duration::from_millis(200);
/// How often files are read although nothing told of a change.
pub(super) const POLL_EVERY: Duration = Duration::from_secs(5);

/// When to look.
///
/// ```text
///   event      x xx  x
///   read       ........SETTLE r         or SETTLE_MAX after the first event, or POLL_EVERY after the last read
/// ```
#[derive(Debug, PartialEq)]
pub(crate) struct NextLook {
    pub(crate) at: Instant,
    /// Set by the first event since the last look.
    latest: Option<Instant>,
}

impl NextLook {
    /// The next one after a look.
    pub(crate) fn after(look: Instant) -> Self {
        Self { at: look + POLL_EVERY, latest: None }
    }

    /// Puts it off, for a while and not for ever.
    pub(crate) fn something_happened(&mut self, now: Instant) {
        let latest = *self.latest.get_or_insert(now + SETTLE_MAX);
        self.at = (now + SETTLE).min(latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_which_something_always_happens_is_read_all_the_same() {
        let begin = Instant::now();
        let mut next = NextLook::after(begin);
        assert_eq!(next.at, begin + POLL_EVERY);
        let mut now = begin;
        while now < next.at {
            next.something_happened(now);
            now += SETTLE / 2;
        }
        assert_eq!(next.at, begin + SETTLE_MAX);
    }
}
