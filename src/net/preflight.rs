//! Asks the kernel, before any shard runs, whether io_uring may be used, and says in an operator's words why not.
//!
//! glommio ends the process or panics when io_uring is refused, whatever the cause, so everything it relies on is tried here first: all
//! three system calls, the operations it needs, and the memory it locks. What the kernel answers is judged by pure functions.

use std::fmt;
use std::fs;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::driver::{Driver, DriverChoice};
use super::sys;
use super::uring::RING_DEPTH;

/// The least RLIMIT_MEMLOCK glommio starts with, even where locked memory is not counted.
const MEMLOCK_MIN: u64 = 512 * 1024;
/// glommio makes three rings an executor and registers a buffer of 64 KiB on each.
const RINGS: u64 = 3;
const BUFFER_BYTES: u64 = 64 * 1024;
const PAGE_BYTES: u64 = 4096;
/// `IORING_FEAT_NODROP` and `IORING_FEAT_FAST_POLL`: there since Linux 5.7.
const FEATURES: u32 = 1 << 1 | 1 << 5;
/// Bit of CAP_IPC_LOCK, whose holders' locked memory is not limited.
const CAP_IPC_LOCK: u32 = 14;
/// The operations whose absence glommio answers by ending the process: no-op, vectored and fixed I/O, fsync, poll, messages, time-outs,
/// accept, connect, fallocate, openat, close, statx, read, write, send, recv. All there since Linux 5.6.
const OPERATIONS: [usize; 23] =
    [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 26, 27];

/// Why io_uring is not used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What refused it.
    pub cause: String,
    /// What grants it.
    pub fix: String,
}

/// Which driver `shards` shards are to run, and why not io_uring if it would have been taken.
///
/// # Errors
/// io_uring was demanded and is refused.
pub fn preflight(choice: DriverChoice, shards: usize) -> Result<(Driver, Option<Refusal>), Refusal> {
    let refusal = match choice {
        DriverChoice::Epoll => None,
        DriverChoice::Auto | DriverChoice::Uring => match probe(shards) {
            Ok(()) => return Ok((Driver::Uring, None)),
            Err(refusal) if choice == DriverChoice::Uring => return Err(refusal),
            Err(refusal) => Some(refusal),
        },
    };
    Ok((Driver::Epoll, refusal))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.fix)
    }
}

impl std::error::Error for Refusal {}

/// Tries everything that `shards` shards on io_uring need.
pub(super) fn probe(shards: usize) -> Result<(), Refusal> {
    let refused = |call, error| Host::read().explain(call, error);
    let (ring, features) = sys::ring(4).map_err(|error| refused("io_uring_setup", error))?;
    check_features(features)?;
    check_operations(&sys::operations(&ring).map_err(|error| refused("io_uring_register", error))?)?;
    sys::enter(&ring).map_err(|error| refused("io_uring_enter", error))?;
    let limit = getrlimit(Resource::Memlock).current;
    check_memlock(shards as u64, limit, has_ipc_lock(&Host::read().status))
}

/// What the host says about itself, as text.
struct Host {
    /// `/proc/sys/kernel/io_uring_disabled`; empty before Linux 6.6.
    sysctl: String,
    /// `/proc/thread-self/status`: seccomp filters belong to threads.
    status: String,
}

