//! What the kernel says of this process, for the metrics that every Prometheus client has (`process_*`). Linux's
//! `/proc`; what cannot be read is left out.

use std::fs;

use crate::memory::resident_bytes;

/// Clock ticks of `/proc` in a second. The kernel's ABI fixes it for every architecture that mesher is built for,
/// whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process at one moment.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system time, seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// When it started, seconds since 1970.
    pub(super) start_seconds: Option<f64>,
    /// Memory in RAM, bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// File descriptors it may open.
    pub(super) max_fds: Option<u64>,
}

/// Looks at the process.
pub(super) fn look() -> Process {
    let text = |path: &str| fs::read_to_string(path).ok();
    let stat = text("/proc/self/stat");
    let ticks = stat.as_deref().and_then(ticks);
    let boot = text("/proc/stat").as_deref().and_then(boot_seconds);
    Process {
        cpu_seconds: ticks.map(|(cpu, _)| cpu / TICKS_PER_SECOND),
        start_seconds: ticks.zip(boot).map(|((_, start), boot)| boot + start / TICKS_PER_SECOND),
        resident_bytes: text("/proc/self/status").as_deref().and_then(resident_bytes),
        // One of them is the directory being listed.
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
        max_fds: text("/proc/self/limits").as_deref().and_then(max_fds),
    }
}

/// CPU time and start (after boot) from `/proc/self/stat`, ticks. Fields 14, 15 and 22 of proc_pid_stat(5); counted
/// from behind the command's closing bracket, since the command may hold blanks and brackets itself.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let field = |n: usize| rest.split_ascii_whitespace().nth(n - 3)?.parse::<f64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

/// Time of boot from `/proc/stat`, seconds since 1970.
fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The soft limit; none if unlimited.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_command_with_blanks_and_brackets_shifts_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 4 0 987 1 2";
        assert_eq!(ticks(stat), Some((200.0, 987.0)));
        assert_eq!(ticks("7 (a) S 1 7"), None);
    }

    #[test]
    fn limits_and_the_boot_are_read_from_their_lines() {
        assert_eq!(max_fds("Limit  Soft\nMax open files            1024      524288  files \n"), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited unlimited files\n"), None);
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }

    #[test]
    fn this_process_is_seen_whole() {
        let seen = look();
        assert!(seen.cpu_seconds.unwrap() >= 0.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        // The kernel rounds the time of boot to a second.
        let age = now - seen.start_seconds.unwrap();
        assert!((-1.5..86_400.0).contains(&age), "started {age} s ago");
        assert!(seen.resident_bytes.unwrap() > 100_000);
        assert!(seen.open_fds.unwrap() >= 3 && seen.open_fds < seen.max_fds);
    }
}
