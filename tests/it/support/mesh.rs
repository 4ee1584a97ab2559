//! Sidecars as most tests need them, and running a behaviour on each I/O driver.

use std::net::SocketAddr;

use mesher::net::{Driver, DriverChoice, preflight};

use super::conf::Conf;
use super::process::{Mesher, Start};

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
