//! What concerns a whole process, each in a child of its own: seccomp filters, limits, the count of its descriptors.

use std::collections::BTreeMap;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::*;

const CASE: &str = "MESHER_TEST_CASE";
const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;

/// Runs one arm of [`child`] in a process of its own and returns what it told.
fn in_child(case: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["net::tests::process::child", "--exact", "--ignored", "--nocapture"])
        .env(CASE, case)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = text.lines().find_map(|line| line.split_once("told: "));
    assert!(output.status.success(), "{case}: {text}{}", String::from_utf8_lossy(&output.stderr));
    told.expect("the child tells something").1.to_owned()
}

#[test]
#[ignore = "runs as the child of the other tests of this file"]
fn child() {
    let case = std::env::var(CASE).unwrap();
    let told = match case.split(' ').collect::<Vec<_>>()[..] {
        ["refuse", call, errno] => {
            refuse(call.parse().unwrap(), errno.parse().unwrap());
            preflight_text()
        }
        ["memlock"] => {
            limit(Resource::Memlock, 64 * 1024);
            preflight_text()
        }
        ["nofile"] => {
            limit(Resource::Nofile, 3);
            preflight_text()
        }
        ["fallback"] => {
            refuse(SETUP, Errno::PERM.raw_os_error());
            fall_back()
        }
        ["accept", driver] => accept_without_descriptors(named(driver)),
        ["descriptors", driver] => descriptors(named(driver)),
        _ => panic!("no such case: {case}"),
    };
    println!("told: {told}");
}

fn named(driver: &str) -> Driver {
    if driver == "uring" { Driver::Uring } else { Driver::Epoll }
}

fn refuse(call: i64, errno: i32) {
    let action = SeccompAction::Errno(errno as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = BTreeMap::from([(call, vec![])]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

fn limit(resource: Resource, value: u64) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(value), maximum }).unwrap();
}

/// What `auto` takes, and that `uring` is refused with the same words.
fn preflight_text() -> String {
    let (driver, refusal) = preflight(DriverChoice::Auto, 1).unwrap();
    assert_eq!(preflight(DriverChoice::Uring, 1).err(), refusal);
    format!("{driver}: {}", refusal.map_or_else(String::new, |refusal| refusal.to_string()))
}

fn check_refusal(case: &str, expected: &[&str]) {
    let told = in_child(case);
    assert!(told.starts_with("epoll: "), "{told}");
    for text in expected {
        assert!(told.contains(text), "{case}: {text:?} is not in {told:?}");
    }
}

/// What may be told to a process before it asks for io_uring, and could have it refused.
fn may_be_refused() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let memlock = rustix::process::getrlimit(Resource::Memlock).current;
    let is_filtered = !status.lines().any(|line| line == "Seccomp:\t0");
    is_filtered || matches!(sysctl.trim(), "1" | "2") || memlock.is_some_and(|bytes| bytes < 8 * 1024 * 1024)
}

#[test]
fn io_uring_is_taken_where_the_kernel_grants_it() {
    match preflight(DriverChoice::Auto, 2) {
        Ok((Driver::Epoll, Some(why))) if may_be_refused() => println!("skipped: {why}"),
        taken => assert_eq!(taken, Ok((Driver::Uring, None))),
    }
}

#[test]
fn each_call_that_a_filter_refuses_is_named() {
    if !has_io_uring() {
        return;
    }
    for (call, name) in
        [(SETUP, "io_uring_setup"), (ENTER, "io_uring_enter"), (REGISTER, "io_uring_register")]
    {
        let eperm = format!("refuse {call} {}", Errno::PERM.raw_os_error());
        check_refusal(&eperm, &[name, "seccomp filter refuses", "seccomp profile that allows"]);
    }
}

#[test]
fn a_filter_that_hides_io_uring_is_suspected() {
    if !has_io_uring() {
        return;
    }
    for errno in [Errno::NOSYS, Errno::OPNOTSUPP] {
        let case = format!("refuse {SETUP} {}", errno.raw_os_error());
        check_refusal(&case, &["io_uring_setup is not available", "seccomp filter hides it", "5.8 or newer"]);
    }
}

#[test]
fn used_up_memory_limits_and_descriptors_are_told_apart() {
    if !has_io_uring() {
        return;
    }
    let enomem = format!("refuse {SETUP} {}", Errno::NOMEM.raw_os_error());
    check_refusal(&enomem, &["RLIMIT_MEMLOCK of this user", "CAP_IPC_LOCK"]);
    check_refusal("memlock", &["RLIMIT_MEMLOCK is 64 KiB", "8192 KiB"]);
    check_refusal("nofile", &["no free file descriptor", "RLIMIT_NOFILE"]);
}

/// glommio alone would have ended the process here.
#[test]
fn a_shard_whose_ring_is_refused_runs_on_epoll() {
    assert_eq!(in_child("fallback"), "main ran on epoll");
}

fn fall_back() -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = spawn_shard(options(Driver::Uring), async move || sender.send("main ran").unwrap()).unwrap();
    let driver = thread.driver();
    thread.join().unwrap();
    format!("{} on {driver}", receiver.recv().unwrap())
}

#[test]
fn accepting_without_descriptors_is_an_error_and_loses_no_connection() {
    on_both(|driver| assert_eq!(in_child(&format!("accept {driver}")), "EMFILE, EMFILE, then accepted"));
}

fn accept_without_descriptors(driver: Driver) -> String {
    on_shard(driver, async || {
        let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
        let client = client(listener.local_addr());
        let normal = rustix::process::getrlimit(Resource::Nofile);
        limit(Resource::Nofile, 3);
        for _ in 0..2 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        }
        setrlimit(Resource::Nofile, normal).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        "EMFILE, EMFILE, then accepted".to_owned()
    })
}

/// glommio itself keeps one eventfd of every executor that ever ran, so a shard that is restarted on it costs one.
#[test]
fn an_ended_shard_leaves_no_descriptor_of_ours_open() {
    on_both(|driver| {
        let left = in_child(&format!("descriptors {driver}"));
        let is_kept = driver == Driver::Uring && left == format!("{SHARDS} left");
        assert!(is_kept || left == "0 left", "{driver}: {left}");
    });
}

const SHARDS: usize = 10;

fn descriptors(driver: Driver) -> String {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = || {
        on_shard(driver, async || {
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            for _ in 0..10 {
                let stream = Stream::connect(addr, LOST).await.unwrap();
                write_all(&stream, b"x").await.unwrap();
                read(&stream, &mut [0; 8]).await.unwrap();
                spawn(async move { while read(&stream, &mut [0; 8]).await.is_ok() {} });
            }
        });
    };
    round(); // what is opened once for the process
    let before = count();
    (0..SHARDS).for_each(|_| round());
    format!("{} left", count().saturating_sub(before))
}
