//! How much memory the process holds.

use std::fs;

/// Bytes in RAM that are this process', the files it maps included; none where `/proc` does not say.
pub(super) fn look() -> Option<u64> {
    resident_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The same from the text of `/proc/self/status`.
pub(crate) fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    9000 kB\n"), Some(9_216_000));
        for other in ["", "VmRSS:\tx kB\n", "VmRSS:\t 7\n", "VmRSS:\t99999999999999999999 kB\n"] {
            assert_eq!(resident_bytes(other), None, "{other:?}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        assert!(look().unwrap() > 1 << 20);
    }
}