impl Host {
    fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Host { sysctl: read("/proc/sys/kernel/io_uring_disabled"), status: read("/proc/thread-self/status") }
    }

    /// What an error of an io_uring call means on this host.
    fn explain(&self, call: &str, error: Errno) -> Refusal {
        let filtered = field(&self.status, "Seccomp") == Some("2");
        match (error, self.sysctl.trim()) {
            (Errno::PERM, "2") => refusal(
                "io_uring is switched off on this host (kernel.io_uring_disabled=2)".to_owned(),
                "set the sysctl kernel.io_uring_disabled to 0, or to 1 with this process's group in kernel.io_uring_group",
            ),
            (Errno::PERM, "1") => refusal(
                "io_uring is kept for one group on this host (kernel.io_uring_disabled=1)".to_owned(),
                "run in the group of kernel.io_uring_group, grant CAP_SYS_ADMIN, or set kernel.io_uring_disabled to 0",
            ),
            (Errno::PERM, _) if filtered => refusal(
                format!(
                    "a seccomp filter refuses {call} (the default profile of Docker and of containerd does)"
                ),
                "use a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register",
            ),
            (Errno::PERM | Errno::ACCESS, _) => refusal(
                format!("a security module (SELinux, AppArmor) or the platform refuses {call}"),
                "allow io_uring for this process in the policy of the host",
            ),
            (Errno::NOSYS | Errno::OPNOTSUPP, _) if filtered => refusal(
                format!(
                    "{call} is not available ({error}): a seccomp filter hides it, or the kernel has no io_uring"
                ),
                "use a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register, on Linux 5.8 or newer",
            ),
            (Errno::NOSYS | Errno::OPNOTSUPP, _) => refusal(
                format!(
                    "{call} is not available ({error}): the kernel or the sandbox (gVisor, an emulator) has no io_uring"
                ),
                "run on Linux 5.8 or newer with CONFIG_IO_URING, outside of such a sandbox",
            ),
            (Errno::NOMEM, _) => refusal(
                format!(
                    "{call} finds no memory to lock: RLIMIT_MEMLOCK of this user, counted over all its processes, is used up"
                ),
                "raise the limit (ulimit -l, LimitMEMLOCK=) or grant CAP_IPC_LOCK",
            ),
            (Errno::MFILE | Errno::NFILE, _) => refusal(
                format!("{call} finds no free file descriptor ({error})"),
                "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)",
            ),
            _ => refusal(
                format!("{call} failed: {error}"),
                "set net.driver to epoll if this host cannot run io_uring",
            ),
        }
    }
}

fn check_features(features: u32) -> Result<(), Refusal> {
    if features & FEATURES == FEATURES {
        return Ok(());
    }
    Err(refusal(
        format!("the io_uring of this kernel is too old (features {features:#x})"),
        "run on Linux 5.8 or newer",
    ))
}

fn check_operations(known: &[bool]) -> Result<(), Refusal> {
    match OPERATIONS.into_iter().find(|&op| known.get(op) != Some(&true)) {
        None => Ok(()),
        Some(op) => Err(refusal(
            format!("the io_uring of this kernel is too old (operation {op} is missing)"),
            "run on Linux 5.8 or newer",
        )),
    }
}

/// `limit` in bytes; none is unlimited.
fn check_memlock(shards: u64, limit: Option<u64>, ipc_lock: bool) -> Result<(), Refusal> {
    let Some(limit) = limit else { return Ok(()) };
    if limit < MEMLOCK_MIN {
        return Err(refusal(
            format!(
                "RLIMIT_MEMLOCK is {} KiB and io_uring needs at least {} KiB",
                limit / 1024,
                MEMLOCK_MIN / 1024
            ),
            "raise the limit to 8192 KiB or more (ulimit -l, LimitMEMLOCK=)",
        ));
    }
    let need = shards.saturating_mul(memlock_per_shard());
    if need > limit && !ipc_lock {
        return Err(refusal(
            format!(
                "{shards} shards lock {} KiB of memory and RLIMIT_MEMLOCK is {} KiB",
                need / 1024,
                limit / 1024
            ),
            "raise the limit (ulimit -l, LimitMEMLOCK=), grant CAP_IPC_LOCK, or run fewer shards",
        ));
    }
    Ok(())
}

/// Linux before 5.12 and from 6.14 on counts the rings; others count the buffers only. The larger figure is taken.
fn memlock_per_shard() -> u64 {
    let depth = RING_DEPTH as u64;
    let pages = |bytes: u64| bytes.div_ceil(PAGE_BYTES) * PAGE_BYTES;
    let entry_queue = pages(64 * depth);
    let completion_queue = pages(64 + 2 * depth * 16 + depth * 4);
    RINGS * (entry_queue + completion_queue + BUFFER_BYTES)
}

