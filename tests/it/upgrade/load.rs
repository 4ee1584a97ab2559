//! Who asks all the time while processes come and go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::support::client::Client;
use super::super::support::wait::{PATIENCE, wait_until};

/// A connection that has been silent for longer is not used again, as by any client that knows how long its peer keeps one:
/// the old process closes it when its grace of a second is over, which may be just when it would be used.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// Clients that ask until they are stopped; any request that fails is remembered.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each asks some hundred times a second: `kept` on connections that are kept as long as mesher keeps them, `new`
    /// on a new one each time.
    pub(super) fn start(address: SocketAddr, kept: usize, new: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failures: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..kept + new {
            let (stop, answered, failures) =
                (load.stop.clone(), load.answered.clone(), load.failures.clone());
            load.clients.push(std::thread::spawn(move || {
                let (mut connection, mut used) = (None, Instant::now());
                while !stop.load(Ordering::Relaxed) {
                    match ask(address, connection.take().filter(|_| used.elapsed() < KEPT_FOR)) {
                        Ok(left) => connection = left.filter(|_| number < kept),
                        Err(why) => failures.lock().unwrap().push(why),
                    }
                    used = Instant::now();
                    answered.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }));
        }
        load
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    #[track_caller]
    pub(super) fn go_on(&self, more: usize) {
        let goal = self.answered() + more;
        wait_until("more answers", PATIENCE, || self.answered() >= goal);
    }

    /// The number of answers, and what failed.
    pub(super) fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failures = self.failures.lock().unwrap().clone();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

/// Asks once, on the connection if there is one. Returns it if it is kept.
fn ask(address: SocketAddr, connection: Option<Client>) -> Result<Option<Client>, String> {
    let reused = connection.is_some();
    let mut client = match connection {
        Some(client) => client,
        None => Client::try_connect(address).map_err(|error| format!("connect: {error}"))?,
    };
    let failed = |why: String| format!("{why} (reused: {reused})");
    client.try_send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").map_err(|error| failed(error.to_string()))?;
    let response = client.try_read_response_to("GET").map_err(failed)?;
    if response.status != 200 {
        return Err(failed(format!("{} {}", response.status, response.text())));
    }
    Ok((response.header("connection") != Some("close")).then_some(client))
}

/// Asks the admin all the time, a new connection each, when the process it speaks for was started; until stopped.
pub(super) fn admin_load(address: SocketAddr) -> (Arc<AtomicBool>, JoinHandle<Vec<f64>>) {
    let stop = Arc::<AtomicBool>::default();
    let stopped = stop.clone();
    let asking = std::thread::spawn(move || {
        let mut starts = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let mut client = Client::connect(address);
            client.send("GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
            let response = client.read_response();
            let line = response.text().lines().find(|line| line.starts_with("process_start_time_seconds "));
            starts.push(line.unwrap().rsplit(' ').next().unwrap().parse().unwrap());
            std::thread::park_timeout(Duration::from_millis(5));
        }
        starts
    });
    (stop, asking)
}
