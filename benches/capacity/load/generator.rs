//! One thread of load: an epoll loop over its connections.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

use super::client::{Connection, PATIENCE, Progress, request};
use super::plan::{Load, Pattern};
use super::schedule::Schedule;

/// Events taken at once.
const EVENTS_MAX: usize = 256;

/// One read takes a whole large answer.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Latencies in nanoseconds.
pub(crate) type Latencies = Histogram<u64>;

/// A histogram for latencies: up to a minute, three digits.
pub(crate) fn latencies() -> Latencies {
    #[allow(clippy::expect_used)] // constants that the crate accepts
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}

/// Connections and the loop that drives them.
pub(super) struct Generator {
    address: SocketAddr,
    bytes: u64,
    count: usize,
    request: Vec<u8>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    latencies: Latencies,
}

impl Generator {
    /// Prepares `count` connections: those that will be kept are opened and carry one request that is not counted.
    pub(super) fn connect(address: SocketAddr, load: &Load, count: usize) -> Result<Self, String> {
        let mut generator = Self {
            address,
            bytes: load.bytes,
            count,
            request: request(load.bytes, load.pattern == Pattern::Fresh),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?,
            connections: Vec::with_capacity(count),
            scratch: vec![0; SCRATCH_BYTES],
            latencies: latencies(),
        };
        if load.pattern != Pattern::Fresh {
            generator.open_all()?;
            generator.closed(Duration::ZERO)?;
            generator.latencies.reset();
        }
        Ok(generator)
    }

    /// Runs the load for `length` and until the last answer; `index` of `generators` that run at once.
    pub(super) fn run(
        mut self,
        pattern: Pattern,
        length: Duration,
        index: usize,
        generators: usize,
    ) -> Result<Latencies, String> {
        match pattern {
            Pattern::Closed => self.closed(length)?,
            Pattern::Fresh => self.fresh(length)?,
            Pattern::Open { rate } => {
                self.open_loop(Schedule::new(rate, length, index, generators), length)?
            }
        }
        Ok(self.latencies)
    }

    fn open_all(&mut self) -> Result<(), String> {
        for token in 0..self.count {
            let connection = self.open(token)?;
            self.connections.push(connection);
        }
        Ok(())
    }

    fn open(&self, token: usize) -> Result<Connection, String> {
        let connection = Connection::open(self.address, self.bytes)?;
        let data = epoll::EventData::new_u64(token as u64);
        epoll::add(&self.epoll, connection.socket(), data, epoll::EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        Ok(connection)
    }

    /// Each connection asks again as soon as it is answered.
    fn closed(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        self.ask_all()?;
        let mut outstanding = self.connections.len();
        let mut ready = Vec::new();
        while outstanding > 0 {
            self.wait(&mut ready, Some(PATIENCE))?;
            for token in ready.drain(..) {
                if self.receive(token)? != Progress::Complete {
                    continue;
                }
                let now = Instant::now();
                if now < end {
                    self.connections[token].send(&self.request, now)?;
                } else {
                    outstanding -= 1;
                }
            }
        }
        Ok(())
    }

    /// A new connection for each request; the proxy closes it, and then the next one is opened in its place.
    fn fresh(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        self.open_all()?;
        self.ask_all()?;
        let mut outstanding = self.connections.len();
        let mut ready = Vec::new();
        while outstanding > 0 {
            self.wait(&mut ready, Some(PATIENCE))?;
            for token in ready.drain(..) {
                let mut progress = self.receive(token)?;
                if progress == Progress::Complete {
                    progress = self.receive(token)?;
                }
                if progress != Progress::Closed {
                    continue;
                }
                let now = Instant::now();
                if now < end {
                    // The latency includes the connect.
                    self.connections[token] = self.open(token)?;
                    self.connections[token].send(&self.request, now)?;
                } else {
                    outstanding -= 1;
                    // Its end of file would be reported for ever.
                    let _ = epoll::delete(&self.epoll, self.connections[token].socket());
                }
            }
        }
        Ok(())
    }

    /// Requests go out when the schedule says, or as soon after as a connection is free.
    fn open_loop(&mut self, mut schedule: Schedule, length: Duration) -> Result<(), String> {
        let start = Instant::now();
        let give_up = length + PATIENCE;
        let mut free: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut ready = Vec::new();
        loop {
            let elapsed = start.elapsed();
            while let Some(due) = schedule.next().filter(|due| *due <= elapsed)
                && let Some(token) = free.pop_front()
            {
                self.connections[token].send(&self.request, start + due)?;
                schedule.advance();
            }
            if schedule.next().is_none() && free.len() == self.connections.len() {
                return Ok(());
            }
            if elapsed > give_up {
                return Err(format!("not done {PATIENCE:?} after its time: the rate is beyond capacity"));
            }
            // Never sleeps, so that sending is punctual; gives way, because the origin shares this CPU.
            self.wait(&mut ready, None)?;
            if ready.is_empty() {
                std::thread::yield_now();
            }
            for token in ready.drain(..) {
                if self.receive(token)? == Progress::Complete {
                    free.push_back(token);
                }
            }
        }
    }

    fn ask_all(&mut self) -> Result<(), String> {
        for connection in &mut self.connections {
            connection.send(&self.request, Instant::now())?;
        }
        Ok(())
    }

    fn receive(&mut self, token: usize) -> Result<Progress, String> {
        let connection = &mut self.connections[token];
        let progress = connection.receive(&mut self.scratch)?;
        if progress == Progress::Complete {
            self.latencies.saturating_record(connection.since.elapsed().as_nanos() as u64);
        }
        Ok(progress)
    }

    /// Tokens of ready connections; waits for one if `patience` is given, and fails when it ends.
    fn wait(&self, ready: &mut Vec<usize>, patience: Option<Duration>) -> Result<(), String> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS_MAX];
        let timeout =
            Timespec { tv_sec: patience.map_or(0, |patience| patience.as_secs() as i64), tv_nsec: 0 };
        let (events, _) = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other.map_err(|error| format!("epoll: {error}"))?,
        };
        if events.is_empty() && patience.is_some() {
            return Err(format!("no answer within {PATIENCE:?}"));
        }
        ready.extend(events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
