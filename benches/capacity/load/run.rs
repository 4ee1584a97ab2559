//! Puts one load on one address and counts what the proxy spends on exactly its requests.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::generator::{Generator, Latencies, latencies};
use super::spec::Load;
use crate::machine;
use crate::process::Usage;

/// Between the last answer and reading the proxy's CPU time: it goes to sleep meanwhile, and a sleeping thread's time
/// is exact.
const SETTLE: Duration = Duration::from_millis(3);

/// What came of one measurement.
pub(crate) struct Outcome {
    /// Latency of every request, in nanoseconds.
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// What the proxy used for them.
    pub(crate) used: Usage,
}

/// Runs `load` for `length` from one thread on each of `cpus`. `usage` reads what the proxy has used so far. Nothing is
/// outstanding when it is read, so what it used belongs to these requests and to no others.
pub(crate) fn run(
    load: &Load,
    address: SocketAddr,
    length: Duration,
    cpus: &[usize],
    usage: impl Fn() -> Result<Usage, String>,
) -> Result<Outcome, String> {
    // A thread without a connection could not send its share of an open loop.
    let cpus = &cpus[..cpus.len().min(load.connections)];
    let connected = Barrier::new(cpus.len() + 1);
    let start = Barrier::new(cpus.len() + 1);
    thread::scope(|scope| {
        let generators: Vec<_> = cpus
            .iter()
            .enumerate()
            .map(|(index, &cpu)| {
                let (connected, start) = (&connected, &start);
                scope.spawn(move || {
                    let generator = machine::pin(&[cpu])
                        .map_err(|error| format!("cannot run on CPU {cpu}: {error}"))
                        .and_then(|()| {
                            Generator::connect(address, load, share(load.connections, index, cpus.len()))
                        });
                    connected.wait();
                    start.wait();
                    generator?.run(load.pattern, length, index, cpus.len())
                })
            })
            .collect();
        connected.wait();
        machine::pause(SETTLE);
        let before = usage();
        let started = Instant::now();
        start.wait();
        let mut all = latencies();
        let mut failure = None;
        for generator in generators {
            match generator.join() {
                Ok(Ok(part)) => all.add(part).map_err(|error| error.to_string())?,
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => failure = failure.or(Some("a load thread panicked".to_owned())),
            }
        }
        let elapsed = started.elapsed();
        if let Some(failure) = failure {
            return Err(failure);
        }
        machine::pause(SETTLE);
        Ok(Outcome { latencies: all, elapsed, used: usage()? - before? })
    })
}

/// Of `count` things, those of one generator of several.
fn share(count: usize, index: usize, generators: usize) -> usize {
    count / generators + usize::from(index < count % generators)
}
