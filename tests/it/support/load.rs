//! GET requests at a steady rate, whether or not the answers come: an open loop, as long as a worker is free.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Client, Response};
use super::wait::{PATIENCE, pause_until, wait_until};

/// Requests that can be under way at a time, each on a connection of its own; enough for the rates of the tests when
/// an answer takes some ten milliseconds, as on a busy machine.
const WORKERS: usize = 16;

/// A load that goes on until [`Load::finish`].
pub(crate) struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Vec<String>>>,
}

struct Shared {
    to: SocketAddr,
    url: String,
    interval: Duration,
    begun: Instant,
    ticks: AtomicU32,
    answered: AtomicUsize,
    ended: AtomicBool,
}

impl Load {
    /// Sends `per_second` requests for `url` to a proxy.
    pub(crate) fn start(to: SocketAddr, url: &str, per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            to,
            url: url.into(),
            interval: Duration::from_secs(1) / per_second,
            begun: Instant::now(),
            ticks: AtomicU32::new(0),
            answered: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let work = |_| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work())
        };
        Self { workers: (0..WORKERS).map(work).collect(), shared }
    }

    /// Waits until so many more requests were answered with 200.
    #[track_caller]
    pub(crate) fn wait_for_answers(&self, more: usize) {
        let enough = self.answered() + more;
        wait_until("the load to be answered", PATIENCE, || self.answered() >= enough);
    }

    /// Requests answered with 200 so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Ends it; what went wrong, one line a request.
    pub(crate) fn finish(self) -> Vec<String> {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.workers.into_iter().flat_map(|worker| worker.join().expect("a worker panicked")).collect()
    }
}

impl Shared {
    fn work(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut kept = None;
        while !self.ended.load(Ordering::SeqCst) {
            let tick = self.ticks.fetch_add(1, Ordering::SeqCst);
            pause_until(self.begun + self.interval * tick);
            match self.request(&mut kept) {
                Ok(response) if response.status == 200 => {
                    self.answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok(response) => failures.push(format!("{} {:?}", response.status, response.text())),
                Err(why) => failures.push(why),
            }
        }
        failures
    }

    fn request(&self, kept: &mut Option<Client>) -> Result<Response, String> {
        let connect = || Client::try_connect(self.to).map_err(|error| format!("no connection: {error}"));
        let mut client = kept.take().map_or_else(connect, Ok)?;
        let authority = self.url.split('/').nth(2).expect("an absolute URL");
        let request = format!("GET {} HTTP/1.1\r\nHost: {authority}\r\n\r\n", self.url);
        client.try_send(request).map_err(|error| format!("not sent: {error}"))?;
        let response = client.try_read_response_to("GET")?;
        if response.header("connection") != Some("close") {
            *kept = Some(client);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin::{Origin, Reply};
    use super::*;

    #[test]
    fn a_load_counts_what_is_answered_and_names_what_is_not() {
        let origin =
            Origin::start(
                |seen| {
                    if seen.before == 0 { Reply::ok("") } else { Reply::status(503, "No", "why not") }
                },
            );
        let load = Load::start(origin.address(), "http://h/", 200);
        load.wait_for_answers(2);
        wait_until("a failure", PATIENCE, || origin.requests() > WORKERS);
        let failures = load.finish();
        assert!(
            failures.iter().all(|failure| failure == "503 \"why not\"") && !failures.is_empty(),
            "{failures:?}"
        );
    }

    #[test]
    fn a_service_that_is_not_there_is_a_failure() {
        let origin = Origin::answering("");
        origin.stop();
        let load = Load::start(origin.address(), "http://h/", 1000);
        wait_until("some requests", PATIENCE, || load.shared.ticks.load(Ordering::SeqCst) > 50);
        assert!(load.finish()[0].contains("no connection"));
    }
}