fn has_ipc_lock(status: &str) -> bool {
    let bits = field(status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    bits.is_some_and(|bits| bits >> CAP_IPC_LOCK & 1 == 1)
}

/// A line `Name:\tvalue` of a status file.
fn field<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn refusal(cause: String, fix: &str) -> Refusal {
    Refusal { cause, fix: fix.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const STATUS: &str = "Name:\tmesher\nCapPrm:\t0000000000000000\nCapEff:\t0000000000004000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    const PLAIN: &str = "Name:\tmesher\nCapEff:\t0000000000000000\nSeccomp:\t0\nSeccomp_filters:\t0\n";

    fn cause(sysctl: &str, status: &str, error: Errno) -> String {
        let host = Host { sysctl: sysctl.to_owned(), status: status.to_owned() };
        let refusal = host.explain("io_uring_setup", error);
        assert!(!refusal.fix.is_empty());
        refusal.cause
    }

    #[test]
    fn each_way_to_refuse_it_is_told_apart() {
        let cases = [
            ("2\n", STATUS, Errno::PERM, "kernel.io_uring_disabled=2"),
            ("1\n", STATUS, Errno::PERM, "kernel.io_uring_disabled=1"),
            ("0\n", STATUS, Errno::PERM, "seccomp filter refuses io_uring_setup"),
            ("", PLAIN, Errno::PERM, "security module"),
            ("0\n", STATUS, Errno::NOSYS, "seccomp filter hides it"),
            ("0\n", PLAIN, Errno::NOSYS, "sandbox"),
            ("0\n", PLAIN, Errno::OPNOTSUPP, "sandbox"),
            ("0\n", PLAIN, Errno::NOMEM, "RLIMIT_MEMLOCK"),
            ("0\n", PLAIN, Errno::MFILE, "file descriptor"),
            ("0\n", PLAIN, Errno::INVAL, "io_uring_setup failed"),
        ];
        let mut seen = std::collections::HashSet::new();
        for (sysctl, status, error, expected) in cases {
            let cause = cause(sysctl, status, error);
            assert!(cause.contains(expected), "{error:?}: {cause}");
            seen.insert(cause);
        }
        assert_eq!(seen.len(), cases.len());
    }

    #[test]
    fn a_kernel_without_what_glommio_needs_is_too_old() {
        assert!(check_features(0x3fff).is_ok());
        assert!(check_features(1 << 1).unwrap_err().cause.contains("too old"));
        assert!(check_operations(&[true; 64]).is_ok());
        let mut ops = [true; 64];
        ops[27] = false;
        assert!(check_operations(&ops).unwrap_err().cause.contains("operation 27"));
        assert!(check_operations(&[true; 20]).is_err());
    }

    #[test]
    fn too_little_memlock_is_refused_even_with_the_capability() {
        let refusal = check_memlock(1, Some(64 * 1024), true).unwrap_err();
        assert_eq!(refusal.cause, "RLIMIT_MEMLOCK is 64 KiB and io_uring needs at least 512 KiB");
    }

    #[test]
    fn memlock_is_counted_per_shard_unless_the_capability_lifts_it() {
        assert_eq!(memlock_per_shard(), 240 * 1024);
        let limit = Some(8 << 20);
        assert!(check_memlock(34, limit, false).is_ok());
        assert!(check_memlock(35, limit, false).unwrap_err().cause.contains("35 shards"));
        assert!(check_memlock(35, limit, true).is_ok());
        assert!(check_memlock(1000, None, false).is_ok());
    }

    #[test]
    fn the_capability_is_read_from_the_status_text() {
        assert!(has_ipc_lock(STATUS));
        assert!(!has_ipc_lock(PLAIN));
        assert!(!has_ipc_lock("CapEff:\tnonsense\n"));
        assert!(!has_ipc_lock(""));
    }

    #[test]
    fn a_field_is_not_taken_for_one_with_a_longer_name() {
        assert_eq!(field(STATUS, "Seccomp"), Some("2"));
        assert_eq!(field(STATUS, "Cap"), None);
    }

    #[test]
    fn epoll_is_never_refused() {
        assert_eq!(preflight(DriverChoice::Epoll, 1000), Ok((Driver::Epoll, None)));
    }

    #[test]
    fn a_refusal_reads_as_cause_and_fix() {
        let refusal = Refusal { cause: "it is off".to_owned(), fix: "switch it on".to_owned() };
        assert_eq!(refusal.to_string(), "it is off; switch it on");
    }
}
