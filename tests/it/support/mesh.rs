//! Sidecars as most tests need them, and running a behaviour on each I/O driver.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mesher::net::{Driver, DriverChoice, preflight};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::conf::Conf;
use super::process::{Mesher, Start};

/// The system call that makes a ring; one number on every architecture.
const IO_URING_SETUP: i64 = 425;
/// Name of the service beside a calling sidecar.
pub(crate) const CALLER: &str = "caller";
/// Name of the service beside a providing sidecar.
pub(crate) const PROVIDER: &str = "provider";

/// Runs a behaviour on both I/O drivers, at the same time. Where the kernel refuses io_uring, one of them is skipped
/// and the output says so.
#[track_caller]
pub(crate) fn on_both_drivers(behaviour: impl Fn(Driver) + Sync) {
    let mut drivers = vec![Driver::Epoll];
    match preflight(DriverChoice::Uring, 1) {
        Ok(_) => drivers.push(Driver::Uring),
        Err(refusal) => println!("skipped on uring: {refusal}"),
    }
    let failed: Vec<Driver> = std::thread::scope(|scope| {
        let runs: Vec<_> = drivers
            .iter()
            .map(|driver| {
                let behaviour = &behaviour;
                (*driver, scope.spawn(move || behaviour(*driver)))
            })
            .collect();
        runs.into_iter().filter_map(|(driver, run)| run.join().is_err().then_some(driver)).collect()
    });
    assert!(failed.is_empty(), "failed on {failed:?}, see above");
}

/// Configuration of a sidecar that calls these services.
pub(crate) fn caller_conf(driver: Driver, services: &[(&str, &[SocketAddr])]) -> Conf {
    Conf::sidecar(CALLER).driver(driver).services(services)
}

/// A sidecar that calls these services.
#[track_caller]
pub(crate) fn caller(driver: Driver, services: &[(&str, &[SocketAddr])]) -> Mesher {
    Start::new(caller_conf(driver, services)).ready()
}

/// A sidecar before a service at this address.
#[track_caller]
pub(crate) fn provider(driver: Driver, service: SocketAddr) -> Mesher {
    let conf = Conf::sidecar(PROVIDER).driver(driver).set(
        "mesher.yaml",
        "mesher.service.host",
        service.ip().to_string(),
    );
    Start::new(conf).arg(format!("--service-ports=rest:{}", service.port())).ready()
}

/// Runs `start` on a thread whose child processes are refused io_uring, as in a container with the usual filter.
#[track_caller]
pub(crate) fn without_io_uring<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let filtered = || {
        let refusal = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().cast_unsigned());
        let rules = BTreeMap::from([(IO_URING_SETUP, vec![])]);
        let arch = std::env::consts::ARCH.try_into().expect("an architecture that seccomp filters know");
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).expect("a filter");
        apply_filter(&BpfProgram::try_from(filter).expect("a program")).expect("cannot set a filter");
        start()
    };
    std::thread::scope(|scope| scope.spawn(filtered).join().expect("failed without io_uring, see above"))
}
