//! When a log file rotates, what the old one is called, and which old ones go.
//!
//! Pure: sizes, times and names are arguments.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// When to rotate and what to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bytes that a file may reach.
    pub size_bytes_max: u64,
    /// Age that a file may reach; `None` for any.
    pub age_max: Option<Duration>,
    /// Old files that are kept.
    pub backups_max: usize,
    /// Old files are compressed.
    pub compress: bool,
}

impl Policy {
    /// The file must be rotated before `incoming` more bytes are written to it. An empty file never is, however
    /// long the line: a new one would hold it no better.
    #[must_use]
    pub fn is_due(&self, size: u64, incoming: u64, begun: SystemTime, now: SystemTime) -> bool {
        let too_big = size.saturating_add(incoming) > self.size_bytes_max;
        let age = now.duration_since(begun).unwrap_or_default(); // a clock set back makes nothing old
        let too_old = self.age_max.is_some_and(|age_max| age >= age_max);
        size > 0 && (too_big || too_old)
    }

    /// Of the names in the directory of a log file, the backups that are too many, the oldest first.
    #[must_use]
    pub fn surplus(&self, log_name: &str, names: &[String]) -> Vec<String> {
        let mut backups: Vec<&String> = names.iter().filter(|name| is_backup(log_name, name)).collect();
        backups.sort();
        let surplus = backups.len().saturating_sub(self.backups_max);
        backups.into_iter().take(surplus).cloned().collect()
    }
}

/// Name of the backup of a log file rotated now: `mesher.log.20240131T235959.000123Z`. Names sort by time.
#[must_use]
pub fn backup_name(log_name: &str, now: SystemTime) -> String {
    let t = OffsetDateTime::from(now);
    let mut name = format!("{log_name}.{:04}{:02}{:02}", t.year(), u8::from(t.month()), t.day());
    // Writing to a string does not fail.
    let _ = write!(name, "T{:02}{:02}{:02}.{:06}Z", t.hour(), t.minute(), t.second(), t.microsecond());
    name
}

/// Our own backups only: whatever else lies there is somebody's.
fn is_backup(log_name: &str, name: &str) -> bool {
    let stamp = name.strip_prefix(log_name).and_then(|rest| rest.strip_prefix('.'));
    let stamp = stamp.map(|stamp| stamp.strip_suffix(".gz").unwrap_or(stamp));
    stamp.is_some_and(|stamp| {
        stamp.len() == "20240131T235959.000123Z".len()
            && stamp.chars().enumerate().all(|(at, c)| match at {
                8 => c == 'T',
                15 => c == '.',
                22 => c == 'Z',
                _ => c.is_ascii_digit(),
            })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const POLICY: Policy =
        Policy { size_bytes_max: 100, age_max: Some(DAY), backups_max: 2, compress: false };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_rotates_before_it_grows_too_big() {
        assert!(!POLICY.is_due(60, 40, at(0), at(1)));
        assert!(POLICY.is_due(60, 41, at(0), at(1)));
    }

    #[test]
    fn a_file_rotates_when_it_is_old() {
        assert!(!POLICY.is_due(1, 1, at(0), at(86_399)));
        assert!(POLICY.is_due(1, 1, at(0), at(86_400)));
        assert!(!Policy { age_max: None, ..POLICY }.is_due(1, 1, at(0), at(1_000_000_000)));
    }

    #[test]
    fn an_empty_file_stays() {
        assert!(!POLICY.is_due(0, 1000, at(0), at(1_000_000)));
    }

    #[test]
    fn a_clock_set_back_rotates_nothing() {
        assert!(!POLICY.is_due(1, 1, at(1_000_000), at(0)));
    }

    #[test]
    fn the_oldest_backups_go_and_nothing_else() {
        let names = [
            "mesher.log",
            "mesher.log.20240101T000000.000003Z",
            "mesher.log.20240101T000000.000001Z.gz",
            "mesher.log.20240101T000000.000002Z",
            "mesher.log.20240101T000000.000000Z.bak",
            "mesher.log.old",
            "other.log.20240101T000000.000000Z",
        ]
        .map(str::to_owned);
        assert_eq!(POLICY.surplus("mesher.log", &names), ["mesher.log.20240101T000000.000001Z.gz"]);
        let none = Policy { backups_max: 0, ..POLICY };
        assert_eq!(none.surplus("mesher.log", &names).len(), 3);
    }

    #[test]
    fn a_backup_is_named_by_its_time() {
        let now = at(1_706_745_599) + Duration::from_micros(123);
        assert_eq!(backup_name("mesher.log", now), "mesher.log.20240131T235959.000123Z");
    }

    proptest! {
        #[test]
        fn names_of_backups_sort_by_time_and_are_recognised(a in 0..4_000_000_000_000_000u64, b in 0..4_000_000_000_000_000u64) {
            let name = |micros| backup_name("m.log", SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
            prop_assert_eq!(a.cmp(&b), name(a).cmp(&name(b)));
            prop_assert!(is_backup("m.log", &name(a)));
        }
    }
}
